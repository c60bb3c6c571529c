package il

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/tensor"
)

const (
	maxSideFile  = 4 << 20 // bytes of inputs.json, outputs.json, of which containers keep their first items alone
	maxSideDepth = 100     // of nested containers
	maxSideReads = 8       // of a byte, on average: once for every container around it
)

// What a JSON file is that is no stub: a side file or something else.
var (
	errNotStub   = errors.New("not the stub of a tensor that was too large")
	errNotObject = errors.New("expected a JSON object")
)

// Values reads the side file of a direction: what the module took or returned,
// tensors as meta tensors (shape and type, no elements). Of containers with
// more than 100 items the logger kept the first ones only. Variant B has no
// side files; the error is fs.ErrNotExist then.
func (c *Call) Values(dir Direction) (Value, error) {
	path, ok := c.side[dir]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(c.Dir, string(dir)+".json"), Err: fs.ErrNotExist}
	}
	data, err := sidefile.Read(path, maxSideFile)
	if err != nil {
		return nil, err
	}
	v, err := decodeSide(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// Keywords reads what the side file says of the keyword arguments that were
// recorded, as Values does; nil where it says nothing, which vLLM's logger never
// does. A keyword names its slot.
func (c *Call) Keywords(dir Direction) (Dict, error) {
	path, ok := c.side[dir]
	if !ok {
		return nil, nil
	}
	data, err := sidefile.Read(path, maxSideFile)
	if err != nil {
		return nil, err
	}
	d, err := decodeKeywords(data)
	if err != nil {
		return nil, fmt.Errorf("%s: kwargs: %w", path, err)
	}
	return d, nil
}

// decodeKeywords reads the member kwargs of the text of a side file.
func decodeKeywords(data []byte) (Dict, error) {
	o, err := readObject(data)
	if err != nil || !o.has("kwargs") {
		return nil, nil // Values tells of what is no object
	}
	if o.values["kwargs"].Kind() != '{' {
		return nil, errNotObject
	}
	budget := maxSideReads * max(len(data), 1<<16)
	v, err := decodeDict(o.values["kwargs"], nesting{left: &budget})
	d, _ := v.(Dict)
	return d, err
}

// readStub reads a stub: {"shape": …, "dtype": …, "device": …, "numel": …,
// "skipped": …}.
func readStub(path string) (*Stub, error) {
	data, err := sidefile.Read(path, maxSideFile)
	if err != nil {
		return nil, err
	}
	o, err := readObject(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !o.has("skipped") || o.has("type") {
		return nil, fmt.Errorf("%s: %w", path, errNotStub)
	}
	t, err := o.tensor()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	reason, err := o.text("skipped")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Stub{Shape: t.Shape, DType: t.DType, Numel: t.Numel(), Reason: reason}, nil
}

// decodeSide reads the text of a side file.
func decodeSide(data []byte) (Value, error) {
	d := newSideDecoder(data)
	raw, err := d.ReadValue()
	if err != nil {
		return nil, sidefile.JSONError(err)
	}
	budget := maxSideReads * max(len(raw), 1<<16)
	v, err := decodeValue(bytes.Clone(raw), nesting{left: &budget})
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the end of the JSON")
	}
	return v, nil
}

// nesting is where a value lies: within how many containers, and how many bytes
// all values together may still have, each counted once for every container.
type nesting struct {
	depth int
	left  *int
}

func (n nesting) deeper() nesting { return nesting{n.depth + 1, n.left} }

func decodeValue(raw jsontext.Value, in nesting) (Value, error) {
	if *in.left -= len(raw); *in.left < 0 {
		return nil, fmt.Errorf("%d bytes of it are nested in %d containers: no logger writes that", len(raw), in.depth)
	}
	switch raw.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return raw.Kind() == 't', nil
	case '"':
		return unquote(raw), nil
	case '0':
		if n, err := strconv.Atoi(string(raw)); err == nil {
			return n, nil
		}
		return strconv.ParseFloat(string(raw), 64)
	case '[':
		return nil, errors.New("a bare list, expected an object with a type")
	}
	if in.depth > maxSideDepth {
		return nil, fmt.Errorf("containers are nested more than %d deep", maxSideDepth)
	}
	o, err := readObject(raw)
	if err != nil {
		return nil, err
	}
	return o.value(in)
}

// sideObject is a JSON object, its keys in the order of the file.
type sideObject struct {
	keys   []string
	values map[string]jsontext.Value
}

