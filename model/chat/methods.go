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

func (r *run) methods() exec.Methods {
	str := map[string]exec.Method[string]{}
	for name, m := range map[string]method{
		"strip": (*run).strip, "lstrip": lstrip, "rstrip": rstrip, "split": split, "replace": replace,
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix), "upper": upper, "lower": lower,
	} {
		str[name] = func(s string, _ *exec.Value, args *exec.VarArgs) (any, error) {
			return counted(r, name, func() (any, error) { return m(r, s, args) })
		}
	}
	dict := map[string]exec.Method[map[string]any]{}
	for name, f := range map[string]func(self *exec.Value, args *exec.VarArgs) (any, error){
		"items":  func(self *exec.Value, args *exec.VarArgs) (any, error) { return r.pairs(self, args, -1) },
		"keys":   func(self *exec.Value, args *exec.VarArgs) (any, error) { return r.pairs(self, args, 0) },
		"values": func(self *exec.Value, args *exec.VarArgs) (any, error) { return r.pairs(self, args, 1) },
		"get":    get,
	} {
		dict[name] = func(_ map[string]any, self *exec.Value, args *exec.VarArgs) (any, error) {
			return counted(r, name, func() (any, error) { return f(self, args) })
		}
	}
	return exec.Methods{
		Bool:  exec.NewMethodSet(map[string]exec.Method[bool]{}),
		Int:   exec.NewMethodSet(map[string]exec.Method[int]{}),
		Float: exec.NewMethodSet(map[string]exec.Method[float64]{}),
		List:  exec.NewMethodSet(map[string]exec.Method[[]any]{}),
		Str:   exec.NewMethodSet(str),
		Dict:  exec.NewMethodSet(dict),
	}
}

func counted(r *run, name string, f func() (any, error)) (any, error) {
	r.step(1)
	v, err := f()
	if err != nil {
		r.fail(fmt.Errorf("method %s: %w", name, err))
	}
	return v, nil
}

// isSpace is Python's str.isspace of a character: Go's, and four separators.
func isSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

func cutset(args *exec.VarArgs) (func(rune) bool, error) {
	if len(args.Args)+len(args.KwArgs) == 0 {
		return isSpace, nil
	}
	var chars string
	if err := args.Take(exec.KeywordArgument("chars", nil, exec.StringArgument(&chars))); err != nil {
		return nil, err
	}
	return func(c rune) bool { return strings.ContainsRune(chars, c) }, nil
}

func (r *run) strip(s string, args *exec.VarArgs) (any, error) {
	f, err := cutset(args)
	if err != nil {
		return nil, err
	}
	return strings.TrimFunc(s, f), nil
}

func lstrip(_ *run, s string, args *exec.VarArgs) (any, error) {
	f, err := cutset(args)
	if err != nil {
		return nil, err
	}
	return strings.TrimLeftFunc(s, f), nil
}

func rstrip(_ *run, s string, args *exec.VarArgs) (any, error) {
	f, err := cutset(args)
	if err != nil {
		return nil, err
	}
	return strings.TrimRightFunc(s, f), nil
}

func split(_ *run, s string, args *exec.VarArgs) (any, error) {
	var parts []string
	if len(args.Args)+len(args.KwArgs) == 0 {
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
		parts = strings.SplitN(s, sep, n)
	}
	l := make(list, len(parts))
	for i, p := range parts {
		l[i] = p
	}
	return l, nil
}

func replace(_ *run, s string, args *exec.VarArgs) (any, error) {
	var before, after string
	n := -1
	if err := args.Take(exec.PositionalArgument("old", nil, exec.StringArgument(&before)),
		exec.PositionalArgument("new", nil, exec.StringArgument(&after)),
		exec.KeywordArgument("count", exec.AsValue(-1), exec.IntArgument(&n))); err != nil {
		return nil, err
	}
	// Each character may become the new text, and with "" the gaps between too.
	if len(after) > 0 && len(s)+1 > maxOutput/len(after) {
		return nil, errTooMuch
	}
	return strings.Replace(s, before, after, n), nil
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

func upper(_ *run, s string, args *exec.VarArgs) (any, error) {
	return ascii(s, args, strings.ToUpper)
}

func lower(_ *run, s string, args *exec.VarArgs) (any, error) {
	return ascii(s, args, strings.ToLower)
}

// ascii maps the case of ASCII only: beyond it Go and Python differ («ß»).
func ascii(s string, args *exec.VarArgs, f func(string) string) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
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
	v, err := items(nil, self, args)
	if err != nil || only < 0 {
		return v, err
	}
	l := v.(list)
	for i, p := range l {
		l[i] = p.(list)[only]
	}
	return l, nil
}

func get(self *exec.Value, args *exec.VarArgs) (any, error) {
	var key string
	var def any
	if err := args.Take(exec.PositionalArgument("key", nil, exec.StringArgument(&key)),
		exec.PositionalArgument("default", exec.AsValue((*null)(nil)), exec.AnyArgument(&def))); err != nil {
		return nil, err
	}
	if v, ok := self.GetItem(key); ok && !isUndefined(v) {
		return v.Interface(), nil
	}
	return def, nil
}
