package chat

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// A filter gets its arguments as Jinja gives them.
type filter func(r *run, in *exec.Value, args *exec.VarArgs) (any, error)

var filters map[string]filter

func init() { // they refer to each other
	filters = map[string]filter{
		"trim": onString((*run).strip), "upper": onString(upper), "lower": onString(lower), "replace": onString(replace),
		"length": length, "count": length, "first": first, "last": last, "list": toList, "items": items,
		"string": toString, "join": join, "tojson": (*run).toJSON, "default": fallback, "d": fallback,
		"selectattr": byAttribute(true), "rejectattr": byAttribute(false), "select": byTest(true), "reject": byTest(false),
	}
}

func (r *run) filter(name string, in *exec.Value, args *exec.VarArgs) *exec.Value {
	f := filters[name]
	switch {
	case in.IsError():
		return in
	case f == nil:
		return exec.AsValue(fmt.Errorf("filter '%s' not found", name))
	}
	r.step(1)
	v, err := f(r, in, &exec.VarArgs{Args: args.Args, KwArgs: maps.Clone(args.KwArgs)})
	if err != nil {
		r.fail(fmt.Errorf("filter %s: %w", name, err))
	}
	return exec.ToValue(v)
}

func onString(m method) filter {
	return func(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
		if !in.IsString() {
			return nil, fmt.Errorf("expected a text, found %s", describe(in))
		}
		return m(r, in.String(), args)
	}
}

// describe names a value's type for a message.
func describe(v *exec.Value) string {
	switch {
	case isUndefined(v):
		return "an undefined value"
	case v.IsNil():
		return "none"
	case v.IsBool():
		return "a bool"
	case v.IsNumber():
		return "a number"
	case v.IsString():
		return "a text"
	case v.IsList():
		return "a list"
	case v.IsDict():
		return "an object"
	}
	return "another value"
}

func length(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	if !in.IsIterable() {
		return nil, fmt.Errorf("expected a text, list or object, found %s", describe(in))
	}
	if in.IsString() {
		r.read(in.Val.Len())
		return utf8.RuneCountInString(in.String()), nil
	}
	return in.Len(), nil
}

func first(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
	return element(r, in, args, func(int) int { return 0 })
}

func last(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
	return element(r, in, args, func(n int) int { return n - 1 })
}

func element(r *run, in *exec.Value, args *exec.VarArgs, index func(n int) int) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	if !in.CanSlice() {
		return nil, fmt.Errorf("expected a text or list, found %s", describe(in))
	}
	if in.IsString() {
		r.text(4 * in.Val.Len()) // its characters
	}
	if in.Len() == 0 {
		return (*undefined)(nil), nil
	}
	return in.Index(index(in.Len())), nil
}

func toList(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	l, ok := r.asList(in)
	if !ok {
		return nil, fmt.Errorf("expected a list, found %s", describe(in))
	}
	return l, nil
}

func items(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	pairs, ok := in.Interface().(*exec.Dict)
	if !ok {
		if in.IsDict() && in.Len() == 0 {
			return list{}, nil
		}
		return nil, fmt.Errorf("expected an object, found %s", describe(in))
	}
	r.elements(3 * len(pairs.Pairs))
	l := make(list, len(pairs.Pairs))
	for i, p := range pairs.Pairs {
		l[i] = list{p.Key.Interface(), p.Value.Interface()}
	}
	return l, nil
}

// toString is for what prints alike in Go and Python.
func toString(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	if !in.IsString() && !in.IsInteger() && !in.IsBool() {
		return nil, fmt.Errorf("expected a text, bool or integer, found %s", describe(in))
	}
	return in.String(), nil
}

func join(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
	separator := ""
	if err := args.Take(exec.KeywordArgument("d", exec.AsValue(""), exec.StringArgument(&separator))); err != nil {
		return nil, err
	}
	l, ok := r.asList(in)
	if !ok {
		return nil, fmt.Errorf("expected a list, found %s", describe(in))
	}
	r.elements(len(l))
	parts, size := make([]string, len(l)), 0
	for i, v := range l {
		s, err := toString(r, exec.ToValue(v), exec.NewVarArgs())
		if err != nil {
			return nil, err
		}
		parts[i] = s.(string)
		if size += len(parts[i]) + len(separator); size > maxOutput {
			r.fail(errTooMuch)
		}
	}
	r.text(size)
	return strings.Join(parts, separator), nil
}

