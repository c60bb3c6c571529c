package pt

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// corpusFile is one file of a corpus with what torch reads from it, or with
// what it tries. testdata/pack.py tells where the corpora come from.
type corpusFile struct {
	File, Expect, Location, Fill, Note, Tries string

	Optional bool
	Tensors  []corpusTensor
	data     []byte
}

type corpusTensor struct {
	Path, DType, SHA256, Device string
	Shape, Stride               []int
	Offset                      int `json:"storage_offset"`
	Quant                       *struct {
		Scale      string
		Scales     []string
		ZeroPoint  float64   `json:"zero_point"`
		ZeroPoints []float64 `json:"zero_points"`
		Axis       int
	}
}

// packed returns the part of a corpus that is always there.
func packed(tb testing.TB, name string) []corpusFile {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".tar.gz"))
	require.NoError(tb, err)
	gz, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(tb, err)
	content := map[string][]byte{}
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(tb, err)
		content[h.Name], err = io.ReadAll(tr)
		require.NoError(tb, err)
	}
	return manifest(tb, content["manifest.json"], func(name string) ([]byte, error) { return content[name], nil })
}

// whole returns a whole corpus, and false in a user's clone.
func whole(tb testing.TB, name string) ([]corpusFile, bool) {
	tb.Helper()
	dir, ok := fixture.Shared(name)
	if !ok {
		return nil, false
	}
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	require.NoError(tb, err)
	return manifest(tb, b, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }), true
}

func manifest(tb testing.TB, b []byte, read func(string) ([]byte, error)) []corpusFile {
	tb.Helper()
	var m struct{ Files []corpusFile }
	require.NoError(tb, json.Unmarshal(b, &m))
	require.NotEmpty(tb, m.Files)
	for i := range m.Files {
		f := &m.Files[i]
		var err error
		f.data, err = read(f.File)
		require.NoError(tb, err)
	}
	return m.Files
}

// place writes a file of a corpus under a plain name: those of the corpora are
// not all legal everywhere.
func (f *corpusFile) place(tb testing.TB, dir string) string {
	tb.Helper()
	path := filepath.Join(dir, "file.pt")
	require.NoError(tb, os.WriteFile(path, f.data, 0o644))
	return path
}

func TestCorpus(t *testing.T) {
	t.Run("packed", func(t *testing.T) { testGood(t, packed(t, "ptcorpus"), 430) })
	t.Run("whole", func(t *testing.T) {
		files, ok := whole(t, "ptcorpus")
		if !ok {
			t.Skip("not here")
		}
		testGood(t, files, 450)
	})
}

func testGood(t *testing.T, files []corpusFile, least int) {
	require.GreaterOrEqual(t, len(files), least)
	dir := t.TempDir()
	read := 0
	for _, f := range files {
		t.Run(f.File, func(t *testing.T) {
			path := f.place(t, dir)
			file, err := open(t, path, len(f.data))
			mustRefuse := f.Expect == "error" || f.Expect == "torchscript"
			if err != nil {
				require.True(t, mustRefuse || f.Optional, "%v", err)
				return
			}
			defer file.Close()
			require.False(t, mustRefuse, "read, want a refusal: %s", f.Note)
			f.check(t, file.Tensors())
			read++
		})
	}
	// The rest is sparse, nested and the like.
	require.GreaterOrEqual(t, read, len(files)-20)
}

// open opens a file and holds it to the rules for any input: a one-line error,
// in two seconds, in memory bounded by the size of the file.
func open(t *testing.T, path string, size int) (*File, error) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f, err := Open(path)
	took := time.Since(start)
	runtime.ReadMemStats(&after)

	require.Less(t, took, 2*time.Second)
	// All that was ever allocated: gopickle's slices leave about four times
	// their size behind as they grow. What is live at a time is less than 4 MiB
	// and 40 times the pickle (budget), in files that are nothing but a pickle.
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20+128*size))
	require.NoDirExists(t, "/tmp/il-pwned")
	if err != nil {
		require.NotContains(t, err.Error(), "\n")
		require.True(t, strings.HasPrefix(err.Error(), path+": "), err.Error())
		require.Less(t, len(err.Error()), len(path)+500)
	}
	return f, err
}

// check compares the tensors with those that torch read.
func (f *corpusFile) check(t *testing.T, got []Named) {
	t.Helper()
	require.Len(t, got, len(f.Tensors))
	for i, want := range f.Tensors {
		x := got[i].Tensor
		require.Equal(t, want.Path, got[i].Path)
		require.Equal(t, want.DType, x.DType.String())
		require.Equal(t, fmt.Sprint(want.Shape), fmt.Sprint(x.Shape))
		require.Equal(t, fmt.Sprint(want.Stride), fmt.Sprint(x.Stride))
		require.Equal(t, want.Offset, x.Offset)
		require.Equal(t, want.Device == "meta", x.Meta)
		if f.Location != "" {
			require.Equal(t, f.Location, x.Device)
		}
		if want.SHA256 != "" {
			h := sha256.New()
			require.NoError(t, x.Chunks(0, func(b []byte) error { h.Write(b); return nil }))
			require.Equal(t, want.SHA256, hex.EncodeToString(h.Sum(nil)))
		}
		if f.Fill != "" { // too many elements for a hash
			v := make([]float64, 3)
			require.NoError(t, x.Float64s(v, x.Numel()-3))
			require.Equal(t, f.Fill, fmt.Sprint(v[0]))
		}
		want.checkQuant(t, x.Quant)
	}
}

