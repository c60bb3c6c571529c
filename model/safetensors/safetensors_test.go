package safetensors

import (
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/stretchr/testify/require"
)

func readJSON(tb testing.TB, path string, v any) {
	tb.Helper()
	b, err := os.ReadFile(path)
	require.NoError(tb, err)
	require.NoError(tb, json.Unmarshal(b, v))
}

// A file that the Python library wrote, with torch's own values.
func TestTypes(t *testing.T) {
	data, err := os.ReadFile("testdata/types.safetensors")
	require.NoError(t, err)
	f, err := Parse("types.safetensors", data)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"format": "pt", "made by": "safetensors.torch"}, f.Metadata)

	var want map[string]struct {
		DType  string
		Shape  []int
		Values []string
	}
	readJSON(t, "testdata/types.json", &want)
	require.Len(t, f.Entries(), len(want))
	for name, w := range want {
		x, err := f.Tensor(name)
		require.NoError(t, err, name)
		require.Equal(t, w.DType, x.DType.String())
		require.Equal(t, w.Shape, x.Shape, name)
		if w.Values == nil { // torch itself cannot convert the type
			continue
		}
		got := make([]float64, len(w.Values))
		require.NoError(t, x.Float64s(got, 0))
		for i, text := range w.Values {
			v, err := strconv.ParseFloat(text, 64)
			require.NoError(t, err)
			if math.IsNaN(v) {
				require.True(t, math.IsNaN(got[i]), "%s[%d]: %v", name, i, got[i])
				continue
			}
			require.Equal(t, v, got[i], "%s[%d]", name, i)
		}
	}
}

// The verdict of the reference implementation, and for each broken file our
// line. Where we refuse what the reference lets pass, the format's README says
// so: the header starts with {, is padded with spaces only, has no names twice.
func TestBattery(t *testing.T) {
	stricter := map[string]bool{
		"leading space": true, "newline after": true, "duplicate name": true, "unknown key": true, "metadata null": true,
	}
	messages := map[string]string{
		"empty file":                      "0 bytes, expected at least the 8 of the header length",
		"seven bytes":                     "7 bytes, expected at least the 8 of the header length",
		"header length zero":              `header: expected it to start with {, found ""`,
		"header length too large":         "header length 100000001, expected at most 100000000",
		"header length all ones":          "header length 18446744073709551615, expected at most 100000000",
		"header beyond the file":          "the header needs 3 bytes, the file ends after 2: it is cut off, copy it again",
		"leading space":                   `header: expected it to start with {, found " "`,
		"array":                           `header: expected it to start with {, found "["`,
		"null":                            `header: expected it to start with {, found "n"`,
		"newline after":                   `header: only spaces may follow the closing brace, found "\n" at byte 54`,
		"text after":                      `header: only spaces may follow the closing brace, found "x" at byte 54`,
		"second object":                   `header: only spaces may follow the closing brace, found "{" at byte 54`,
		"not UTF-8":                       "header: bad JSON at byte 3: invalid UTF-8",
		"half a surrogate":                "header: bad JSON at byte 2: invalid surrogate pair `\\ud800\":{\"dt` in string",
		"not JSON":                        `header: tensor "a": bad JSON at byte 5: unexpected EOF`,
		"trailing comma":                  "header: bad JSON at byte 53: invalid character ',' at start of value",
		"duplicate name":                  `header: the name "a" appears twice`,
		"duplicate name in another place": `header: the name "a" appears twice`,
		"duplicate key":                   `header: tensor "a": the name "dtype" appears twice`,
		"unknown key":                     `header: tensor "a": unknown key "order", expected dtype, shape and data_offsets`,
		"missing shape":                   `header: tensor "a": key "shape" is missing`,
		"missing dtype":                   `header: tensor "a": key "dtype" is missing`,
		"missing offsets":                 `header: tensor "a": key "data_offsets" is missing`,
		"key in capitals":                 `header: tensor "a": unknown key "DType", expected dtype, shape and data_offsets`,
		"shape null":                      `header: tensor "a": expected shape as an array, found null`,
		"three offsets":                   `header: tensor "a": data_offsets has 3 numbers, expected 2`,
		"one offset":                      `header: tensor "a": data_offsets has 1 numbers, expected 2`,
		"metadata of a number":            "header: the value of __metadata__/n is a number, expected a string",
		"metadata of a string":            "header: expected an object, found a string",
		"metadata null":                   "header: expected an object, found null",
		"tensor null":                     `header: tensor "a": expected an object, found null`,
		"negative dimension":              `header: tensor "a": shape holds -1, expected non-negative integers of 63 bits`,
		"fractional dimension":            `header: tensor "a": shape holds 1.0, expected non-negative integers of 63 bits`,
		"exponent":                        `header: tensor "a": shape holds 1e0, expected non-negative integers of 63 bits`,
		"negative offset":                 `header: tensor "a": data_offsets holds -4, expected non-negative integers of 63 bits`,
		"offset of 2^64":                  `header: tensor "a": data_offsets holds 18446744073709551616, expected non-negative integers of 63 bits`,
		"unknown dtype":                   `header: tensor "a": dtype "F128" is not one of the format's`,
		"dtype in small letters":          `header: tensor "a": dtype "f32" is not one of the format's`,
		"three F4":                        `tensor "a": F4[3] is no whole number of bytes`,
		"size overflows":                  `tensor "a": the size of F32[4294967296,4294967296] overflows`,
		"bits overflow":                   `tensor "a": the size of F32[2305843009213693952] overflows`,
		"backwards":                       `tensor "a": data_offsets [4,0] end before they begin`,
		"overlap":                         `tensor "b" at bytes [2,6] overlaps tensor "a", which ends at 4`,
		"same place twice":                `tensor "b" at bytes [0,4] overlaps tensor "a", which ends at 4`,
		"hole":                            `tensor "b" at bytes [8,12] leaves a hole of 4 bytes after tensor "a"`,
		"hole at the start":               `tensor "a" at bytes [4,8] leaves a hole of 4 bytes after the start of the data`,
		"size does not fit the shape":     `tensor "a": F32[2] needs 8 bytes, data_offsets [0,4] give 4`,
		"beyond the data":                 `tensor "a" at bytes [0,4] reaches beyond the 3 bytes of data: the file is cut off, copy it again`,
		"data left over":                  `1 bytes of data after tensor "a" belong to no tensor`,
		"data without tensors":            "1 bytes of data after the start of the data belong to no tensor",
	}
	var cases []struct {
		Name      string
		File      []byte
		Reference string
	}
	readJSON(t, "testdata/battery.json", &cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			_, err := Parse("m.safetensors", c.File)
			if c.Reference == "" && !stricter[c.Name] {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, "m.safetensors: not a valid safetensors file: "+messages[c.Name])
		})
	}
}

