package foreign

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/tensor"
)

const (
	maxDumpJSON = 256 << 20 // bytes of a dump.json, which has some hundred a tensor
	perValue    = 32        // bytes of a value, on average, at least: what is read takes more memory
	maxDepth    = 64        // of values in each other
)

// probed is what a dump.json says (msprobe, core/dump/data_dump/json_writer.py and
// data_processor/base.py).
type probed struct {
	task, level, framework string
	entries                []probedCall // in the order of the file: that in which the calls began, or returned
	saved                  int          // files that they name
}

// probedCall is what is said of one call.
type probedCall struct {
	name   string
	args   []probedValue  // positional arguments
	kwargs []probedMember // keyword arguments
	output []probedValue  // what it returned, as a list
	saved  int            // files that it names, of parameters too
}

type probedMember struct {
	key string
	probedValue
}

// probedValue is an argument or a result: a tensor, a list or a dict of values, or
// nothing of interest.
type probedValue struct {
	tensor *probedTensor
	list   []probedValue
	dict   []probedMember
}

// probedTensor is what is said of a tensor.
type probedTensor struct {
	dtype string
	shape []int
	file  string // in dump_tensor_data, "" for none
}

// stub is what is left of a tensor that was not saved.
func (t *probedTensor) stub() *il.Stub {
	s := &il.Stub{Shape: t.shape, Numel: 1, Reason: "msprobe recorded statistics of it alone: record with task tensor"}
	s.DType, _ = tensor.ParseDType(t.dtype)
	for _, n := range t.shape {
		s.Numel *= n
	}
	return s
}

// probedReader reads a dump.json value by value: it may be large.
type probedReader struct {
	*jsontext.Decoder
	left *int // values that may still come
}

// count counts a value.
func (r probedReader) count() error {
	if *r.left--; *r.left < 0 {
		return errors.New("it holds far more values than a dump of its size has")
	}
	return nil
}

// parseProbed reads the text of a dump.json.
func parseProbed(data []byte) (*probed, error) {
	withoutNaN(data)
	left := 1<<16 + len(data)/perValue
	r := probedReader{jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)), &left}
	p := &probed{}
	err := r.object(func(key string) (err error) {
		switch key {
		case "task":
			p.task, err = r.text()
		case "level":
			p.level, err = r.text()
		case "framework":
			p.framework, err = r.text()
		case "data":
			err = r.object(func(name string) error {
				c, err := r.call(name)
				p.entries = append(p.entries, c)
				p.saved += c.saved
				return err
			})
		default:
			err = r.SkipValue()
		}
		return err
	})
	if err != nil {
		return nil, sidefile.JSONError(err)
	}
	return p, nil
}

// withoutNaN puts null in place of the NaN and Infinity that Python writes and JSON
// does not have.
func withoutNaN(data []byte) {
	inText := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case bytes.HasPrefix(data[i:], []byte("NaN")):
			copy(data[i:], "0  ")
		case bytes.HasPrefix(data[i:], []byte("Infinity")):
			copy(data[i:], "0       ")
		}
	}
}

// object reads an object and calls member at each value.
func (r probedReader) object(member func(key string) error) error {
	t, err := r.ReadToken()
	if err != nil {
		return err
	}
	if t.Kind() != '{' {
		return fmt.Errorf("expected an object at byte %d", r.InputOffset())
	}
	for r.PeekKind() != '}' {
		t, err := r.ReadToken()
		if err != nil {
			return err
		}
		if err := member(t.String()); err != nil {
			return err
		}
	}
	_, err = r.ReadToken()
	return err
}

// elements reads a list and calls each at every element.
func (r probedReader) elements(each func() error) error {
	if _, err := r.ReadToken(); err != nil {
		return err
	}
	for r.PeekKind() != ']' {
		if err := each(); err != nil {
			return err
		}
	}
	_, err := r.ReadToken()
	return err
}

// text reads a string, "" for anything else.
func (r probedReader) text() (string, error) {
	if r.PeekKind() != '"' {
		return "", r.SkipValue()
	}
	t, err := r.ReadToken()
	return t.String(), err
}

func (r probedReader) call(name string) (probedCall, error) {
	c := probedCall{name: name}
	if err := r.count(); err != nil {
		return c, err
	}
	if r.PeekKind() != '{' {
		return c, r.SkipValue()
	}
	err := r.object(func(key string) error {
		v, err := r.value(0)
		v.walk("", func(v probedValue, _ string) {
			if v.tensor.file != "" {
				c.saved++
			}
		})
		switch key {
		case "input_args":
			c.args = v.list
		case "input_kwargs":
			c.kwargs = v.dict
		case "output":
			if c.output = v.list; v.list == nil && (v.tensor != nil || v.dict != nil) {
				c.output = []probedValue{v}
			}
		}
		return err
	})
	return c, err
}

// value reads an argument or a result.
func (r probedReader) value(depth int) (v probedValue, err error) {
	if err := r.count(); err != nil {
		return v, err
	}
	if depth > maxDepth {
		return v, fmt.Errorf("values are nested more than %d deep", maxDepth)
	}
	switch r.PeekKind() {
	case '[':
		v.list = []probedValue{}
		err = r.elements(func() error {
			x, err := r.value(depth + 1)
			v.list = append(v.list, x)
			return err
		})
		return v, err
	case '{':
	default:
		return v, r.SkipValue()
	}
	t := &probedTensor{}
	kind := ""
	err = r.object(func(key string) (err error) {
		switch {
		case key == "type" && r.PeekKind() == '"':
			kind, err = r.text()
		case key == "dtype" && r.PeekKind() == '"':
			t.dtype, err = r.text()
		case key == "data_name" && r.PeekKind() == '"':
			t.file, err = r.text()
		case key == "shape" && r.PeekKind() == '[':
			t.shape, err = r.shape()
		default:
			var x probedValue
			x, err = r.value(depth + 1)
			v.dict = append(v.dict, probedMember{key, x})
		}
		return err
	})
	if strings.HasSuffix(kind, "Tensor") && t.shape != nil {
		return probedValue{tensor: t}, err
	}
	if kind != "" { // a number, a dtype, a device
		v.dict = nil
	}
	return v, err
}

// shape reads dimensions, of which the product is a count.
func (r probedReader) shape() ([]int, error) {
	shape, numel := []int{}, 1
	err := r.elements(func() error {
		raw, err := r.ReadValue()
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(raw))
		if err != nil || n < 0 || n > 0 && numel > math.MaxInt/n {
			return fmt.Errorf("%.40s is not a dimension", raw)
		}
		shape, numel = append(shape, n), numel*max(n, 1)
		return nil
	})
	return shape, err
}
