package inspect

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
)

const statsFile = "testdata/stats.pt" // testdata/make.py wrote it, and what torch says of it

func TestAgainstTorch(t *testing.T) {
	b, err := os.ReadFile("testdata/stats.json")
	require.NoError(t, err)
	var want Report
	require.NoError(t, json.Unmarshal(b, &want))
	require.Len(t, want.Tensors, 18)

	got, err := File(statsFile, Options{})
	require.NoError(t, err)
	require.Len(t, got.Tensors, len(want.Tensors))
	for i, w := range want.Tensors {
		g := got.Tensors[i]
		t.Run(w.Path, func(t *testing.T) {
			requireClose(t, "min", w.Min, g.Min)
			requireClose(t, "max", w.Max, g.Max)
			requireClose(t, "mean", w.Mean, g.Mean)
			requireClose(t, "std", w.Std, g.Std)
			require.Equal(t, w.NaN, g.NaN)
			require.Equal(t, w.Inf, g.Inf)
			w.Statistics, g.Statistics = Statistics{}, Statistics{}
			g.values, g.note = nil, ""
			require.Equal(t, w, g)
		})
	}
}

// requireClose allows what the order of summation makes, and of quantised
// values that torch computes them in float32.
func requireClose(t *testing.T, what string, want, got *float64) {
	t.Helper()
	if want == nil || got == nil {
		require.Equal(t, want, got, what)
		return
	}
	tol := 1e-11
	if strings.HasSuffix(t.Name(), "qint8") {
		tol = 1e-6
	}
	require.LessOrEqual(t, math.Abs(*want-*got), tol*math.Abs(*want), "%s: want %v, got %v", what, *want, *got)
}

func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pt")
	x := tensor.FromFloat64s(tensor.BFloat16, []float64{1, 2, math.Inf(1), math.NaN()}, 2, 2)
	require.NoError(t, pt.WriteFile(path, x))
	r, err := File(path, Options{})
	require.NoError(t, err)
	r.File = "x.pt"
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	require.Equal(t, `{"file": "x.pt", "tensors": [
{"path": "", "dtype": "bfloat16", "shape": [2, 2], "stride": [2, 1], "storage_offset": 0, "numel": 4, `+
		`"sha256": "13e3bb5573a7603e38dd294a0d7c341298db73b16d6b381381c84426f4d893b2", "device": "cpu", `+
		`"min": 1, "max": 2, "mean": 1.5, "std": 0.7071067811865476, "nan": 1, "inf": 1}
]}
`, b.String())
}

// A scalar has a shape, [], and a tensor without data nulls.
func TestJSONNulls(t *testing.T) {
	r, err := File(statsFile, Options{})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, r.WriteJSON(&b))
	var v struct {
		Tensors []map[string]any `json:"tensors"`
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &v))
	byPath := map[string]map[string]any{}
	for _, x := range v.Tensors {
		byPath[x["path"].(string)] = x
	}
	require.Equal(t, []any{}, byPath["/scalar"]["shape"])
	require.Equal(t, []any{}, byPath["/scalar"]["stride"])
	for _, path := range []string{"/meta", "/expanded"} {
		for _, key := range []string{"sha256", "min", "max", "mean", "std", "nan", "inf"} {
			require.Contains(t, byPath[path], key)
			require.Nil(t, byPath[path][key])
		}
	}
}

func TestText(t *testing.T) {
	r, err := File(statsFile, Options{})
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, r.WriteText(&b))
	want, err := os.ReadFile("testdata/stats.txt")
	require.NoError(t, err)
	require.Equal(t, string(want), b.String())
}

// Names in a file cannot move the cursor.
func TestTextIsPrintable(t *testing.T) {
	require.Equal(t, `"/a\x1b[2J\n"`, printable("/a\x1b[2J\n"))
	require.Equal(t, "/café 1", printable("/café 1"))
}

