package mmap

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Load reads a file that is not in memory into the system's cache. Large reads
// are twice as fast as page faults, or as asking the system to read ahead of
// them, which both come down to requests for scattered single pages. It does
// nothing where the file is there already, cannot be read, or is so large that
// its first part might have gone when the last comes.
func Load(path string) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe does not wait for its writer
	if err != nil {
		return
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() <= mostLoaded {
		loadRange(f, 0, st.Size())
	}
}

// loadEdges is Load for the first and the last part of a file.
func loadEdges(f *os.File, size int64) {
	loadRange(f, 0, 1)
	loadRange(f, max(0, size-edge), size)
}

const edge = 1 << 17

var mostLoaded = int64(1 << 30) // for tests

var blocks = sync.Pool{New: func() any { return new([1 << 20]byte) }}

// loadRange looks at every block until one is not there, and reads from there on.
func loadRange(f *os.File, from, to int64) {
	const block = 1 << 20
	at := from
	for ; at < to && inMemory(f, at); at += block {
	}
	if at >= to {
		return
	}
	b := blocks.Get().(*[block]byte)
	defer blocks.Put(b)
	for at = max(from, at-block); at < to; at += block {
		if _, err := f.ReadAt(b[:min(block, to-at)], at); err != nil {
			return
		}
	}
}

// inMemory reports whether a byte can be read without the disk, or that this is
// not known. The system begins to read what cannot.
func inMemory(f *os.File, at int64) bool {
	var b [1]byte
	_, err := unix.Preadv2(int(f.Fd()), [][]byte{b[:]}, at, unix.RWF_NOWAIT)
	return err != unix.EAGAIN
}
