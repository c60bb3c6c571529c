//go:build !linux

package mmap

// Load reads a file that is not in memory into the system's cache, where it can
// be told whether it is.
func Load(string) {}

// LoadEdges is Load for the first and the last part of a file.
func LoadEdges(string) {}
