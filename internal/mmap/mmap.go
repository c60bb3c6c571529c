// Package mmap maps files read-only into memory.
package mmap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"
	"unsafe"
)

// File is a read-only mapping of a whole file, or a copy of a small one.
type File struct {
	data []byte
	read bool // a copy
}

// A file up to this size is read: to map it, to fault its pages in and to take
// the mapping from every processor again costs several times as much.
const readUpTo = 1 << 16

// Open maps the file, or reads one that is small. A file that is empty gives no
// bytes, and one that is not regular (a folder, a pipe) is an error. Where the
// system has no mapping the file is read. Its first and last part, which say what
// it holds, are in memory then, where the system can tell whether they are. Bytes
// stay valid until Close; access them inside Guard.
func Open(path string) (*File, error) { return open(path, readUpTo) }

// Map is Open for a file that is mapped however small it is.
func Map(path string) (*File, error) { return open(path, 0) }

func open(path string, readUpTo int64) (*File, error) {
	// Before opening: opening a pipe would wait for its writer.
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("is a %s, not a file", kind(st.Mode()))}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err = f.Stat(); err != nil { // the size of what is open now
		return nil, err
	}
	size := st.Size()
	switch {
	case size == 0:
		return &File{}, nil
	case size > math.MaxInt:
		return nil, &fs.PathError{Op: "mmap", Path: path, Err: fmt.Errorf("%d bytes do not fit a 32-bit address space", size)}
	case size <= readUpTo:
		return readFile(f, int(size))
	}
	loadEdges(f, size)
	data, err := mapFile(f, int(size))
	if err != nil {
		return nil, &fs.PathError{Op: "mmap", Path: path, Err: err}
	}
	m := &File{data: data}
	live.Lock()
	live.files[m] = struct{}{}
	live.Unlock()
	return m, nil
}

func readFile(f *os.File, size int) (*File, error) {
	data := make([]byte, size)
	_, err := io.ReadFull(f, data)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: %w", f.Name(), ErrChanged)
	case err != nil:
		return nil, err
	}
	return &File{data: data, read: true}, nil
}

// Bytes returns the content of the file.
func (f *File) Bytes() []byte { return f.data }

// Close ends the mapping: slices of Bytes must not be used any more. Closing
// twice is allowed.
func (f *File) Close() error {
	if f.data == nil {
		return nil
	}
	data := f.data
	f.data = nil
	if f.read {
		return nil
	}
	live.Lock()
	delete(live.files, f)
	live.Unlock()
	return unmapFile(data)
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// ErrChanged is the cause of Guard's error.
var ErrChanged = errors.New("file changed while it was read: it was cut short or its disk failed; run again when nobody writes to it")

// live holds the open mappings, so that Guard can tell a fault in one of them
// from a defect of the program.
var live = struct {
	sync.Mutex
	files map[*File]struct{}
}{files: map[*File]struct{}{}}

func mapped(addr uintptr) bool {
	live.Lock()
	defer live.Unlock()
	for f := range live.files {
		lo := uintptr(unsafe.Pointer(unsafe.SliceData(f.data)))
		// The last page is mapped whole.
		if addr >= lo && addr-lo < uintptr(len(f.data)+os.Getpagesize()) {
			return true
		}
	}
	return false
}
