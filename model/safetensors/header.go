package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/ilref/ilref/tensor"
)

// dtypes are the format's element types (safetensors 0.8, src/tensor.rs:
// Dtype), with the type that reads them; Invalid where there is none.
var dtypes = map[string]struct {
	bits   int
	tensor tensor.DType
}{
	"BOOL":        {8, tensor.Bool},
	"F4":          {4, tensor.Float4E2M1FNx2},
	"F6_E2M3":     {6, tensor.Invalid},
	"F6_E3M2":     {6, tensor.Invalid},
	"U8":          {8, tensor.Uint8},
	"I8":          {8, tensor.Int8},
	"F8_E5M2":     {8, tensor.Float8E5M2},
	"F8_E4M3":     {8, tensor.Float8E4M3FN},
	"F8_E8M0":     {8, tensor.Float8E8M0FNU},
	"F8_E4M3FNUZ": {8, tensor.Float8E4M3FNUZ},
	"F8_E5M2FNUZ": {8, tensor.Float8E5M2FNUZ},
	"I16":         {16, tensor.Int16},
	"U16":         {16, tensor.Uint16},
	"F16":         {16, tensor.Float16},
	"BF16":        {16, tensor.BFloat16},
	"I32":         {32, tensor.Int32},
	"U32":         {32, tensor.Uint32},
	"F32":         {32, tensor.Float32},
	"C64":         {64, tensor.Complex64},
	"F64":         {64, tensor.Float64},
	"I64":         {64, tensor.Int64},
	"U64":         {64, tensor.Uint64},
}

// size returns the bytes that the shape and type need.
func (e *Entry) size() (int, error) {
	width := dtypes[e.DType].bits
	n := uint64(1)
	for _, d := range append(slices.Clip(e.Shape), width) {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 {
			return 0, fmt.Errorf("tensor %q: the size of %s%s overflows", e.Name, e.DType, tensor.ShapeString(e.Shape))
		}
		n = lo
	}
	if n%8 != 0 {
		return 0, fmt.Errorf("tensor %q: %s%s is no whole number of bytes", e.Name, e.DType, tensor.ShapeString(e.Shape))
	}
	if n/8 > math.MaxInt {
		return 0, fmt.Errorf("tensor %q: the size of %s%s overflows", e.Name, e.DType, tensor.ShapeString(e.Shape))
	}
	return int(n / 8), nil
}

// header walks the JSON of a header. The decoder itself refuses names that
// appear twice and text that is not UTF-8.
type header struct {
	*jsontext.Decoder
}

func (f *File) parseHeader(b []byte) error {
	if len(b) == 0 || b[0] != '{' {
		return fmt.Errorf("expected it to start with {, found %q", b[:min(len(b), 1)])
	}
	b = bytes.TrimRight(b, " ") // the only padding allowed
	h := header{jsontext.NewDecoder(bytes.NewBuffer(b))}
	err := h.object(func(name string) error {
		if name == "__metadata__" {
			return h.metadata(f)
		}
		e, err := h.entry(name)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		f.entries = append(f.entries, e)
		return nil
	})
	if err != nil {
		return err
	}
	if end := int(h.InputOffset()); end != len(b) {
		return fmt.Errorf("only spaces may follow the closing brace, found %q at byte %d", b[end:end+1], end)
	}
	return nil
}

func (h header) metadata(f *File) error {
	f.Metadata = map[string]string{}
	return h.object(func(key string) error {
		v, err := h.text("the value of __metadata__/" + key)
		f.Metadata[key] = v
		return err
	})
}

// entry reads {"dtype":…, "shape":[…], "data_offsets":[begin,end]}: these
// three keys, in any order, and no other.
func (h header) entry(name string) (Entry, error) {
	e := Entry{Name: name}
	var offsets []int
	seen := map[string]bool{}
	err := h.object(func(key string) (err error) {
		seen[key] = true
		switch key {
		case "dtype":
			if e.DType, err = h.text("dtype"); err == nil && dtypes[e.DType].bits == 0 {
				err = fmt.Errorf("dtype %q is not one of the format's", e.DType)
			}
		case "shape":
			e.Shape, err = h.numbers("shape")
		case "data_offsets":
			if offsets, err = h.numbers("data_offsets"); err == nil && len(offsets) != 2 {
				err = fmt.Errorf("data_offsets has %d numbers, expected 2", len(offsets))
			}
		default:
			err = fmt.Errorf("unknown key %q, expected dtype, shape and data_offsets", key)
		}
		return err
	})
	if err != nil {
		return e, err
	}
	for _, key := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[key] {
			return e, fmt.Errorf("key %q is missing", key)
		}
	}
	e.Begin, e.End = offsets[0], offsets[1]
	return e, nil
}

// object reads an object and calls member at each value.
func (h header) object(member func(name string) error) error {
	if err := h.open('{', "an object"); err != nil {
		return err
	}
	for h.PeekKind() != '}' {
		name, err := h.ReadToken()
		if err != nil {
			return syntax(err)
		}
		if err := member(name.String()); err != nil {
			return err
		}
	}
	_, err := h.ReadToken()
	return syntax(err)
}

// numbers reads an array of non-negative integers.
func (h header) numbers(what string) ([]int, error) {
	if err := h.open('[', what+" as an array"); err != nil {
		return nil, err
	}
	v := []int{}
	for h.PeekKind() != ']' {
		t, err := h.ReadToken()
		if err != nil {
			return nil, syntax(err)
		}
		text := t.String()
		n, err := strconv.ParseUint(text, 10, strconv.IntSize-1)
		if t.Kind() != '0' || err != nil {
			return nil, fmt.Errorf("%s holds %.40s, expected non-negative integers of %d bits", what, text, strconv.IntSize-1)
		}
		v = append(v, int(n))
	}
	_, err := h.ReadToken()
	return v, syntax(err)
}

func (h header) text(what string) (string, error) {
	t, err := h.ReadToken()
	if err != nil {
		return "", syntax(err)
	}
	if t.Kind() != '"' {
		return "", fmt.Errorf("%s is %s, expected a string", what, kindName(t.Kind()))
	}
	return t.String(), nil
}

func (h header) open(kind jsontext.Kind, what string) error {
	t, err := h.ReadToken()
	if err != nil {
		return syntax(err)
	}
	if t.Kind() != kind {
		return fmt.Errorf("expected %s, found %s", what, kindName(t.Kind()))
	}
	return nil
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	}
	return k.String()
}

// syntax shortens the decoder's error to its reason and place.
func syntax(err error) error {
	var s *jsontext.SyntacticError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &s):
		return fmt.Errorf("the name %q appears twice", s.JSONPointer.LastToken())
	case errors.As(err, &s):
		return fmt.Errorf("bad JSON at byte %d: %w", s.ByteOffset, s.Err)
	}
	return fmt.Errorf("bad JSON: %w", err)
}