func TestHashLimit(t *testing.T) {
	x := &tensor.Tensor{DType: tensor.Int8, Shape: []int{hashLimit + 1}, Stride: []int{0}, Data: []byte{3}}
	left := newBudget(1 << 30)
	d, err := describe(pt.Named{Tensor: x}, Options{}, &left)
	require.NoError(t, err)
	require.Nil(t, d.SHA256)
	require.Nil(t, d.NaN)
	require.Equal(t, []string{"3", "3", "3", "3", "3", "3"}, d.values)
	require.Equal(t, "more than 1 GiB: not read without --hash-all", d.note)
	d, err = describe(pt.Named{Tensor: x}, Options{HashAll: true}, &left)
	require.NoError(t, err)
	require.Nil(t, d.SHA256)
	require.Equal(t, "nearly all of it is repeated, by its strides: not read; 1 bytes are stored", d.note)

	x = &tensor.Tensor{DType: tensor.Int8, Shape: []int{17, 1 << 26}, Stride: []int{0, 1}, Data: make([]byte, 68<<20)}
	d, err = describe(pt.Named{Tensor: x}, Options{}, &left)
	require.NoError(t, err)
	require.Nil(t, d.SHA256)
	require.Equal(t, "more than 1 GiB: not read without --hash-all", d.note)

	if testing.Short() {
		t.Skip("reads 1 GiB")
	}
	x.DType = tensor.Bits8
	d, err = describe(pt.Named{Tensor: x}, Options{HashAll: true}, &left)
	require.NoError(t, err)
	require.NotNil(t, d.SHA256)
	require.Empty(t, d.note)
}

// Tensors that share what they store, or repeat it, are read as far as the file is
// worth.
func TestManyClaims(t *testing.T) {
	x := &tensor.Tensor{DType: tensor.Int8, Shape: []int{60}, Stride: []int{0}, Data: []byte{3}}
	left := budget(100)
	d, err := describe(pt.Named{Tensor: x}, Options{HashAll: true}, &left)
	require.NoError(t, err)
	require.NotNil(t, d.SHA256)
	d, err = describe(pt.Named{Tensor: x}, Options{HashAll: true}, &left)
	require.NoError(t, err)
	require.Nil(t, d.SHA256)
	require.Equal(t, "the tensors of the file claim far more than it stores: not read", d.note)
}

// Overlapping strides claim 2^60 elements of a file of a kilobyte.
func TestOverlap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pt")
	n := uint64(1 << 20)
	require.NoError(t, os.WriteFile(path, fixture.CraftTensor("CharStorage", 1, []uint64{n, n, n}, []uint64{0, 0, 0}, 0, []byte{3}), 0o644))
	r, err := File(path, Options{HashAll: true})
	require.NoError(t, err)
	require.Nil(t, r.Tensors[0].SHA256)
}

// Quantised tensors whose parameters, or elements, are none.
func TestQuantised(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pt")
	for _, c := range []struct{ rows, at uint64 }{{2, 0}, {0, 0}, {0, 1 << 40}} {
		require.NoError(t, os.WriteFile(path, fixture.CraftQuantised([]uint64{c.rows, 2}, []uint64{2, 1}, c.at, c.rows, c.at, []byte{1, 2, 3, 4}), 0o644))
		r, err := File(path, Options{})
		require.NoError(t, err)
		require.Equal(t, "qint8", r.Tensors[0].DType)
		require.Equal(t, int(2*c.rows), r.Tensors[0].Numel)
		require.NotNil(t, r.Tensors[0].SHA256)
	}
}

func TestFileErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pt")
	require.NoError(t, os.WriteFile(path, []byte("PK\x03\x04 and so on"), 0o644))
	_, err := File(path, Options{})
	require.EqualError(t, err, path+": zip directory: offset 14: no end record: the file is cut short, or something was appended to it")
	_, err = File(filepath.Join(t.TempDir(), "none.pt"), Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func BenchmarkFile(b *testing.B) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float32, tensor.Int64, tensor.Uint8, tensor.Float8E4M3FN} {
		b.Run(d.String(), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "x.pt")
			x := tensor.New(d, 32<<20/d.Size())
			require.NoError(b, pt.WriteFile(path, x))
			b.SetBytes(int64(x.NumBytes()))
			b.ReportAllocs()
			for b.Loop() {
				_, err := File(path, Options{})
				require.NoError(b, err)
			}
		})
	}
}
