package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/cli/clitest"
	"github.com/ilref/ilref/internal/fixture"
)

var update = flag.Bool("update", false, "write the manual pages anew")

func TestMan(t *testing.T) {
	clitest.Man(t, newRoot(), filepath.Join("..", "..", "docs", "man"), *update)
}

// Every example of every --help, on the bundled model and PyTorch's session of it.
func TestExamples(t *testing.T) {
	session := fixture.Session(t, "gopher-1m-bf16")
	config := filepath.Join(t.TempDir(), "cfg.json")
	require.NoError(t, os.WriteFile(config, []byte(`{"output_dir": "out"}`), 0o666))
	paths := map[string]string{
		"Llama-3.2-1B": fixture.Checkpoint("gopher-1m"),
		"gpu-session":  session,
		"step_0":       filepath.Join(session, "step_0"),

		"pytorch_model.bin": filepath.Join(fixture.Checkpoint("../torch-bin/single"), "pytorch_model.bin"),
	}
	clitest.Examples(t, newRoot(), func(e *testscript.Env) error {
		e.Setenv("CONFIG", config)
		for name, to := range paths {
			if err := os.Symlink(to, filepath.Join(e.WorkDir, name)); err != nil {
				return err
			}
		}
		return nil
	}, map[string]string{
		"ilref run":      "cp $CONFIG cfg.json\n",
		"ilref tokenize": "cp $CONFIG prompt.txt\n",
	}, nil)
}

// No mistake in the use of a command or a flag is more than a line, or less
// than exit code 2.
func TestUsage(t *testing.T) {
	run := func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		exit := run(context.Background(), args, &stdout, &stderr)
		return exit, stdout.String(), stderr.String()
	}
	clitest.Usage(t, newRoot(), run, map[string][]string{
		"ilref run":     {"--prompt-ids", "1"},
		"ilref replay":  {"no-such-1"},
		"ilref inspect": {"no-such-1"},
	})
}
