package kernel

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// atPageEnd copies b to the end of a page that no readable one follows.
func atPageEnd(t *testing.T, b []byte) []byte {
	page := unix.Getpagesize()
	n := roundUp(len(b), page)
	mem, err := unix.Mmap(-1, 0, n+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mem)) })
	require.NoError(t, unix.Mprotect(mem[n:], unix.PROT_NONE))
	out := mem[n-len(b) : n : n]
	copy(out, b)
	return out
}
