//go:build !unix

package mmap

// Scattered calls f, which reads a few places of the file.
func (m *File) Scattered(f func() error) error { return f() }

// WillNeed asks the system to read the pages of b, where it can be asked.
func WillNeed([]byte) {}
