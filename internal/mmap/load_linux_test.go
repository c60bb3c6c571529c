package mmap

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// evicted writes a file of n bytes that is not in memory.
func evicted(t *testing.T, n int) *os.File {
	f, err := os.Open(write(t, make([]byte, n)))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	require.NoError(t, f.Sync())
	require.NoError(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	// Asking reads what is asked for, and what follows.
	if inMemory(f, 0) {
		t.Skip("files cannot be evicted from memory here")
	}
	require.NoError(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	return f
}

func TestLoad(t *testing.T) {
	const n = 5<<20 + 7
	f := evicted(t, n)
	Load(f.Name())
	for at := int64(0); at < n; at += 4096 {
		require.True(t, inMemory(f, at), at)
	}

	f = evicted(t, n)
	m, err := Open(f.Name())
	require.NoError(t, err)
	defer m.Close()
	require.True(t, inMemory(f, 0))
	require.True(t, inMemory(f, n-edge))
	require.True(t, inMemory(f, n-1))
	require.False(t, inMemory(f, n/2))
}

func TestLoadLeavesLargeFiles(t *testing.T) {
	defer func(n int64) { mostLoaded = n }(mostLoaded)
	mostLoaded = 5<<20 - 1
	f := evicted(t, 5<<20)
	Load(f.Name())
	require.False(t, inMemory(f, 2<<20))
}

// What cannot be read is not waited for.
func TestLoadPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, unix.Mkfifo(path, 0o600))
	Load(path)
	Load(path + ".none")
}
