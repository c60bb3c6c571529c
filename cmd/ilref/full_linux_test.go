package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ilref/ilref/internal/cli"
)

// TestFullDisk runs out of space in the middle of a session: one line that
// names the file, exit code 2, and no file that is not whole.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), []string{"run", "--prompt-ids", "0,5,7,9", "--output-dir", disk, "--session-id", "s"}, &stdout, &stderr)
	require.Equal(t, cli.ExitError, code)
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	require.Regexp(t, `^ilref: write .*/s/step_0/.*: no space left on device$`, lines[len(lines)-1])
	require.NoError(t, filepath.WalkDir(disk, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			require.NotContains(t, filepath.Base(path), "tmp")
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			switch filepath.Ext(path) {
			case ".pt":
				require.Equal(t, exitOK, run(context.Background(), []string{"inspect", path}, &stdout, &stderr), path)
			case ".json":
				require.True(t, bytes.HasSuffix(data, []byte("}")), path)
			default:
				require.True(t, bytes.HasSuffix(data, []byte("\n")), path)
			}
		}
		return err
	}))
}
