package chat

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/nikolalohinski/gonja/v2/exec"
)

func reader(b []byte) io.Reader { return bytes.NewReader(b) }

// toJSON is the filter tojson: Python's json.dumps with ensure_ascii=False,
// which transformers puts in the place of Jinja's.
func (r *run) toJSON(in *exec.Value, args *exec.VarArgs) (any, error) {
	d := dumper{run: r, comma: ", ", colon: ": "}
	var indent, separators any
	if err := args.Take(
		exec.KeywordArgument("ensure_ascii", exec.AsValue(false), exec.BoolArgument(&d.ascii)),
		exec.KeywordArgument("indent", exec.AsValue(nil), exec.AnyArgument(&indent)),
		exec.KeywordArgument("separators", exec.AsValue(nil), exec.AnyArgument(&separators)),
		exec.KeywordArgument("sort_keys", exec.AsValue(false), exec.BoolArgument(&d.sorted)),
	); err != nil {
		return nil, err
	}
	if n, ok := indent.(int); ok && n >= 0 && n <= 16 {
		d.newline, d.indent, d.comma = true, strings.Repeat(" ", n), ","
	} else if indent != nil {
		return nil, fmt.Errorf("expected an indent of 0 to 16, found %v", indent)
	}
	if separators != nil {
		l, _ := d.run.asList(exec.ToValue(separators))
		if len(l) != 2 || !exec.ToValue(l[0]).IsString() || !exec.ToValue(l[1]).IsString() {
			return nil, fmt.Errorf("expected two separators")
		}
		d.comma, d.colon = exec.ToValue(l[0]).String(), exec.ToValue(l[1]).String()
	}
	err := d.value(in, 0)
	return d.out.String(), err
}

type dumper struct {
	run           *run
	out           strings.Builder
	ascii, sorted bool
	newline       bool
	indent        string
	comma, colon  string
}

// write pays for a piece before it is added.
func (d *dumper) write(s string) {
	if len(s) > maxOutput-d.out.Len() {
		d.run.fail(errTooMuch)
	}
	if d.run.used.bytes += len(s); d.run.used.bytes > maxBytes {
		d.run.fail(errTooMuch)
	}
	d.out.WriteString(s)
}

func (d *dumper) value(v *exec.Value, depth int) error {
	d.run.step(1)
	if depth > maxDepth {
		d.run.fail(errTooDeep)
	}
	if dict, ok := d.run.ordered(v.Interface()); ok {
		return d.object(dict, depth)
	}
	switch {
	case isUndefined(v):
		return fmt.Errorf("expected a value, found %s", describe(v))
	case v.IsNil():
		d.write("null")
	case v.IsBool():
		d.write(strconv.FormatBool(v.Bool()))
	case v.IsString():
		d.string(v.String())
	case v.IsInteger():
		d.write(strconv.Itoa(v.Integer()))
	case v.IsFloat():
		d.write(pythonFloat(v.Float()))
	case v.IsDict() && v.Len() == 0:
		d.write("{}")
	case v.IsList():
		l, _ := d.run.asList(v)
		return d.sequence("[]", len(l), depth, func(i int) error { return d.value(exec.ToValue(l[i]), depth+1) })
	default:
		return fmt.Errorf("expected a JSON value, found %s", describe(v))
	}
	return nil
}

func (d *dumper) object(dict *exec.Dict, depth int) error {
	pairs := dict.Pairs
	if d.sorted {
		d.run.elements(len(pairs))
		pairs = append([]*exec.Pair{}, pairs...)
		sort.SliceStable(pairs, func(i, j int) bool { return pairs[i].Key.String() < pairs[j].Key.String() })
	}
	return d.sequence("{}", len(pairs), depth, func(i int) error {
		if !pairs[i].Key.IsString() {
			return fmt.Errorf("expected keys that are texts, found %s", describe(pairs[i].Key))
		}
		d.string(pairs[i].Key.String())
		d.write(d.colon)
		return d.value(pairs[i].Value, depth+1)
	})
}

func (d *dumper) sequence(brackets string, n, depth int, element func(i int) error) error {
	d.write(brackets[:1])
	for i := range n {
		if i > 0 {
			d.write(d.comma)
		}
		d.line(depth + 1)
		if err := element(i); err != nil {
			return err
		}
	}
	if n > 0 {
		d.line(depth)
	}
	d.write(brackets[1:])
	return nil
}

func (d *dumper) line(depth int) {
	if d.newline {
		d.write("\n")
		d.write(strings.Repeat(d.indent, depth))
	}
}

var shortEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (d *dumper) string(s string) {
	d.run.read(len(s))
	d.write(`"`)
	for _, c := range s {
		escape, short := shortEscapes[c]
		switch {
		case short:
			d.write(escape)
		case c > 0xffff && d.ascii:
			hi, lo := utf16.EncodeRune(c)
			d.write(fmt.Sprintf(`\u%04x\u%04x`, hi, lo))
		case c < 0x20 || c >= 0x7f && d.ascii && c != 0x7f:
			d.write(fmt.Sprintf(`\u%04x`, c))
		default:
			d.write(string(c))
		}
	}
	d.write(`"`)
}

// pythonFloat is Python's repr: the shortest digits, with an exponent below
// 1e-4 and from 1e16.
func pythonFloat(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// strftime formats as Python's datetime.strftime in the C locale, as far as
// templates use it.
func strftime(t time.Time, format string) (string, error) {
	layouts := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'B': "January", 'b': "Jan", 'A': "Monday", 'a': "Mon",
		'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'F': "2006-01-02", 'T': "15:04:05", 'j': "002",
	}
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			return "", fmt.Errorf("strftime_now(%q): it ends with %%", format)
		}
		layout, ok := layouts[format[i]]
		switch {
		case format[i] == '%':
			out.WriteByte('%')
		case ok:
			out.WriteString(t.Format(layout))
		default:
			return "", fmt.Errorf("strftime_now(%q): %%%c is not supported", format, format[i])
		}
	}
	return out.String(), nil
}
