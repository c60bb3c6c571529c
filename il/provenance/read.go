package provenance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/internal/terminal"
)

// maxRecord bounds a session.json, which is read whole.
const maxRecord = 1 << 20

// maxWarnings is how many members of one file are complained of by name.
const maxWarnings = 5

// Read reads the session.json of a session's directory. It returns nil where there is
// none, and an error, of one line with the file's name, where the file cannot be used
// at all. What is odd about single members are warnings, a line each.
func Read(dir string) (*Record, []string, error) {
	path := filepath.Join(dir, FileName)
	data, err := sidefile.Read(path, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return Parse(path, data)
}

// Parse reads the text of a session.json. name is what messages call it.
func Parse(name string, data []byte) (*Record, []string, error) {
	d := &decoder{name: name}
	whole, err := d.whole(data)
	if err != nil {
		return nil, nil, err
	}
	r := &Record{}
	d.value(reflect.ValueOf(r).Elem(), whole, "")
	if r.Schema != Schema {
		return nil, nil, fmt.Errorf("%s: schema %q, expected %q", name, terminal.Cut(r.Schema, 40), Schema)
	}
	d.checkRecord(r)
	return r, d.warnings(), nil
}

// checkRecord takes out what no writer can mean.
func (d *decoder) checkRecord(r *Record) {
	if r.Status != "" && !slices.Contains(statuses, r.Status) {
		d.complain("/status", "%q is none of %s", terminal.Cut(string(r.Status), 40), joined(statuses))
		r.Status = ""
	}
	if lag := r.Run.LogitsLag; lag != nil && *lag != 0 && *lag != 1 {
		d.complain("/run/logits_lag", "%d, expected 0 or 1", *lag)
		r.Run.LogitsLag = nil
	}
	if c := r.Config; c != nil && c.Kind() != '{' {
		d.complain("/config", "expected an object, found %s", kindName(c))
		r.Config = nil
	}
	for _, x := range []struct {
		at string
		n  *int
	}{
		{"/model/layers", &r.Model.Layers},
		{"/model/hidden", &r.Model.Hidden},
		{"/model/vocab", &r.Model.Vocab},
		{"/model/experts_per_token", &r.Model.ExpertsPerToken},
		{"/parallel/tp", &r.Parallel.TP},
		{"/parallel/pp", &r.Parallel.PP},
		{"/parallel/dp", &r.Parallel.DP},
		{"/parallel/dcp", &r.Parallel.DCP},
		{"/execution/max_num_batched_tokens", &r.Execution.MaxNumBatchedTokens},
		{"/incomplete/tensors_lost", &r.Incomplete.TensorsLost},
		{"/incomplete/steps_cut", &r.Incomplete.StepsCut},
	} {
		if *x.n < 0 {
			d.complain(x.at, "%d, expected 0 or more", *x.n)
			*x.n = 0
		}
	}
}

func joined(names []Status) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}

// decoder reads JSON into a struct member by member, so that one that is of another
// type than is expected costs no other.
type decoder struct {
	name  string
	lines []string
	more  int
}

// warnings are the complaints, a line each.
func (d *decoder) warnings() []string {
	if d.more > 0 {
		return append(d.lines, fmt.Sprintf("%s: %d more members of other types than expected, ignored", d.name, d.more))
	}
	return d.lines
}

func (d *decoder) complain(path, format string, args ...any) {
	if len(d.lines) == maxWarnings {
		d.more++
		return
	}
	d.lines = append(d.lines, fmt.Sprintf("%s: %s: %s: ignored", d.name, terminal.Printable(terminal.Cut(path, 100)), terminal.Printable(fmt.Sprintf(format, args...))))
}

// whole is the one JSON object of a text.
func (d *decoder) whole(data []byte) (jsontext.Value, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: is not UTF-8", d.name)
	}
	in := jsontext.NewDecoder(bytes.NewBuffer(data))
	v, err := in.ReadValue()
	if err == nil {
		v = slices.Clone(v)
		if _, more := in.ReadToken(); more != io.EOF {
			err = errors.New("there is more after its end")
		}
	}
	var se *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%s: the JSON ends too early: the run that wrote it died, or its disk was full", d.name)
	case errors.As(err, &se):
		return nil, fmt.Errorf("%s: invalid JSON at byte %d: %w", d.name, se.ByteOffset, se.Err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", d.name, err)
	case v.Kind() != '{':
		return nil, fmt.Errorf("%s: expected a JSON object, found %s", d.name, kindName(v))
	}
	return v, nil
}

