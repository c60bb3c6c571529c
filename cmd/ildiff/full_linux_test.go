package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ilref/ilref/internal/fixture"
)

// A disk that is full in the middle of a copy: one line, and what was there.
func TestBaselineFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount a small disk: ", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, 0)) })
	whole, few := fixture.Session(t, "llama3-gqa-bf16"), fixture.Session(t, "llama3-gqa-bf16-filtered")
	tool := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		require.Equal(t, want, run(context.Background(), append([]string{"baseline"}, args...), &stdout, &stderr), stderr.String())
		return stderr.String()
	}
	golden := filepath.Join(disk, "golden")
	tool(0, "save", few, "-o", golden, "--keep", "session")
	before := tree(t, disk)
	for _, args := range [][]string{
		{"save", whole, "-o", filepath.Join(disk, "other"), "--keep", "session"},
		{"accept", golden, whole, "--reason", "x", "--despite-gap"},
	} {
		require.Regexp(t, `^ildiff: baseline `+args[0]+`: write .*: no space left on device\n$`, tool(2, args...))
		require.Equal(t, before, tree(t, disk))
	}
	tool(0, "check", golden, few)
}
