package il

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// TestAppendJSON: the bytes of Python's json.dump, testdata/json_golden.py.
func TestAppendJSON(t *testing.T) {
	b, err := os.ReadFile("testdata/json_golden.json")
	require.NoError(t, err)
	var want []string
	require.NoError(t, json.Unmarshal(b, &want))
	values := []any{
		nil, true, false, 0, -7, 9007199254740993, 0.0, math.Copysign(0, -1), 1.0, 0.1, -2.5, 1e-4, 0.00012345, 9.9e-5, 1e-5, 1.5e-7, 1e15, 123456789012345680.0, 1e16, 1e22, math.MaxFloat64,
		math.SmallestNonzeroFloat64, 1 / 3.0, math.NaN(), math.Inf(1), math.Inf(-1),
		"", "plain", `quote " and \ back`, "\b\f\n\r\t", "\x00\x1f\x7f", "é ß 日本", "😀", "a/b", "\u2028",
		[]any{},
		[]any{1},
		[]any{[]any{}, []any{1, []any{2}}},
		object{},
		object{{"a", object{}}},
		object{{"k é", []any{1, object{{"x", nil}}}}, {"", "v"}},
	}
	require.Len(t, values, len(want))
	for i, v := range values {
		require.Equal(t, want[i], string(appendJSON(nil, v, 0)), "value %d", i)
	}
}

// oneLine drops the line breaks and the indentation of the logger's JSON.
func oneLine(b []byte) string {
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		out.WriteString(strings.Trim(line, " \n"))
	}
	return out.String()
}

// TestEncodeSide: the forms that no fixture holds, by the logger's
// convert_intermediates_to_json.
func TestEncodeSide(t *testing.T) {
	many := make(List, 101)
	for i := range many {
		many[i] = i
	}
	dict := make(Dict, 21)
	var keys []string
	for i := range dict {
		dict[i] = Item{Key: strings.Repeat("k", i+1), Value: nil}
		keys = append(keys, `"`+dict[i].Key+`"`)
	}
	for _, tc := range []struct {
		v    Value
		want string
	}{
		{nil, `null`},
		{(*tensor.Tensor)(nil), `null`},
		{tensor.New(tensor.Float8E4M3FN), `{"type": "tensor","shape": [],"dtype": "torch.float8_e4m3fn","numel": 1}`},
		{Tuple{}, `{"type": "tuple","items": []}`},
		{List{true, 1, 1.5, "s"}, `{"type": "list","items": [true,1,1.5,"s"]}`},
		{Dict{{"b", 1}, {"a", Tuple{nil}}}, `{"type": "dict","items": {"b": 1,"a": {"type": "tuple","items": [null]}}}`},
		{Object{"ParallelLMHead", "ParallelLMHead(é)"}, `{"type": "ParallelLMHead","string_repr": "ParallelLMHead(\u00e9)"}`},
		{List(many[:20]), `{"type": "list","items": [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]}`},
		{Tuple(many[:21]), `{"type": "tuple","length": 21,"sample": [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20],"note": "Showing only first 20 of 21 items"}`},
		{dict, `{"type": "dict","length": 21,"keys": [` + strings.Join(keys, ",") + `],"sample": {` + strings.Join(keys[:20], ": null,") + `: null},"note": "Showing only first 20 of 21 items"}`},
	} {
		got, err := encodeSide(tc.v)
		require.NoError(t, err)
		require.Equal(t, tc.want, oneLine(got))
	}
	got, err := encodeSide(many)
	require.NoError(t, err)
	require.Contains(t, oneLine(got), `98,99],"note": "Showing only first 20 of 101 items"}`)
	_, err = encodeSide(Tuple{int32(1)})
	require.EqualError(t, err, "a value of type int32 cannot be logged")
}

// TestSideRoundTrip: what the writer writes the reader reads.
func TestSideRoundTrip(t *testing.T) {
	v := Tuple{nil, true, -3, 2.5, "é😀\x00", List{}, Dict{{"k", Tuple{1}}}, Object{"X", "<x>"}, tensor.New(tensor.Int64, 3, 0)}
	b, err := encodeSide(v)
	require.NoError(t, err)
	got, err := decodeSide(b)
	require.NoError(t, err)
	require.Equal(t, v[:8], got.(Tuple)[:8])
	x := got.(Tuple).Tensor(8)
	require.True(t, x.Meta)
	require.Equal(t, "int64[3,0]", x.String())
}

func TestDecodeSideErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                               "the JSON ends too early: the run that wrote it is still going, or died",
		`{"type": "tuple", "items": [`:   "the JSON ends too early: the run that wrote it is still going, or died",
		`[1]`:                            "a bare list, expected an object with a type",
		`{}`:                             `"type" is not a string`,
		`null null`:                      "text after the end of the JSON",
		`{"type": "tuple"}`:              `an object of the type "tuple" without what belongs to it`,
		`{"type": "tuple", "items": {}}`: "expected a list",
		`{"type": "dict", "items": []}`:  "expected a JSON object",
		`{"type": "tensor", "shape": [1e9], "dtype": "torch.int8"}`:                       "1e9 is not a dimension",
		`{"type": "tensor", "shape": [9000000000, 9000000000, 2], "dtype": "torch.int8"}`: "9000000000 is not a dimension",
		`{"type": "tensor", "shape": [1], "dtype": "torch.int9"}`:                         `unknown dtype "torch.int9"`,
		strings.Repeat(`{"type":"list","items":[`, 200) + strings.Repeat(`]}`, 200):       "containers are nested more than 100 deep",
		`{"type": "tuple", "items": [NaN]}`:                                               "invalid JSON at byte 28: invalid character 'N' at start of value",
	} {
		_, err := decodeSide([]byte(text))
		require.EqualError(t, err, want, "%.60s", text)
	}
}
