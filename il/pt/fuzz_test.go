package pt

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// Any bytes are read, or refused in one line, in bounded time and memory; and
// what was read can be read on, and written.
//
//	go test -fuzz=FuzzFile ./il/pt
func FuzzFile(f *testing.F) {
	for _, corpus := range []string{"ptcorpus", "ptcorpus_bad"} {
		for _, c := range packed(f, corpus) {
			if len(c.data) < 16<<10 {
				f.Add(c.data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		hold(t, len(data), func() ([]Named, error) { return parseBytes(data) })
	})
}

// FuzzPickle is FuzzFile for the pickle alone, in an archive that is whole.
func FuzzPickle(f *testing.F) {
	seen := map[string]bool{}
	for _, corpus := range []string{"ptcorpus", "ptcorpus_bad"} {
		for _, c := range packed(f, corpus) {
			z, err := openArchive(c.data)
			if err != nil {
				continue
			}
			pickle, err := z.bytes("data.pkl", 8<<10)
			if err == nil && !seen[string(pickle)] {
				seen[string(pickle)] = true
				f.Add(pickle)
			}
		}
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 64)
	f.Fuzz(func(t *testing.T, pickle []byte) {
		l := newLoader(0)
		l.memory = manyObjects.budget(len(pickle))
		l.fetch = func(s *storage) ([]byte, error) {
			if s.key != "0" {
				return nil, errors.New("no such record")
			}
			return data, nil
		}
		hold(t, len(pickle), func() ([]Named, error) {
			root, err := l.runPickle(pickle)
			if err != nil {
				return nil, err
			}
			return l.named(root)
		})
	})
}

// hold holds a read to what is promised for any input of a size.
func hold(t *testing.T, size int, read func() ([]Named, error)) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	got, err := read()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if took > 2*time.Second {
		t.Fatalf("%v for %d bytes", took, size)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(80<<20+128*size) {
		t.Fatalf("%d bytes allocated for %d", n, size)
	}
	if err != nil {
		if strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
			t.Fatalf("error in several lines, or long: %q", err)
		}
		if strings.Contains(err.Error(), "cannot be executed") {
			t.Fatalf("the verifier let pass what gopickle panics on: %v", err)
		}
		return
	}
	for i, n := range got {
		if i == 20 {
			break
		}
		requireReadable(t, n.Tensor)
		roundTrip(t, n.Tensor)
	}
}

// roundTrip writes a tensor and reads it back.
func roundTrip(t *testing.T, x *tensor.Tensor) {
	if x.Meta || x.NumBytes() > 1<<16 {
		return
	}
	var b bytes.Buffer
	if err := Encode(&b, "x.pt", x); err != nil {
		return // quantised, with parameters that are not written
	}
	got, err := parseBytes(b.Bytes())
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, x.Shape, got[0].Tensor.Shape)
	require.Equal(t, x.DType, got[0].Tensor.DType)
	require.True(t, bytes.Equal(x.Bytes(), got[0].Tensor.Bytes()))
}
