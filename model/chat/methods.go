package chat

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// A method of Python's str.
type method func(r *run, s string, args *exec.VarArgs) (any, error)

var textMethods = map[string]method{
	"strip": (*run).strip, "lstrip": (*run).lstrip, "rstrip": (*run).rstrip, "split": split, "replace": replace,
	"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix), "upper": upper, "lower": lower,
}

var objectMethods = map[string]func(r *run, self *exec.Value, args *exec.VarArgs) (any, error){
	"items":  func(r *run, self *exec.Value, args *exec.VarArgs) (any, error) { return r.pairs(self, args, -1) },
	"keys":   func(r *run, self *exec.Value, args *exec.VarArgs) (any, error) { return r.pairs(self, args, 0) },
	"values": func(r *run, self *exec.Value, args *exec.VarArgs) (any, error) { return r.pairs(self, args, 1) },
	"get":    get,
}

// method calls a method of a value.
func (r *run) method(self *exec.Value, name string, args *exec.VarArgs) *exec.Value {
	r.step(1)
	var v any
	err := fmt.Errorf("unknown method '%s' for %s", name, describe(self))
	if m := textMethods[name]; m != nil && self.IsString() {
		v, err = m(r, self.String(), args)
	} else if m := objectMethods[name]; m != nil && self.IsDict() {
		v, err = m(r, self, args)
	}
	if err != nil {
		r.fail(fmt.Errorf("method %s: %w", name, err))
	}
	return exec.ToValue(v)
}

// isSpace is Python's str.isspace of a character: Go's, and four separators.
func isSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

func (r *run) cutset(s string, args *exec.VarArgs) (func(rune) bool, error) {
	r.read(4 * len(s)) // a call a character
	if len(args.Args)+len(args.KwArgs) == 0 {
		return isSpace, nil
	}
	var chars string
	if err := args.Take(exec.KeywordArgument("chars", nil, exec.StringArgument(&chars))); err != nil {
		return nil, err
	}
	r.quadratic(len(s), len(chars)/64)
	return func(c rune) bool { return strings.ContainsRune(chars, c) }, nil
}

func (r *run) strip(s string, args *exec.VarArgs) (any, error) {
	f, err := r.cutset(s, args)
	if err != nil {
		return nil, err
	}
	return strings.TrimFunc(s, f), nil
}

func (r *run) lstrip(s string, args *exec.VarArgs) (any, error) {
	f, err := r.cutset(s, args)
	if err != nil {
		return nil, err
	}
	return strings.TrimLeftFunc(s, f), nil
}

func (r *run) rstrip(s string, args *exec.VarArgs) (any, error) {
	f, err := r.cutset(s, args)
	if err != nil {
		return nil, err
	}
	return strings.TrimRightFunc(s, f), nil
}

func split(r *run, s string, args *exec.VarArgs) (any, error) {
	var parts []string
	if len(args.Args)+len(args.KwArgs) == 0 {
		r.read(8 * len(s)) // two calls a character
		r.elements(countFields(s))
		parts = strings.FieldsFunc(s, isSpace)
	} else {
		var sep string
		n := -1
		if err := args.Take(exec.KeywordArgument("sep", nil, exec.StringArgument(&sep)),
			exec.KeywordArgument("maxsplit", exec.AsValue(-1), exec.IntArgument(&n))); err != nil {
			return nil, err
		}
		if sep == "" {
			return nil, errors.New("empty separator")
		}
		if n >= 0 {
			n++
		}
		r.read(len(s))
		if count := strings.Count(s, sep) + 1; n < 0 || count < n {
			r.elements(count)
		} else {
			r.elements(n)
		}
		parts = strings.SplitN(s, sep, n)
	}
	l := make(list, len(parts))
	for i, p := range parts {
		l[i] = p
	}
	return l, nil
}

func replace(r *run, s string, args *exec.VarArgs) (any, error) {
	var before, after string
	n := -1
	if err := args.Take(exec.PositionalArgument("old", nil, exec.StringArgument(&before)),
		exec.PositionalArgument("new", nil, exec.StringArgument(&after)),
		exec.KeywordArgument("count", exec.AsValue(-1), exec.IntArgument(&n))); err != nil {
		return nil, err
	}
	r.read(len(s))
	count := strings.Count(s, before)
	if n >= 0 {
		count = min(count, n)
	}
	size := len(s) + count*(len(after)-len(before))
	if len(after) > 0 && count > 2*maxOutput/len(after)+1 {
		size = maxOutput + 1
	}
	r.text(max(size, 0))
	return strings.Replace(s, before, after, n), nil
}

func countFields(s string) int {
	n, in := 0, false
	for _, c := range s {
		space := isSpace(c)
		if !space && !in {
			n++
		}
		in = !space
	}
	return n
}

func affix(has func(s, affix string) bool) method {
	return func(_ *run, s string, args *exec.VarArgs) (any, error) {
		var a string
		if err := args.Take(exec.PositionalArgument("affix", nil, exec.StringArgument(&a))); err != nil {
			return nil, err
		}
		return has(s, a), nil
	}
}

func upper(r *run, s string, args *exec.VarArgs) (any, error) {
	return ascii(r, s, args, strings.ToUpper)
}

func lower(r *run, s string, args *exec.VarArgs) (any, error) {
	return ascii(r, s, args, strings.ToLower)
}

// ascii maps the case of ASCII only: beyond it Go and Python differ («ß»).
func ascii(r *run, s string, args *exec.VarArgs, f func(string) string) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	r.text(len(s))
	for _, c := range s {
		if c > unicode.MaxASCII {
			return nil, fmt.Errorf("of the character %q is not supported", c)
		}
	}
	return f(s), nil
}

// pairs lists an object's items, or only the keys (0) or values (1).
func (r *run) pairs(self *exec.Value, args *exec.VarArgs, only int) (any, error) {
	if d, ok := r.ordered(self.Interface()); ok {
		self = exec.AsValue(d)
	}
	v, err := items(r, self, args)
	if err != nil || only < 0 {
		return v, err
	}
	l := v.(list)
	for i, p := range l {
		l[i] = p.(list)[only]
	}
	return l, nil
}

func get(r *run, self *exec.Value, args *exec.VarArgs) (any, error) {
	var key string
	var def any
	if err := args.Take(exec.PositionalArgument("key", nil, exec.StringArgument(&key)),
		exec.PositionalArgument("default", exec.AsValue((*null)(nil)), exec.AnyArgument(&def))); err != nil {
		return nil, err
	}
	if d, ok := self.Interface().(*exec.Dict); ok {
		r.step(1 + len(d.Pairs)/8)
	}
	if v, ok := self.GetItem(key); ok && !isUndefined(v) {
		return v.Interface(), nil
	}
	return def, nil
}
