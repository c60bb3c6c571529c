//go:build !unix

package mmap

// Scattered calls f, which reads a few places of the file.
func (m *File) Scattered(f func() error) error { return f() }
