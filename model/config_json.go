package model

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// document is a JSON file that is read key by key, so that every error can say
// file, line, column and path. The first error stands; later reads give zero
// values.
type document struct {
	file string
	src  []byte
	err  error
}

// object is one JSON object of a document.
type object struct {
	doc    *document
	path   string // JSON pointer: "" for the document, "/rope_scaling"
	keys   []string
	values map[string]value
}

type value struct {
	raw jsontext.Value
	off int // of the first byte in the document
}

// parseObject reads a document whose value is an object. Duplicate names and
// text that is not UTF-8 are errors.
func parseObject(file string, src []byte) *object {
	doc := &document{file: file, src: src}
	return doc.object("", value{raw: src})
}

func (d *document) object(path string, v value) *object {
	o := &object{doc: d, path: path, values: map[string]value{}}
	dec := jsontext.NewDecoder(bytes.NewBuffer(v.raw))
	t, err := dec.ReadToken()
	if err == nil && t.Kind() != '{' {
		d.failAt(v.off+int(dec.InputOffset())-len(t.String()), "%s is %s, expected an object", where(path), describe(v.raw))
		return o
	}
	for err == nil && dec.PeekKind() != '}' {
		if t, err = dec.ReadToken(); err != nil {
			break
		}
		key := t.String()
		var raw jsontext.Value
		if raw, err = dec.ReadValue(); err == nil {
			o.keys = append(o.keys, key)
			o.values[key] = value{bytes.Clone(raw), v.off + int(dec.InputOffset()) - len(raw)}
		}
	}
	if err == nil {
		_, err = dec.ReadToken()
	}
	if err == nil {
		end := int(dec.InputOffset())
		if rest := bytes.TrimLeft(v.raw[end:], " \t\r\n"); len(rest) > 0 {
			d.failAt(v.off+len(v.raw)-len(rest), "text after the closing brace")
		}
	}
	d.failSyntax(v.off, err)
	return o
}

func (d *document) failSyntax(off int, err error) {
	if err == nil {
		return
	}
	var s *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		d.failAt(len(d.src), "the JSON ends too early: the file is cut off")
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &s):
		d.failAt(off+int(s.ByteOffset), "key %q appears twice", s.JSONPointer.LastToken())
	case errors.As(err, &s):
		d.failAt(off+int(s.ByteOffset), "bad JSON: %w", s.Err)
	default:
		d.failAt(off, "bad JSON: %w", err)
	}
}

// failAt records an error at a byte of the document.
func (d *document) failAt(off int, format string, args ...any) {
	if d.err != nil {
		return
	}
	before := d.src[:min(max(off, 0), len(d.src))]
	line := bytes.Count(before, []byte("\n")) + 1
	col := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	d.err = fmt.Errorf("%s:%d:%d: %w", d.file, line, col, fmt.Errorf(format, args...))
}

// fail records an error of the whole document.
func (d *document) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", d.file, fmt.Errorf(format, args...))
	}
}

// failKey records an error at the value of a key.
func (o *object) failKey(key, format string, args ...any) {
	o.doc.failAt(o.values[key].off, "%s "+format, append([]any{o.path + "/" + key}, args...)...)
}

// has reports whether a key is present and not null.
func (o *object) has(key string) bool {
	v, ok := o.values[key]
	return ok && v.raw.Kind() != 'n'
}

// stated reports whether a key is present, be it null.
func (o *object) stated(key string) bool {
	_, ok := o.values[key]
	return ok
}

// first returns the first of the keys that is present and not null, or the
// last.
func (o *object) first(keys ...string) string {
	for _, k := range keys {
		if o.has(k) {
			return k
		}
	}
	return keys[len(keys)-1]
}

// require records an error if the key is absent or null.
func (o *object) require(key, meaning string) {
	if !o.has(key) {
		o.doc.fail("%q is missing: %s", strings.TrimPrefix(o.path+"/"+key, "/"), meaning)
	}
}

func (o *object) int(key string, otherwise int) int {
	if !o.has(key) {
		return otherwise
	}
	return o.parseInt(key, o.values[key].raw)
}