func (c *corpusTensor) checkQuant(t *testing.T, got *tensor.Quant) {
	t.Helper()
	if c.Quant == nil {
		require.Nil(t, got)
		return
	}
	want := tensor.Quant{Axis: c.Quant.Axis, ZeroPoints: c.Quant.ZeroPoints}
	if c.Quant.Scale != "" {
		c.Quant.Scales = []string{c.Quant.Scale}
		want.Axis, want.ZeroPoints = -1, []float64{c.Quant.ZeroPoint}
	}
	for _, s := range c.Quant.Scales {
		scale, err := strconv.ParseFloat(s, 64)
		require.NoError(t, err)
		want.Scales = append(want.Scales, scale)
	}
	require.Equal(t, &want, got)
}

func TestBadCorpus(t *testing.T) {
	t.Run("packed", func(t *testing.T) { testBad(t, packed(t, "ptcorpus_bad"), 549) })
	t.Run("whole", func(t *testing.T) {
		files, ok := whole(t, "ptcorpus_bad")
		if !ok {
			t.Skip("not here")
		}
		testBad(t, files, 549)
	})
}

func testBad(t *testing.T, files []corpusFile, least int) {
	require.GreaterOrEqual(t, len(files), least)
	dir := t.TempDir()
	for _, f := range files {
		t.Run(f.File, func(t *testing.T) {
			path := f.place(t, dir)
			file, err := open(t, path, len(f.data))
			if err != nil {
				return
			}
			defer file.Close()
			require.NotEqual(t, "error", f.Expect, "read, want a refusal: %s", f.Tries)
			for _, n := range file.Tensors() { // what was read must be readable
				requireReadable(t, n.Tensor)
			}
		})
	}
}

// requireReadable reads a tensor whole, or its first elements when it has more
// than any storage.
func requireReadable(t testing.TB, x *tensor.Tensor) {
	if x.Meta || x.DType.Size() == 0 {
		return
	}
	require.LessOrEqual(t, cap(x.Data), len(x.Data), "bytes behind the storage are in reach")
	if x.NumBytes() < 16<<20 {
		require.NoError(t, x.Chunks(0, func(b []byte) error { crc32.ChecksumIEEE(b); return nil }))
		return
	}
	b := make([]byte, 64*x.DType.Size())
	x.Gather(b, 0)
	x.Gather(b, x.Numel()-64) // the last element has the highest address
}

// A file that somebody cuts short is an error, before it was parsed and after.
func TestTruncatedWhileRead(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" || runtime.GOOS == "js" {
		t.Skip("a mapped file cannot be cut short here")
	}
	dir := t.TempDir()
	for _, f := range packed(t, "ptcorpus") {
		if f.Expect != "ok" || f.Optional {
			continue
		}
		path := f.place(t, dir)
		m, err := mmap.Map(path)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, 0))
		require.ErrorIs(t, mmap.Guard(path, func() error { return new(File).parse(m.Bytes(), manyObjects) }), mmap.ErrChanged, f.File)
		require.NoError(t, m.Close())

		path = f.place(t, dir)
		m, err = mmap.Map(path)
		require.NoError(t, err)
		file, err := parse(m, path, manyObjects)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(path, 0))
		for _, n := range file.Tensors() {
			err := mmap.Guard(path, func() error { requireReadable(t, n.Tensor); return nil })
			if err != nil { // else the tensor has no bytes, or a copy of them
				require.ErrorIs(t, err, mmap.ErrChanged, f.File)
			} else {
				require.True(t, n.Tensor.Numel() == 0 || n.Tensor.Meta || !inMapping(file.m, n.Tensor), f.File)
			}
		}
		require.NoError(t, file.Close())
	}
}

// A fault while a pickle is executed (its storages are looked up then) is no
// defect of the pickle.
func TestTruncatedWhileExecuted(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" || runtime.GOOS == "js" {
		t.Skip("a mapped file cannot be cut short here")
	}
	path := filepath.Join(t.TempDir(), "x.pt")
	require.NoError(t, os.WriteFile(path, make([]byte, 24), 0o644))
	m, err := mmap.Map(path)
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, os.Truncate(path, 0))
	l := newLoader(0)
	l.memory = manyObjects.budget(1 << 10)
	l.fetch = func(*storage) ([]byte, error) { return bytes.Clone(m.Bytes()), nil }
	err = mmap.Guard(path, func() error {
		_, err := l.runPickle([]byte("\x80\x02" + pickled + "."))
		return err
	})
	require.ErrorIs(t, err, mmap.ErrChanged)
}

// inMapping reports whether the bytes of a tensor lie in the mapped file.
func inMapping(m *mmap.File, x *tensor.Tensor) bool {
	lo := uintptr(unsafe.Pointer(unsafe.SliceData(m.Bytes())))
	p := uintptr(unsafe.Pointer(unsafe.SliceData(x.Data)))
	return p >= lo && p < lo+uintptr(len(m.Bytes()))
}