func newSideDecoder(data []byte) *jsontext.Decoder {
	// Python writes lone surrogates, and equal names for the keys 1 and "1".
	return jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
}

func readObject(data []byte) (*sideObject, error) {
	d := newSideDecoder(data)
	t, err := d.ReadToken()
	if err != nil {
		return nil, sidefile.JSONError(err)
	}
	if t.Kind() != '{' {
		return nil, errNotObject
	}
	o := &sideObject{values: map[string]jsontext.Value{}}
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return nil, sidefile.JSONError(err)
		}
		key := t.String()
		raw, err := d.ReadValue()
		if err != nil {
			return nil, sidefile.JSONError(err)
		}
		if !o.has(key) {
			o.keys = append(o.keys, key)
		}
		o.values[key] = bytes.Clone(raw)
	}
	return o, nil
}

func (o *sideObject) has(key string) bool { _, ok := o.values[key]; return ok }

// value reads an object by its "type".
func (o *sideObject) value(in nesting) (Value, error) {
	if !o.has("type") && o.has("skipped") { // a stub over the side file
		return o.tensor()
	}
	kind, err := o.text("type")
	if err != nil {
		return nil, err
	}
	body := "items"
	if !o.has(body) {
		body = "sample"
	}
	switch {
	case kind == "tensor" && o.has("shape"):
		return o.tensor()
	case kind == "list" && o.has(body):
		items, err := decodeItems(o.values[body], in)
		return List(items), err
	case kind == "tuple" && o.has(body):
		items, err := decodeItems(o.values[body], in)
		return Tuple(items), err
	case kind == "dict" && o.has(body):
		return decodeDict(o.values[body], in)
	case o.has("string_repr"):
		repr, err := o.text("string_repr")
		return Object{Type: kind, Repr: repr}, err
	case kind == "tensor_error":
		repr, err := o.text("error")
		return Object{Type: kind, Repr: repr}, err
	}
	return nil, fmt.Errorf("an object of the type %q without what belongs to it", kind)
}

func decodeItems(raw jsontext.Value, in nesting) ([]Value, error) {
	items := []Value{}
	err := eachElement(raw, func(e jsontext.Value) error {
		v, err := decodeValue(e, in.deeper())
		items = append(items, v)
		return err
	})
	return items, err
}

func decodeDict(raw jsontext.Value, in nesting) (Value, error) {
	o, err := readObject(raw)
	if err != nil {
		return nil, err
	}
	d := Dict{}
	for _, k := range o.keys {
		v, err := decodeValue(o.values[k], in.deeper())
		if err != nil {
			return nil, err
		}
		d = append(d, Item{k, v})
	}
	return d, nil
}

func (o *sideObject) text(key string) (string, error) {
	if o.values[key].Kind() != '"' {
		return "", fmt.Errorf("%q is not a string", key)
	}
	return unquote(o.values[key]), nil
}

// tensor reads shape and dtype into a meta tensor.
func (o *sideObject) tensor() (*tensor.Tensor, error) {
	name, err := o.text("dtype")
	if err != nil {
		return nil, err
	}
	dtype, ok := tensor.ParseDType(name)
	if !ok {
		return nil, fmt.Errorf("unknown dtype %q", name)
	}
	shape, numel := []int{}, 1
	err = eachElement(o.values["shape"], func(e jsontext.Value) error {
		n, err := strconv.Atoi(string(e))
		if err != nil || n < 0 || n > 0 && numel > math.MaxInt/n {
			return fmt.Errorf("%s is not a dimension", e)
		}
		shape, numel = append(shape, n), numel*max(n, 1)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &tensor.Tensor{DType: dtype, Shape: shape, Stride: tensor.ContiguousStride(shape), Meta: true, Device: "meta"}, nil
}

// eachElement calls f with the elements of a JSON list.
func eachElement(raw jsontext.Value, f func(jsontext.Value) error) error {
	if raw.Kind() != '[' {
		return errors.New("expected a list")
	}
	d := newSideDecoder(raw)
	if _, err := d.ReadToken(); err != nil {
		return sidefile.JSONError(err)
	}
	for d.PeekKind() != ']' {
		e, err := d.ReadValue()
		if err == nil {
			err = f(bytes.Clone(e))
		} else {
			err = sidefile.JSONError(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unquote reads a JSON string that the decoder took already. Lone surrogates
// become U+FFFD, which AppendUnquote also reports.
func unquote(raw jsontext.Value) string {
	b, _ := jsontext.AppendUnquote(nil, raw)
	return string(b)
}