func TestTensorErrors(t *testing.T) {
	var cases []struct {
		Name string
		File []byte
	}
	readJSON(t, "testdata/battery.json", &cases)
	for _, c := range cases {
		want := map[string]string{
			"four F6": `m.safetensors: tensor "a" has type F6_E2M3, which cannot be read; convert the checkpoint`,
			"plain":   "",
		}
		msg, ok := want[c.Name]
		if !ok {
			continue
		}
		f, err := Parse("m.safetensors", c.File)
		require.NoError(t, err)
		_, err = f.Tensor("b")
		require.EqualError(t, err, `m.safetensors: no tensor "b"`)
		e, ok := f.Entry("a")
		require.True(t, ok)
		require.Equal(t, "a", e.Name)
		if _, err = f.Tensor("a"); msg == "" {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, msg)
		}
	}
}

// The views lie in the file's own bytes.
func TestNoCopy(t *testing.T) {
	data, err := os.ReadFile(fixture.Checkpoint("llama3-gqa") + "/model.safetensors")
	require.NoError(t, err)
	f, err := Parse("model.safetensors", data)
	require.NoError(t, err)
	x, err := f.Tensor("model.norm.weight")
	require.NoError(t, err)
	require.Equal(t, "bfloat16[64]", x.String())
	e, _ := f.Entry("model.norm.weight")
	require.Same(t, &f.data[e.Begin], &x.Data[0])
	require.Equal(t, len(x.Data), cap(x.Data), "appending must not reach the next tensor")
}

func FuzzParse(f *testing.F) {
	var cases []struct{ File []byte }
	readJSON(f, "testdata/battery.json", &cases)
	for _, c := range cases {
		f.Add(c.File)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("fuzz", data)
		if err != nil {
			return
		}
		total := 0
		for _, e := range file.Entries() {
			total += e.End - e.Begin
			x, err := file.Tensor(e.Name)
			if err != nil {
				continue
			}
			require.Equal(t, e.End-e.Begin, x.NumBytes())
			if x.DType.ValuesPerElement() > 0 && x.NumBytes() < 1<<16 {
				require.NoError(t, x.Float64s(make([]float64, x.Numel()*x.DType.ValuesPerElement()), 0))
			}
		}
		require.Equal(t, len(file.data), total)
	})
}
