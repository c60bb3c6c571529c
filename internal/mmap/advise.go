//go:build unix

package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Scattered calls f, which reads a few places of the file: the system is asked
// to read no more than those, where it would read megabytes around each.
func (m *File) Scattered(f func() error) error {
	if len(m.data) > 0 {
		_ = unix.Madvise(m.data, unix.MADV_RANDOM)
		defer func() { _ = unix.Madvise(m.data, unix.MADV_NORMAL) }()
	}
	return f()
}

// WillNeed asks the system to read the pages of b, which is part of a mapped
// file or other memory, before they are asked for one by one.
func WillNeed(b []byte) {
	if len(b) == 0 {
		return
	}
	first := unsafe.Pointer(unsafe.SliceData(b))
	before := int(uintptr(first) % uintptr(os.Getpagesize()))
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(first, -before)), len(b)+before), unix.MADV_WILLNEED)
}
