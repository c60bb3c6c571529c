package pt

import (
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// bigFile writes a tensor of 500 MB.
func bigFile(b *testing.B) (string, int) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "big.pt")
	x := tensor.New(tensor.BFloat16, 1000, 250_000)
	for i := range x.Data {
		x.Data[i] = byte(i * 7)
	}
	require.NoError(b, WriteFile(path, x))
	return path, x.NumBytes()
}

// BenchmarkOpen500MB opens a file: its size must not matter.
func BenchmarkOpen500MB(b *testing.B) {
	path, _ := bigFile(b)
	b.ReportAllocs()
	for b.Loop() {
		_, c, err := OpenTensor(path)
		require.NoError(b, err)
		require.NoError(b, c.Close())
	}
}

var sink uint32 // keeps the checksum

// BenchmarkRead500MB opens a file and reads every byte of the tensor once.
func BenchmarkRead500MB(b *testing.B) {
	path, n := bigFile(b)
	b.SetBytes(int64(n))
	b.ReportAllocs()
	for b.Loop() {
		x, c, err := OpenTensor(path)
		require.NoError(b, err)
		require.NoError(b, x.Chunks(0, func(p []byte) error { sink ^= crc32.ChecksumIEEE(p); return nil }))
		require.NoError(b, c.Close())
	}
}

// BenchmarkReadFile500MB is the yardstick: os.ReadFile, and the same one pass.
func BenchmarkReadFile500MB(b *testing.B) {
	path, n := bigFile(b)
	b.SetBytes(int64(n))
	b.ReportAllocs()
	for b.Loop() {
		p, err := os.ReadFile(path)
		require.NoError(b, err)
		sink ^= crc32.ChecksumIEEE(p)
	}
}

// BenchmarkOpenSmall opens what most files of a session are.
func BenchmarkOpenSmall(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x.pt")
	require.NoError(b, WriteFile(path, tensor.New(tensor.BFloat16, 11, 64)))
	b.ReportAllocs()
	for b.Loop() {
		_, c, err := OpenTensor(path)
		require.NoError(b, err)
		require.NoError(b, c.Close())
	}
}

// BenchmarkWriteSmall writes one.
func BenchmarkWriteSmall(b *testing.B) {
	path := filepath.Join(b.TempDir(), "x.pt")
	x := tensor.New(tensor.BFloat16, 11, 64)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, WriteFile(path, x))
	}
}