var (
	rawType    = reflect.TypeFor[jsontext.Value]()
	scalarType = reflect.TypeFor[Scalar]()
)

// value reads one value, and reports whether it is of the type. null leaves the
// member as it is: not said.
func (d *decoder) value(to reflect.Value, v jsontext.Value, path string) bool {
	if v.Kind() == 'n' {
		return false
	}
	switch to.Type() {
	case rawType:
		to.SetBytes(slices.Clone(v))
		return true
	case scalarType:
		to.SetString(string(textOf(v)))
		return true
	}
	switch to.Kind() {
	case reflect.Pointer:
		x := reflect.New(to.Type().Elem())
		if !d.value(x.Elem(), v, path) {
			return false
		}
		to.Set(x)
	case reflect.Struct:
		return d.object(v, path, func(key string, v jsontext.Value, path string) {
			for i := range to.NumField() {
				if tag, _, _ := strings.Cut(to.Type().Field(i).Tag.Get("json"), ","); tag == key {
					d.value(to.Field(i), v, path)
				}
			}
		})
	case reflect.Map:
		to.Set(reflect.MakeMap(to.Type()))
		return d.object(v, path, func(key string, v jsontext.Value, path string) {
			x := reflect.New(to.Type().Elem()).Elem()
			if d.value(x, v, path) {
				to.SetMapIndex(reflect.ValueOf(key), x)
			}
		})
	case reflect.Slice:
		return d.list(to, v, path)
	default:
		return d.plain(to, v, path)
	}
	return true
}

// plain reads a value without parts.
func (d *decoder) plain(to reflect.Value, v jsontext.Value, path string) bool {
	k, want := v.Kind(), ""
	switch to.Kind() {
	case reflect.String:
		if want = "a string"; k == '"' {
			to.SetString(string(textOf(v)))
			return true
		}
	case reflect.Bool:
		if want = "true or false"; k == 't' || k == 'f' {
			to.SetBool(k == 't')
			return true
		}
	case reflect.Int:
		want = "a whole number"
		if n, err := strconv.Atoi(string(v)); k == '0' && err == nil {
			to.SetInt(int64(n))
			return true
		}
	case reflect.Float64:
		want = "a number"
		if x, err := strconv.ParseFloat(string(v), 64); k == '0' && err == nil {
			to.SetFloat(x)
			return true
		}
	}
	d.complain(path, "expected %s, found %s", want, kindName(v))
	return false
}

// list reads the elements that are of the type.
func (d *decoder) list(to reflect.Value, v jsontext.Value, path string) bool {
	if v.Kind() != '[' {
		d.complain(path, "expected a list, found %s", kindName(v))
		return false
	}
	in := jsontext.NewDecoder(bytes.NewBuffer(v))
	_, _ = in.ReadToken() // whole has seen that all is valid
	for i := 0; in.PeekKind() != ']'; i++ {
		e, err := in.ReadValue()
		if err != nil {
			break
		}
		x := reflect.New(to.Type().Elem()).Elem()
		if d.value(x, e, path+"/"+strconv.Itoa(i)) {
			to.Set(reflect.Append(to, x))
		}
	}
	return true
}

// object calls f with the members of an object.
func (d *decoder) object(v jsontext.Value, path string, f func(key string, v jsontext.Value, path string)) bool {
	if v.Kind() != '{' {
		d.complain(path, "expected an object, found %s", kindName(v))
		return false
	}
	in := jsontext.NewDecoder(bytes.NewBuffer(v))
	_, _ = in.ReadToken() // whole has seen that all is valid
	for in.PeekKind() != '}' {
		t, err := in.ReadToken()
		if err != nil {
			break
		}
		key := t.String()
		e, err := in.ReadValue()
		if err != nil {
			break
		}
		f(key, e, string(jsontext.Pointer(path).AppendToken(key)))
	}
	return true
}

// kindName names what was found.
func kindName(v jsontext.Value) string {
	shown := terminal.Cut(string(v), 40)
	switch v.Kind() {
	case 'n':
		return "null"
	case 't', 'f':
		return shown
	case '"':
		return "the string " + shown
	case '0':
		return "the number " + shown
	case '{':
		return "an object"
	}
	return "a list"
}
