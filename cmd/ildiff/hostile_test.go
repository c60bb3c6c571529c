package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il/inspect"
	"github.com/ilref/ilref/internal/cli"
	"github.com/ilref/ilref/internal/fixture"
)

// storageClasses and the size of their elements.
var storageClasses = []struct {
	name string
	size int
}{
	{"BFloat16Storage", 2},
	{"FloatStorage", 4},
	{"LongStorage", 8},
	{"IntStorage", 4},
	{"CharStorage", 1},
	{"BoolStorage", 1},
	{"ComplexFloatStorage", 8},
	{"DoubleStorage", 8},
	{quantised, 1},
}

const quantised = "QInt8Storage"

// FuzzTensors takes crafted tensors through every command that reads sessions:
// none may fall over, hang or take memory that nothing in the file is worth.
// Each pair of bytes of dims is a size and a stride; the highest bits scale them.
func FuzzTensors(f *testing.F) {
	ones := bytes.Repeat([]byte{0x80, 0x3f}, 64)
	for class := range storageClasses {
		c := uint8(class)
		f.Add(c, []byte{8, 8, 8, 1}, uint64(0), ones)             // as usual
		f.Add(c, []byte{0, 1}, uint64(1_000_000), ones)           // no elements, beyond the storage
		f.Add(c, []byte{0, 64, 64, 1}, uint64(1)<<40, ones)       // the same of rows
		f.Add(c, []byte{11, 1, 0, 1}, uint64(1)<<61, []byte(nil)) // no columns, no storage
		f.Add(c, []byte{}, uint64(0), ones)                       // rank 0
		f.Add(c, []byte{}, uint64(64), ones)                      // rank 0, beyond the storage
		f.Add(c, []byte{0xff, 0}, uint64(0), ones)                // 2^63 times one
		f.Add(c, []byte{0xe1, 0, 16, 1}, uint64(0), ones)         // 2^40 equal rows
		f.Add(c, []byte{0xa1, 1, 0xa1, 1, 0xa1, 1}, uint64(0), bytes.Repeat(ones, 8))
		f.Add(c, []byte{3, 0xff, 3, 0xff}, uint64(0), ones)          // strides beyond all counts
		f.Add(c, []byte{0xb0, 0, 0xa0, 0, 0x41, 1}, uint64(0), ones) // 2^38 times a few
		f.Add(c, []byte{0, 1}, uint64(1)<<63, ones)                  // an offset beyond all counts
		f.Add(c, []byte{0xff, 1, 0, 1}, uint64(0), ones)             // 2^63-1 rows of nothing
		f.Add(c, bytes.Repeat([]byte{2, 1}, 8), uint64(0), ones)     // overlapping in every dimension
		f.Add(c, []byte{1, 0xff, 1, 0xff, 8, 1}, uint64(3), ones)    // strides of single rows are for nothing
		f.Add(c, []byte{8, 1, 8, 8}, uint64(0), ones)                // transposed
	}
	good := filepath.Join(f.TempDir(), "good")
	craft(f, good, fixture.CraftTensor("BFloat16Storage", 2, []uint64{8, 8}, []uint64{8, 1}, 0, ones))
	f.Fuzz(func(t *testing.T, class uint8, dims []byte, offset uint64, data []byte) {
		if len(dims) > 16 || len(data) > 1<<12 {
			return
		}
		var shape, stride []uint64
		for i := 0; i+1 < len(dims); i += 2 {
			shape, stride = append(shape, scaled(dims[i])), append(stride, scaled(dims[i+1]))
		}
		c := storageClasses[int(class)%len(storageClasses)]
		bad := filepath.Join(t.TempDir(), "bad")
		file := fixture.CraftTensor(c.name, c.size, shape, stride, offset, data)
		if c.name == quantised && len(shape) > 0 {
			file = fixture.CraftQuantised(shape, stride, offset, min(shape[0], 8), offset%9, data)
		}
		craft(t, bad, file)
		report, err := inspect.File(filepath.Join(bad, "step_0", "model.norm", "outputs_0_cuda_0.pt"), inspect.Options{HashAll: true})
		if err == nil {
			require.NoError(t, report.WriteText(io.Discard))
			require.NoError(t, report.WriteJSON(io.Discard))
		}
		out := t.TempDir()
		for _, args := range [][]string{
			{good, bad},
			{bad, good},
			{bad, bad, "--all"},
			{bad, bad, "--format", "html", "-o", filepath.Join(out, "r.html")},
			{"lint", bad},
			{"baseline", "save", bad, "-o", filepath.Join(out, "b")},
			{"baseline", "check", filepath.Join(out, "b"), good},
			{"suggest", good, bad},
			{good, bad, "--shard", "1/1", "-o", filepath.Join(out, "p.json")},
			{"merge", filepath.Join(out, "p.json")},
		} {
			var stdout, stderr bytes.Buffer
			code := run(context.Background(), args, &stdout, &stderr)
			require.LessOrEqual(t, code, 3, "%v %v %v of %s, %d bytes: %s", args, shape, stride, c.name, len(data), stderr.String())
			made := args[0] != "merge" && args[1] != "check" // what is not there was not made
			if code == cli.ExitError && made {
				require.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
			}
		}
	})
}

