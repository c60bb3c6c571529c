package il

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// Lists name calls in a line each, also several lists together.
func TestManyAbsentCalls(t *testing.T) {
	dir := t.TempDir()
	for step := range 3 {
		var list bytes.Buffer
		for i := range 60_000 {
			fmt.Fprintf(&list, "%d\n", i)
		}
		write(t, list.String(), dir, fmt.Sprintf("step_%d", step), callsFile)
	}
	_, err := Open(dir)
	require.ErrorContains(t, err, filepath.Join(dir, "step_2", callsFile)+": the lists of calls up to this one name 180000 without a directory, expected at most 131072")

	require.NoError(t, os.RemoveAll(filepath.Join(dir, "step_2")))
	s, err := Open(dir)
	require.NoError(t, err)
	require.Len(t, s.Steps[1].Calls, 60_000)
}

// A side file is read as often as containers lie around each byte.
func TestDeepSide(t *testing.T) {
	nested := func(depth, size int) []byte {
		open, items := `{"type":"tuple","items":[`, strings.Repeat("0,", size/2)
		return []byte(strings.Repeat(open, depth) + items + "0" + strings.Repeat("]}", depth))
	}
	_, err := decodeSide(nested(90, 1<<20))
	require.ErrorContains(t, err, "containers: no logger writes that")
	for _, text := range [][]byte{nested(90, 1000), nested(4, 1<<20)} {
		_, err = decodeSide(text)
		require.NoError(t, err)
	}
}

// A side file is small, or it is none: nothing of a large one is read.
func TestLargeSide(t *testing.T) {
	dir := t.TempDir()
	call := filepath.Join(dir, "step_0", "model.norm")
	write(t, `{"type":"tuple","items":[`+strings.Repeat("0,", 3<<20)+"0]}", call, "inputs.json")
	s, err := Open(dir)
	require.NoError(t, err)
	_, err = s.Call(0, "model.norm", 0).Values(Inputs)
	require.ErrorContains(t, err, "inputs.json has 6291484 bytes, expected at most 4194304")
}

// A tensor of 2^40 elements is no tensor of a session, whoever reads it.
func TestClaimRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pt")
	require.NoError(t, os.WriteFile(path, fixture.CraftTensor("LongStorage", 8, []uint64{1 << 40}, []uint64{0}, 0, make([]byte, 8)), 0o644))
	_, _, err := (&TensorFile{File: path}).Open()
	require.ErrorContains(t, err, path+": is int64[1099511627776] by strides [0] over a storage of 8 bytes")
}

// A file that is cut short while its tensor is read is an error of the reader.
func TestWithTruncated(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" || runtime.GOOS == "js" {
		t.Skip("a mapped file cannot be cut short here")
	}
	path := filepath.Join(t.TempDir(), "x.pt")
	const n = 1 << 16
	whole := fixture.CraftTensor("ByteStorage", 1, []uint64{n}, []uint64{1}, 0, make([]byte, n))
	f := &TensorFile{File: path}
	cut := func(x *tensor.Tensor) error {
		require.NoError(t, os.Truncate(path, 0))
		x.Clone()
		return nil
	}
	require.NoError(t, os.WriteFile(path, whole, 0o644))
	require.ErrorIs(t, f.With(cut), mmap.ErrChanged)
	require.NoError(t, os.WriteFile(path, whole, 0o644))
	require.ErrorIs(t, WithBoth(f, f, func(x, _ *tensor.Tensor) error { return cut(x) }), mmap.ErrChanged)
}
