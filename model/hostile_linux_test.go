package model

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/gopher1m"
)

// TestNoSideFiles puts a pipe without a writer, an endless device and a sparse
// file of 100 GB in the place of each file beside the weights.
func TestNoSideFiles(t *testing.T) {
	kinds := map[string]func(path string) error{
		"is not a regular file but a pipe":   func(path string) error { return unix.Mkfifo(path, 0o600) },
		"is not a regular file but a device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"has 107374182400 bytes": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 100<<30)
		},
	}
	for _, file := range []string{
		"config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer.model",
		"tokenizer_config.json", "chat_template.jinja", "chat_template.json",
	} {
		for want, put := range kinds {
			dir := filepath.Join(t.TempDir(), "m")
			source := os.DirFS(fixture.Checkpoint("llama-sharded"))
			if file != "model.safetensors.index.json" {
				source = gopher1m.FS()
			}
			require.NoError(t, os.CopyFS(dir, source))
			path := filepath.Join(dir, file)
			if file == "tokenizer.model" { // it is the second choice
				require.NoError(t, os.Remove(filepath.Join(dir, "tokenizer.json")))
			}
			_ = os.Remove(path)
			require.NoError(t, put(path))
			c, err := Open(dir)
			if err == nil {
				if _, err = c.Tokenizer(); err == nil {
					_, err = c.ChatTemplate()
				}
				c.Close()
			}
			require.ErrorContains(t, err, path+" "+want)
			require.NotContains(t, err.Error(), "\n")
		}
	}
}