func (o *object) parseInt(key string, raw jsontext.Value) int {
	n, err := strconv.Atoi(string(raw))
	if err != nil {
		o.failKey(key, "is %s, expected an integer", describe(raw))
	}
	return n
}

// positive is int for a size or a count: from 1 to 2^31-1 where it is given.
func (o *object) positive(key string, otherwise int) int {
	n := o.int(key, otherwise)
	if o.has(key) && (n < 1 || n > math.MaxInt32) {
		o.failKey(key, "is %d, expected 1 to %d", n, math.MaxInt32)
	}
	return n
}

// natural is int for a number that may be 0: up to 2^31-1 where it is given.
func (o *object) natural(key string, otherwise int) int {
	n := o.int(key, otherwise)
	if o.has(key) && (n < 0 || n > math.MaxInt32) {
		o.failKey(key, "is %d, expected 0 to %d", n, math.MaxInt32)
	}
	return n
}

func (o *object) float(key string, otherwise float64) float64 {
	if !o.has(key) {
		return otherwise
	}
	return o.parseFloat(key, o.values[key].raw)
}

func (o *object) parseFloat(key string, raw jsontext.Value) float64 {
	x, err := strconv.ParseFloat(string(raw), 64)
	if raw.Kind() != '0' || err != nil {
		o.failKey(key, "is %s, expected a number", describe(raw))
	}
	return x
}

// above is float for a value that must be larger than low where it is given.
func (o *object) above(key string, low, otherwise float64) float64 {
	x := o.float(key, otherwise)
	if o.has(key) && !(x > low && x <= math.MaxFloat64) {
		o.failKey(key, "is %v, expected a number above %v", x, low)
	}
	return x
}

func (o *object) bool(key string, otherwise bool) bool {
	if !o.has(key) {
		return otherwise
	}
	raw := o.values[key].raw
	if k := raw.Kind(); k != 't' && k != 'f' {
		o.failKey(key, "is %s, expected true or false", describe(raw))
	}
	return raw.Kind() == 't'
}

func (o *object) string(key, otherwise string) string {
	if !o.has(key) {
		return otherwise
	}
	return o.parseString(key, o.values[key].raw)
}

func (o *object) parseString(key string, raw jsontext.Value) string {
	if raw.Kind() != '"' {
		o.failKey(key, "is %s, expected a string", describe(raw))
		return ""
	}
	b, err := jsontext.AppendUnquote(nil, raw)
	o.doc.failSyntax(o.values[key].off, err)
	return string(b)
}

// sub returns the object of a key; an empty one where it is absent or null.
func (o *object) sub(key string) *object {
	if !o.has(key) {
		return &object{doc: o.doc, path: o.path + "/" + key}
	}
	return o.doc.object(o.path+"/"+key, o.values[key])
}

// list returns the elements of an array; nil where it is absent or null.
func (o *object) list(key string) []jsontext.Value {
	if !o.has(key) {
		return nil
	}
	raw := o.values[key].raw
	if raw.Kind() != '[' {
		o.failKey(key, "is %s, expected an array", describe(raw))
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	_, err := dec.ReadToken()
	var list []jsontext.Value
	for err == nil && dec.PeekKind() != ']' {
		var v jsontext.Value
		if v, err = dec.ReadValue(); err == nil {
			list = append(list, bytes.Clone(v))
		}
	}
	o.doc.failSyntax(o.values[key].off, err)
	return list
}

// ints reads an array of integers, or one integer alone.
func (o *object) ints(key string) []int {
	if o.has(key) && o.values[key].raw.Kind() == '0' {
		return []int{o.int(key, 0)}
	}
	var v []int
	for _, raw := range o.list(key) {
		v = append(v, o.parseInt(key, raw))
	}
	return v
}

func (o *object) floats(key string) []float64 {
	var v []float64
	for _, raw := range o.list(key) {
		v = append(v, o.parseFloat(key, raw))
	}
	return v
}

func (o *object) strings(key string) []string {
	var v []string
	for _, raw := range o.list(key) {
		v = append(v, o.parseString(key, raw))
	}
	return v
}

func where(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

// describe says what a value is, in the words of an error message.
func describe(raw jsontext.Value) string {
	s := strings.TrimSpace(string(raw))
	switch raw.Kind() {
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	if len(s) > 40 {
		s = strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
