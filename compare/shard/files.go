package shard

import (
	"os"
	"runtime"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/workers"
)

// each calls f with every file, many at a time: they may lie far away.
func each[T any](files []*il.TensorFile, f func(*il.TensorFile) T) []T {
	out := make([]T, len(files))
	workers.Each(8*runtime.GOMAXPROCS(0), len(files), func(i int) { out[i] = f(files[i]) })
	return out
}

// size is 0 for what is no regular file; opening it says why.
func size(f *il.TensorFile) int64 {
	info, err := os.Stat(f.File)
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}
