package chat

import (
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// A filter gets its arguments as Jinja gives them.
type filter func(e *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error)

func (r *run) filters() map[string]exec.FilterFunction {
	out := map[string]exec.FilterFunction{}
	for name, f := range map[string]filter{
		"trim": onString((*run).strip), "upper": onString(upper), "lower": onString(lower), "replace": onString(replace),
		"length": length, "count": length, "first": first, "last": last, "list": toList, "items": items,
		"string": toString, "join": join, "tojson": r.toJSON, "default": fallback, "d": fallback,
		"selectattr": byAttribute(true), "rejectattr": byAttribute(false), "select": byTest(true), "reject": byTest(false),
	} {
		out[name] = func(e *exec.Evaluator, in *exec.Value, args *exec.VarArgs) *exec.Value {
			if in.IsError() {
				return in
			}
			r.step(1)
			v, err := f(e, in, &exec.VarArgs{Args: args.Args, KwArgs: maps.Clone(args.KwArgs)})
			if err != nil {
				r.fail(fmt.Errorf("filter %s: %w", name, err))
			}
			return exec.ToValue(v)
		}
	}
	return out
}

func onString(m method) filter {
	return func(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
		if !in.IsString() {
			return nil, fmt.Errorf("expected a text, found %s", describe(in))
		}
		return m(nil, in.String(), args)
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

func length(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	if !in.IsIterable() {
		return nil, fmt.Errorf("expected a text, list or object, found %s", describe(in))
	}
	return in.Len(), nil
}

func first(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
	return element(in, args, func(int) int { return 0 })
}

func last(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
	return element(in, args, func(n int) int { return n - 1 })
}

func element(in *exec.Value, args *exec.VarArgs, index func(n int) int) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	if !in.CanSlice() {
		return nil, fmt.Errorf("expected a text or list, found %s", describe(in))
	}
	if in.Len() == 0 {
		return (*undefined)(nil), nil
	}
	return in.Index(index(in.Len())), nil
}

func toList(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	l, ok := asList(in)
	if !ok {
		return nil, fmt.Errorf("expected a list, found %s", describe(in))
	}
	return l, nil
}

func items(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
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
	l := make(list, len(pairs.Pairs))
	for i, p := range pairs.Pairs {
		l[i] = list{p.Key.Interface(), p.Value.Interface()}
	}
	return l, nil
}

// toString is for what prints alike in Go and Python.
func toString(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
	if err := args.Take(); err != nil {
		return nil, err
	}
	if !in.IsString() && !in.IsInteger() && !in.IsBool() {
		return nil, fmt.Errorf("expected a text, bool or integer, found %s", describe(in))
	}
	return in.String(), nil
}

func join(e *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
	separator := ""
	if err := args.Take(exec.KeywordArgument("d", exec.AsValue(""), exec.StringArgument(&separator))); err != nil {
		return nil, err
	}
	l, ok := asList(in)
	if !ok {
		return nil, fmt.Errorf("expected a list, found %s", describe(in))
	}
	parts := make([]string, len(l))
	for i, v := range l {
		s, err := toString(e, exec.ToValue(v), exec.NewVarArgs())
		if err != nil {
			return nil, err
		}
		parts[i] = s.(string)
	}
	return strings.Join(parts, separator), nil
}

func fallback(_ *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
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
	return func(e *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
		if len(args.Args) == 0 || !args.Args[0].IsString() {
			return nil, fmt.Errorf("expected the name of an attribute")
		}
		name := args.Args[0].String()
		return choose(e, in, args.Args[1:], keep, func(v *exec.Value) *exec.Value {
			item, _ := v.GetItem(name)
			return item
		})
	}
}

func byTest(keep bool) filter {
	return func(e *exec.Evaluator, in *exec.Value, args *exec.VarArgs) (any, error) {
		return choose(e, in, args.Args, keep, func(v *exec.Value) *exec.Value { return v })
	}
}

func choose(e *exec.Evaluator, in *exec.Value, test []*exec.Value, keep bool, of func(*exec.Value) *exec.Value) (any, error) {
	l, ok := asList(in)
	if !ok {
		return nil, fmt.Errorf("expected a list, found %s", describe(in))
	}
	out := list{}
	for _, v := range l {
		value := of(exec.ToValue(v))
		passed := value
		if len(test) > 0 {
			passed = e.ExecuteTestByName(test[0].String(), value, &exec.VarArgs{Args: test[1:], KwArgs: map[string]*exec.Value{}})
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
func (r *run) tests() map[string]exec.TestFunction {
	out := map[string]exec.TestFunction{}
	for _, name := range []string{"boolean", "eq", "equalto", "==", "ne", "!=", "float", "integer", "mapping", "string", "iterable", "in", "true"} {
		out[name], _ = builtins.Tests.Get(name)
	}
	for name, f := range map[string]func(*exec.Value) bool{
		"defined":   isDefined,
		"undefined": func(v *exec.Value) bool { return !isDefined(v) },
		"none":      func(v *exec.Value) bool { return v.IsNil() && !isUndefined(v) },
		"false":     func(v *exec.Value) bool { return v.IsBool() && !v.Bool() },
		"number":    func(v *exec.Value) bool { return v.IsNumber() || v.IsBool() },
		"sequence":  (*exec.Value).IsIterable,
		"even":      func(v *exec.Value) bool { return v.IsInteger() && v.Integer()%2 == 0 },
		"odd":       func(v *exec.Value) bool { return v.IsInteger() && v.Integer()%2 != 0 },
	} {
		out[name] = func(_ *exec.Context, v *exec.Value, _ *exec.VarArgs) (bool, error) {
			r.step(1)
			return f(v), nil
		}
	}
	return out
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