func fallback(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
	var value any
	even := false
	if err := args.Take(exec.PositionalArgument("default_value", exec.AsValue(""), exec.AnyArgument(&value)),
		exec.KeywordArgument("boolean", exec.AsValue(false), exec.BoolArgument(&even))); err != nil {
		return nil, err
	}
	if !isDefined(in) || even && !in.IsTrue() {
		return value, nil
	}
	return in, nil
}

// byAttribute keeps the elements whose attribute passes a test, or fails it.
func byAttribute(keep bool) filter {
	return func(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
		if len(args.Args) == 0 || !args.Args[0].IsString() {
			return nil, fmt.Errorf("expected the name of an attribute")
		}
		name := args.Args[0].String()
		return choose(r, in, args.Args[1:], keep, func(v *exec.Value) *exec.Value {
			item, _ := v.GetItem(name)
			return item
		})
	}
}

func byTest(keep bool) filter {
	return func(r *run, in *exec.Value, args *exec.VarArgs) (any, error) {
		return choose(r, in, args.Args, keep, func(v *exec.Value) *exec.Value { return v })
	}
}

func choose(r *run, in *exec.Value, test []*exec.Value, keep bool, of func(*exec.Value) *exec.Value) (any, error) {
	l, ok := r.asList(in)
	if !ok {
		return nil, fmt.Errorf("expected a list, found %s", describe(in))
	}
	r.elements(len(l))
	out := list{}
	for _, v := range l {
		r.step(1)
		value := of(exec.ToValue(v))
		passed := value
		if len(test) > 0 {
			passed = r.test(test[0].String(), value, &exec.VarArgs{Args: test[1:], KwArgs: map[string]*exec.Value{}})
			if passed.IsError() {
				return nil, fmt.Errorf("%s", passed.Error())
			}
		}
		if passed.IsTrue() == keep {
			out = append(out, v)
		}
	}
	return out, nil
}

func isUndefined(v *exec.Value) bool {
	_, ok := v.Interface().(*undefined)
	return ok
}

// isDefined takes a bare nil for a name that no one has set.
func isDefined(v *exec.Value) bool {
	if _, ok := v.Interface().(*null); ok {
		return true
	}
	return !v.IsNil() && !v.IsError()
}

// tests are the library's where it agrees with Jinja.
var tests = map[string]func(v *exec.Value, args *exec.VarArgs) bool{
	"boolean": is((*exec.Value).IsBool), "float": is((*exec.Value).IsFloat), "integer": is((*exec.Value).IsInteger),
	"mapping": is((*exec.Value).IsDict), "string": is((*exec.Value).IsString), "iterable": is((*exec.Value).IsIterable),
	"sequence": is((*exec.Value).IsIterable), "true": is((*exec.Value).Bool), "defined": is(isDefined),
	"undefined": is(func(v *exec.Value) bool { return !isDefined(v) }),
	"none":      is(func(v *exec.Value) bool { return v.IsNil() && !isUndefined(v) }),
	"false":     is(func(v *exec.Value) bool { return v.IsBool() && !v.Bool() }),
	"number":    is(func(v *exec.Value) bool { return v.IsNumber() || v.IsBool() }),
	"even":      is(func(v *exec.Value) bool { return v.IsInteger() && v.Integer()%2 == 0 }),
	"odd":       is(func(v *exec.Value) bool { return v.IsInteger() && v.Integer()%2 != 0 }),
	"eq":        equal, "equalto": equal, "==": equal,
	"ne": notEqual, "!=": notEqual,
	"in": func(v *exec.Value, args *exec.VarArgs) bool { return args.First().Contains(v) },
}

func is(f func(*exec.Value) bool) func(*exec.Value, *exec.VarArgs) bool {
	return func(v *exec.Value, _ *exec.VarArgs) bool { return f(v) }
}

func equal(v *exec.Value, args *exec.VarArgs) bool { return v.EqualValueTo(args.First()) }

func notEqual(v *exec.Value, args *exec.VarArgs) bool { return !equal(v, args) }

// test applies a test. Those that take arguments compare, so both are walked.
func (r *run) test(name string, v *exec.Value, args *exec.VarArgs) *exec.Value {
	f := tests[name]
	if f == nil {
		return exec.AsValue(fmt.Errorf("test '%s' not found", name))
	}
	r.step(1)
	if len(args.Args) > 0 {
		r.walk(v)
		r.walk(args.First())
	}
	return exec.AsValue(f(v, args))
}

// ordered returns a message's fields in the order of the file.
func (r *run) ordered(v any) (*exec.Dict, bool) {
	if o, ok := v.(object); ok {
		d, ok := r.dicts[reflect.ValueOf(o).Pointer()]
		return d, ok
	}
	d, ok := v.(*exec.Dict)
	return d, ok
}
