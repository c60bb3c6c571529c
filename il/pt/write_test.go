package pt

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// goldenCase is one file of testdata/golden, which make.py there wrote with
// torch's pickles and a zip writer of its own.
type goldenCase struct {
	Name, DType, Data string
	Shape             []int
	Quant             *struct {
		Scales     []float64
		ZeroPoints []float64 `json:"zero_points"`
		Axis       int
	}
}

func (c goldenCase) tensor(t *testing.T) *tensor.Tensor {
	d, ok := tensor.ParseDType(c.DType)
	require.True(t, ok, c.DType)
	data, err := hex.DecodeString(c.Data)
	require.NoError(t, err)
	x := &tensor.Tensor{DType: d, Shape: c.Shape, Stride: tensor.ContiguousStride(c.Shape), Data: data, Device: "cuda:0"}
	if c.Quant != nil {
		x.Quant = &tensor.Quant{Scales: c.Quant.Scales, ZeroPoints: c.Quant.ZeroPoints, Axis: c.Quant.Axis}
	}
	return x
}

func goldenCases(t *testing.T) (cases []goldenCase) {
	t.Helper()
	b, err := os.ReadFile("testdata/golden/cases.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &cases))
	return cases
}

func TestEncodeGolden(t *testing.T) {
	cases := goldenCases(t)
	require.Len(t, cases, 51)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			want, err := os.ReadFile("testdata/golden/" + c.Name + ".pt")
			require.NoError(t, err)
			var got bytes.Buffer
			require.NoError(t, Encode(&got, `C:\dir.d/`+c.Name+".pt", c.tensor(t)))
			require.Equal(t, hex.Dump(want), hex.Dump(got.Bytes()))
		})
	}
}

// A view is stored as the logical tensor that it is.
func TestEncodeViews(t *testing.T) {
	base := tensor.FromInts(tensor.Int16, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 3, 4)
	column := base.Narrow(1, 1, 3)
	transposed := &tensor.Tensor{DType: tensor.Int16, Shape: []int{4, 3}, Stride: []int{1, 4}, Data: base.Data}
	neg := &tensor.Tensor{DType: tensor.Int16, Shape: []int{2}, Stride: []int{1}, Offset: 1, Data: base.Data, Neg: true}
	for _, view := range []*tensor.Tensor{column, transposed, neg} {
		var got, want bytes.Buffer
		require.NoError(t, Encode(&got, "x.pt", view))
		require.NoError(t, Encode(&want, "x.pt", view.Clone()))
		require.Equal(t, want.Bytes(), got.Bytes())
	}
}

func TestEncodeErrors(t *testing.T) {
	q := func(d tensor.DType, q *tensor.Quant) *tensor.Tensor {
		x := tensor.New(d, 2, 3)
		x.Quant = q
		return x
	}
	for want, x := range map[string]*tensor.Tensor{
		"a meta tensor has no elements to write":                {DType: tensor.Float32, Shape: []int{1}, Stride: []int{1}, Meta: true},
		"qint8 tensor without a scale and a zero point":         q(tensor.QInt8, nil),
		"quint4x2 packs several values in a byte":               q(tensor.QUInt4x2, nil),
		"qint8 tensor with the zero point 0.5, want an int":     q(tensor.QInt8, &tensor.Quant{Scales: []float64{1}, ZeroPoints: []float64{0.5}, Axis: -1}),
		"scales and zero points do not fit the shape [2,3]":     q(tensor.QInt8, &tensor.Quant{Scales: []float64{1}, ZeroPoints: []float64{0}, Axis: 0}),
		"qint8 tensor with the zero point NaN, want an integer": q(tensor.QInt8, &tensor.Quant{Scales: []float64{1}, ZeroPoints: []float64{math.NaN()}, Axis: -1}),
	} {
		require.ErrorContains(t, Encode(io.Discard, "x.pt", x), want)
	}
}

func TestPrefix(t *testing.T) {
	for name, want := range map[string]string{
		"outputs_cuda:0.pt": "outputs_cuda:0", "/a/b.c/inputs_0_cuda:0.pt": "inputs_0_cuda:0", `a\b\c.pt`: "c",
		"noext": "noext", "a.b.c.pt": "a.b.c", "dots..pt": "dots.", "with space.pt": "with space",
		"café.pt": "archive", "": "archive", ".pt": "archive", "dir/": "archive", "...pt": "archive", "\xff.pt": "archive",
		strings.Repeat("x", 1025) + ".pt": "archive",
	} {
		require.Equal(t, want, prefixOf(name), name)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "float32.pt")
	c := goldenCases(t)[1]
	require.NoError(t, os.WriteFile(path, []byte("an older file"), 0o644))
	require.NoError(t, WriteFile(path, c.tensor(t)))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/golden/float32.pt")
	require.NoError(t, err)
	require.Equal(t, want, got)
	requireOnly(t, dir, "float32.pt")
}

// requireOnly checks that a folder holds these files and no leftovers.
func requireOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	got := []string{}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	require.ElementsMatch(t, names, got)
}

func TestWriteFileErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.pt")
	require.EqualError(t, WriteFile(path, &tensor.Tensor{DType: tensor.Int8, Meta: true}), "write "+path+": a meta tensor has no elements to write")
	requireOnly(t, dir)

	missing := filepath.Join(dir, "none", "x.pt")
	err := WriteFile(missing, tensor.New(tensor.Int8))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "write "+missing+": ")

	// The target is a folder that is not empty: the rename fails.
	require.NoError(t, os.MkdirAll(filepath.Join(path, "sub"), 0o755))
	err = WriteFile(path, tensor.New(tensor.Int8))
	require.ErrorContains(t, err, "write "+path+": ")
	requireOnly(t, dir, "x.pt")
}

// failAfter takes n bytes and then fails as a full disk does.
type failAfter int

func (w *failAfter) Write(b []byte) (int, error) {
	if len(b) > int(*w) {
		return int(*w), errFull
	}
	*w -= failAfter(len(b))
	return len(b), nil
}

var errFull = errors.New("no space left on device")

func TestEncodeFullDisk(t *testing.T) {
	x := tensor.New(tensor.Float64, 100, 100)
	var whole bytes.Buffer
	require.NoError(t, Encode(&whole, "x.pt", x))
	for n := 0; n < whole.Len(); n += 1 + whole.Len()/50 {
		w := failAfter(n)
		require.ErrorIs(t, Encode(&w, "x.pt", x), errFull, n)
	}
}

// sparseArchive writes an archive whose records have the given sizes and no
// payload (a hole), with the writer's own headers.
func sparseArchive(t *testing.T, path string, pickle []byte, sizes map[string]uint64, order []string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	var pos uint64
	var central []byte
	put := func(b []byte) {
		_, err := f.WriteAt(b, int64(pos))
		require.NoError(t, err)
		pos += uint64(len(b))
	}
	for _, name := range order {
		payload := map[string][]byte{"data.pkl": pickle, "byteorder": []byte("little"), "version": []byte("3\n")}[name]
		size := max(sizes[name], uint64(len(payload)))
		e := entry{name: "big/" + name, size: size, offset: pos}
		put(e.local())
		require.Zero(t, pos%alignment, name)
		put(payload)
		pos += size - uint64(len(payload))
		central = append(central, e.centralHeader()...)
	}
	end := endOfDirectory(len(order), pos, uint64(len(central)))
	put(central)
	put(end)
}

// Records at and beyond 4 GiB get the zip64 fields; Go's own zip reader says so.
func TestZip64(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no sparse files")
	}
	const g4 = 1 << 32
	for _, size := range []uint64{g4 - 3, g4 - 2, g4 - 1, g4, g4 + 12345} {
		path := filepath.Join(t.TempDir(), "big.pt")
		order := []string{"data.pkl", "byteorder", "data/0", "data/1", "version"}
		sparseArchive(t, path, []byte{0x80, 2, 'N', '.'}, map[string]uint64{"data/0": size, "data/1": 5}, order)
		z, err := zip.OpenReader(path)
		require.NoError(t, err)
		for i, f := range z.File {
			require.Equal(t, "big/"+order[i], f.Name)
			off, err := f.DataOffset()
			require.NoError(t, err)
			require.Zero(t, off%alignment)
			switch order[i] {
			case "data/0":
				require.Equal(t, size, f.UncompressedSize64)
				require.Equal(t, size >= g4-1, len(f.Extra) > 0, "zip64 extra")
			case "data/1":
				require.Greater(t, uint64(off), size)
			}
		}
		require.NoError(t, z.Close())
	}
}

// A file of more than 4 GiB is opened by its directory alone, and its elements
// are where they should be.
func TestReadZip64(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no sparse files")
	}
	const numel = 1<<30 + 5 // of float32
	path := filepath.Join(t.TempDir(), "big.pt")
	pickle := strings.NewReplacer("K\x06tQ", "J\x05\x00\x00\x40tQ", "K\x02K\x03\x86K\x03K\x01\x86", "J\x05\x00\x00\x40\x85K\x01\x85").Replace(pickled)
	order := []string{"data.pkl", "byteorder", "data/0", "version"}
	sparseArchive(t, path, []byte("\x80\x02"+pickle+"."), map[string]uint64{"data/0": 4 * numel}, order)

	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	z, err := zip.OpenReader(path)
	require.NoError(t, err)
	start, err := z.File[2].DataOffset()
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, err = f.WriteAt([]byte{0, 0, 0x80, 0x3f}, start+4*(numel-1))
	require.NoError(t, err)
	require.NoError(t, f.Close())

	x, c, err := OpenTensor(path)
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, []int{numel}, x.Shape)
	v := make([]float64, 2)
	require.NoError(t, x.Float64s(v, numel-2))
	require.Equal(t, []float64{0, 1}, v)
}

func TestLocalHeaderZip64(t *testing.T) {
	le := binary.LittleEndian
	b := entry{name: "x/data/0", size: 1<<33 + 7, crc: 0x01020304, offset: 64}.local()
	require.Equal(t, uint16(45), le.Uint16(b[4:]))
	require.Equal(t, uint32(max32), le.Uint32(b[18:]))
	require.Equal(t, uint32(max32), le.Uint32(b[22:]))
	extra := b[30+8:]
	require.Equal(t, []byte{1, 0, 16, 0}, extra[:4])
	require.Equal(t, uint64(1<<33+7), le.Uint64(extra[4:]))
	require.Equal(t, uint64(1<<33+7), le.Uint64(extra[12:]))
	require.Equal(t, "FB", string(extra[20:22]))
}