// scaled is a byte as a count: its top three bits shift the others, so that few
// bytes say 2^63-1 as well as 3.
func scaled(b byte) uint64 {
	if b == 0xff {
		return 1<<63 - 1
	}
	return uint64(b&0x1f) << (int(b>>5) * 6)
}

// craft writes a session of one tensor, and another that is as usual.
func craft(t testing.TB, dir string, file []byte) {
	t.Helper()
	require.NoError(t, craftSession(dir, file))
}

func craftSession(dir string, file []byte) error {
	usual := fixture.CraftTensor("BFloat16Storage", 2, []uint64{8, 8}, []uint64{8, 1}, 0, bytes.Repeat([]byte{0x80, 0x3f}, 64))
	for name, data := range map[string][]byte{
		"step_0/module_calls.txt":                                 []byte("model.layers.0.mlp.down_proj\nmodel.norm\n"),
		"step_0/model.norm/outputs_0_cuda_0.pt":                   file,
		"step_0/model.norm/inputs_0_cuda_0.pt":                    usual,
		"step_0/model.layers.0.mlp.down_proj/outputs_0_cuda_0.pt": usual,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// A call list is one of a model's calls, not of as many as a file can hold.
func TestHugeCallList(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	craft(t, dir, fixture.CraftTensor("BFloat16Storage", 2, []uint64{1}, []uint64{1}, 0, []byte{0, 0}))
	var list bytes.Buffer
	for i := 0; list.Len() < 5<<20; i++ {
		fmt.Fprintf(&list, "model.norm_%d\n", i)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "step_0", "module_calls.txt"), list.Bytes(), 0o666))
	var stdout, stderr bytes.Buffer
	require.Equal(t, cli.ExitError, run(context.Background(), []string{dir, dir}, &stdout, &stderr))
	require.Regexp(t, `module_calls.txt has \d+ bytes, expected at most 4194304\n$`, stderr.String())
}

// crafted writes a session with one odd tensor: crafted KIND DIR.
func crafted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: crafted KIND DIR")
	}
	bf16 := func(values ...uint16) []byte {
		var b []byte
		for i := range 64 {
			b = binary.LittleEndian.AppendUint16(b, values[min(i, len(values)-1)])
		}
		return b
	}
	const one, nan = 0x3f80, 0x7fc0
	matrix := func(data []byte) []byte {
		return fixture.CraftTensor("BFloat16Storage", 2, []uint64{8, 8}, []uint64{8, 1}, 0, data)
	}
	large := func(n int64) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(n))
		return fixture.CraftTensor("LongStorage", 8, []uint64{1}, []uint64{1}, 0, b)
	}
	massive := func(rest uint16) []byte {
		row := slices.Repeat([]uint16{0x4974}, 8) // about 1e6
		return matrix(bf16(append(row, rest)...))
	}
	kinds := map[string]func() []byte{
		"usual": func() []byte { return matrix(bf16(one)) },
		"empty": func() []byte {
			return fixture.CraftTensor("BFloat16Storage", 2, []uint64{0, 8}, []uint64{8, 1}, 0, nil)
		},
		"claim": func() []byte { // 2^40 times one
			return fixture.CraftTensor("LongStorage", 8, []uint64{1 << 40}, []uint64{0}, 0, make([]byte, 8))
		},
		"nan":           func() []byte { return matrix(bf16(nan)) },
		"some-nan":      func() []byte { return matrix(bf16(nan, one)) },
		"large":         func() []byte { return large(1 << 60) },
		"larger":        func() []byte { return large(1<<60 + 1) },
		"massive":       func() []byte { return massive(one) },
		"massive-zeros": func() []byte { return massive(0) },
	}
	make := kinds[args[0]]
	if make == nil {
		ts.Fatalf("crafted: no kind %s", args[0])
	}
	ts.Check(craftSession(ts.MkAbs(args[1]), make()))
}
