package il

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/ilref/ilref/tensor"
)

// object is a Python dict on its way to JSON: keys in order.
type object []member

type member struct {
	key   string
	value any // object, []any, string, bool, int, float64 or nil
}

const (
	maxItems    = 20  // containers of more items are cut
	sampleItems = 100 // … to these, in lists and tuples
)

// encodeSide writes the side file of a value, byte for byte as the logger does
// (convert_intermediates_to_json, then json.dump with indent=2).
func encodeSide(v Value) ([]byte, error) {
	d, err := describe(v)
	if err != nil {
		return nil, err
	}
	return appendJSON(nil, d, 0), nil
}

func describe(v Value) (any, error) {
	switch v := v.(type) {
	case nil, bool, int, float64, string:
		return v, nil
	case *tensor.Tensor:
		if v == nil {
			return nil, nil
		}
		return object{{"type", "tensor"}, {"shape", dims(v.Shape)}, {"dtype", "torch." + v.DType.String()}, {"numel", v.Numel()}}, nil
	case Tuple:
		return describeItems("tuple", v)
	case List:
		return describeItems("list", v)
	case Dict:
		return describeDict(v)
	case Object:
		return object{{"type", v.Type}, {"string_repr", v.Repr}}, nil
	}
	return nil, fmt.Errorf("a value of type %T cannot be logged", v)
}

func describeItems(kind string, items []Value) (any, error) {
	out := []any{}
	for _, it := range items[:min(len(items), max(maxItems, sampleItems))] {
		d, err := describe(it)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	if len(items) > maxItems {
		return object{{"type", kind}, {"length", len(items)}, {"sample", out}, {"note", cutNote(len(items))}}, nil
	}
	return object{{"type", kind}, {"items", out}}, nil
}

func describeDict(d Dict) (any, error) {
	items, keys := object{}, []any{}
	for i, it := range d {
		keys = append(keys, it.Key)
		if i >= maxItems {
			continue
		}
		v, err := describe(it.Value)
		if err != nil {
			return nil, err
		}
		items = append(items, member{it.Key, v})
	}
	if len(d) > maxItems {
		return object{{"type", "dict"}, {"length", len(d)}, {"keys", keys}, {"sample", items}, {"note", cutNote(len(d))}}, nil
	}
	return object{{"type", "dict"}, {"items", items}}, nil
}

// cutNote says 20 for lists too, of which the logger shows 100.
func cutNote(n int) string { return fmt.Sprintf("Showing only first 20 of %d items", n) }

func dims(shape []int) []any {
	out := []any{}
	for _, n := range shape {
		out = append(out, n)
	}
	return out
}

// encodeStub writes what stands for a tensor that is too large.
func encodeStub(t *tensor.Tensor, device string, limit int) []byte {
	return appendJSON(nil, object{
		{"shape", dims(t.Shape)},
		{"dtype", "torch." + t.DType.String()},
		{"device", device},
		{"numel", t.Numel()},
		{"skipped", fmt.Sprintf("Tensor size %d exceeds max_tensor_size %d", t.Numel(), limit)},
	}, 0)
}

// appendJSON writes as Python's json.dump(indent=2) does.
func appendJSON(b []byte, v any, depth int) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case float64:
		return appendFloat(b, v)
	case string:
		return appendString(b, v)
	case []any:
		return appendBlock(b, '[', ']', len(v), depth, func(b []byte, i int) []byte { return appendJSON(b, v[i], depth+1) })
	case object:
		return appendBlock(b, '{', '}', len(v), depth, func(b []byte, i int) []byte {
			b = append(appendString(b, v[i].key), ": "...)
			return appendJSON(b, v[i].value, depth+1)
		})
	}
	return b
}

func appendBlock(b []byte, open, end byte, n, depth int, item func([]byte, int) []byte) []byte {
	b = append(b, open)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '\n')
		b = append(b, strings.Repeat("  ", depth+1)...)
		b = item(b, i)
	}
	if n > 0 {
		b = append(b, '\n')
		b = append(b, strings.Repeat("  ", depth)...)
	}
	return append(b, end)
}

// appendString writes ASCII alone (ensure_ascii): the rest as \uXXXX, in
// surrogate pairs beyond the 16 bits.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			b = append(b, '\\', byte(r))
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		case '\f':
			b = append(b, `\f`...)
		case '\b':
			b = append(b, `\b`...)
		default:
			switch {
			case ' ' <= r && r <= '~':
				b = append(b, byte(r))
			case r >= 0x10000:
				hi, lo := utf16.EncodeRune(r)
				b = fmt.Appendf(b, `\u%04x\u%04x`, hi, lo)
			default:
				b = fmt.Appendf(b, `\u%04x`, r)
			}
		}
	}
	return append(b, '"')
}

// appendFloat writes repr() of a float: the shortest digits that read back,
// with an exponent below 1e-4 and from 1e16 on; NaN and Infinity by name.
func appendFloat(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return append(b, s...)
}
