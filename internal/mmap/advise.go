//go:build unix

package mmap

import "golang.org/x/sys/unix"

// Scattered calls f, which reads a few places of the file: the system is asked
// to read no more than those, where it would read megabytes around each.
func (m *File) Scattered(f func() error) error {
	if len(m.data) > 0 && !m.read {
		_ = unix.Madvise(m.data, unix.MADV_RANDOM)
		defer func() { _ = unix.Madvise(m.data, unix.MADV_NORMAL) }()
	}
	return f()
}
