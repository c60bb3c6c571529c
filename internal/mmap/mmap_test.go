package mmap

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func write(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, b, 0o644))
	return path
}

func TestOpen(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 1000)
	f, err := Open(write(t, want))
	require.NoError(t, err)
	require.Equal(t, want, f.Bytes())
	require.NoError(t, f.Close())
	require.Nil(t, f.Bytes())
	require.NoError(t, f.Close())
}

// A small file is a copy: what happens to it later does not matter, and nothing
// is mapped.
func TestOpenSmall(t *testing.T) {
	path := write(t, bytes.Repeat([]byte{1}, readUpTo))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Truncate(path, 0))
	require.Equal(t, readUpTo, sum(f.Bytes()))
	require.Empty(t, live.files)

	r, err := os.Open(path)
	require.NoError(t, err)
	defer r.Close()
	_, err = readFile(r, 1)
	require.ErrorIs(t, err, ErrChanged)
}

func TestOpenEmpty(t *testing.T) {
	f, err := Open(write(t, nil))
	require.NoError(t, err)
	require.Empty(t, f.Bytes())
	require.NoError(t, f.Close())
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(dir)
	require.EqualError(t, err, "open "+dir+": is a folder, not a file")
	_, err = Open(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// sum reads all bytes.
//
//go:noinline
func sum(b []byte) (n int) {
	for _, x := range b {
		n += int(x)
	}
	return n
}

func TestGuardTruncated(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" || runtime.GOOS == "js" {
		t.Skip("a mapped file cannot be cut short here")
	}
	path := write(t, bytes.Repeat([]byte{1}, 1<<20))
	f, err := Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Truncate(path, 4096))

	var total int
	err = Guard(path, func() error { total = sum(f.Bytes()); return nil })
	require.ErrorIs(t, err, ErrChanged)
	require.ErrorContains(t, err, path+": file changed while it was read")
	require.Zero(t, total)

	// memmove and other assembly fault in the same way.
	err = Guard(path, func() error { total = len(bytes.Clone(f.Bytes())); return nil })
	require.ErrorIs(t, err, ErrChanged)
}

func TestGuardPassesOn(t *testing.T) {
	require.ErrorIs(t, Guard("p", func() error { return os.ErrClosed }), os.ErrClosed)
	require.NoError(t, Guard("p", func() error { return nil }))
	require.PanicsWithValue(t, "mine", func() { _ = Guard("p", func() error { panic("mine") }) })
}

func TestGuardPassesOnWildReads(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a mapping that faults")
	}
	path := write(t, bytes.Repeat([]byte{1}, 1<<16))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	b, err := mapFile(f, 1<<16) // not one of the package's own files
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, 0))
	require.Panics(t, func() { _ = Guard(path, func() error { sum(b); return nil }) })
	require.NoError(t, unmapFile(b))
}
