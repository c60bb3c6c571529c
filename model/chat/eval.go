package chat

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
)

// The library's own evaluator cannot be counted: it prints the operands of an
// error, calls any method of a Go value, and follows a value that holds itself
// until the stack ends. So expressions are evaluated here, by its rules, and
// every operation is paid for.

// function is what a template can call by name.
type function func(args *exec.VarArgs) (any, error)

// scope is the variables of a block, and those around it.
type scope struct {
	vars   map[string]*exec.Value
	parent *scope
}

func (s *scope) inner() *scope { return &scope{vars: map[string]*exec.Value{}, parent: s} }

func (s *scope) get(name string) *exec.Value {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v
		}
	}
	return exec.AsValue(nil)
}

// eval returns the value of an expression. An error is a value too: a test or
// a condition may be about what is not there.
func (r *run) eval(node nodes.Expression, s *scope) *exec.Value {
	r.step(1)
	switch n := node.(type) {
	case *nodes.None:
		return exec.AsValue(nil)
	case *nodes.String:
		return exec.AsValue(n.Val)
	case *nodes.Integer:
		return exec.AsValue(n.Val)
	case *nodes.Float:
		return exec.AsValue(n.Val)
	case *nodes.Bool:
		return exec.AsValue(n.Val)
	case *nodes.List:
		return r.list(n.Val, s)
	case *nodes.Tuple:
		return r.list(n.Val, s)
	case *nodes.Dict:
		return r.dict(n, s)
	case *nodes.Name:
		return s.get(n.Name.Val)
	case *nodes.Call:
		return r.call(n, s)
	case *nodes.GetItem:
		return r.item(n, s)
	case *nodes.GetAttribute:
		if n.Attribute == "" {
			return r.at(r.eval(n.Node, s), n.Index)
		}
		return r.attribute(r.eval(n.Node, s), n.Attribute)
	case *nodes.GetSlice:
		return r.slice(n, s)
	case *nodes.Negation:
		v := r.eval(n.Term, s)
		if v.IsError() {
			return v
		}
		return v.Negate()
	case *nodes.BinaryExpression:
		return r.binary(n, s)
	case *nodes.UnaryExpression:
		return r.unary(n, s)
	case *nodes.FilteredExpression:
		v := r.eval(n.Expression, s)
		for _, f := range n.Filters {
			args, err := r.arguments(f.Args, f.Kwargs, s)
			if err != nil {
				return err
			}
			v = r.filter(f.Name, v, args)
		}
		return v
	case *nodes.TestExpression:
		args, err := r.arguments(n.Test.Args, n.Test.Kwargs, s)
		if err != nil {
			return err
		}
		return r.test(n.Test.Name, r.eval(n.Expression, s), args)
	}
	return exec.AsValue(errors.New("an expression is missing, or of a kind that is not supported"))
}

func (r *run) list(nodes []nodes.Expression, s *scope) *exec.Value {
	r.elements(len(nodes))
	l := make(list, len(nodes))
	for i, n := range nodes {
		v := r.eval(n, s)
		if v.IsError() {
			return v
		}
		l[i] = v.Interface()
	}
	return exec.AsValue(l)
}

func (r *run) dict(n *nodes.Dict, s *scope) *exec.Value {
	r.elements(2 * len(n.Pairs))
	d := exec.NewDict()
	for _, p := range n.Pairs {
		key, value := r.eval(p.Key, s), r.eval(p.Value, s)
		switch {
		case key.IsError():
			return key
		case value.IsError():
			return value
		case !key.IsString() && !key.IsNumber() && !key.IsBool() && !key.IsNil():
			return exec.AsValue(fmt.Errorf("%s cannot be a key of an object", describe(key)))
		}
		d.Pairs = append(d.Pairs, &exec.Pair{Key: key, Value: value})
	}
	return exec.AsValue(d)
}

// arguments evaluates those of a call, a filter or a test. All are walked, as
// the library prints what it does not expect.
func (r *run) arguments(args []nodes.Expression, kwargs map[string]nodes.Expression, s *scope) (*exec.VarArgs, *exec.Value) {
	out := exec.NewVarArgs()
	for _, a := range args {
		v := r.eval(a, s)
		if v.IsError() {
			return nil, v
		}
		r.walk(v)
		out.Args = append(out.Args, v)
	}
	for name, a := range kwargs {
		v := r.eval(a, s)
		if v.IsError() {
			return nil, v
		}
		r.walk(v)
		out.KwArgs[name] = v
	}
	return out, nil
}

func (r *run) call(n *nodes.Call, s *scope) *exec.Value {
	args, failed := r.arguments(n.Args, n.Kwargs, s)
	if failed != nil {
		return failed
	}
	var f any
	name := "the value"
	switch target := n.Func.(type) {
	case *nodes.Name:
		name = target.Name.Val
		f = s.get(name).Interface()
	case *nodes.GetAttribute:
		self := r.eval(target.Node, s)
		if self.IsError() {
			return self
		}
		name = target.Attribute
		if v := r.attribute(self, name); v.IsCallable() {
			f = v.Interface()
		} else {
			return r.method(self, name, args)
		}
	default:
		f = r.eval(n.Func, s).Interface()
	}
	call, ok := f.(function)
	if !ok {
		return exec.AsValue(fmt.Errorf("%s is not callable", name))
	}
	v, err := call(args)
	if err != nil {
		return exec.AsValue(err)
	}
	return exec.ToValue(v)
}

func (r *run) attribute(v *exec.Value, name string) *exec.Value {
	if v.IsNil() || v.IsError() {
		return r.missing(v, name)
	}
	if getter, ok := v.Interface().(exec.AttributeGetter); ok {
		item, _ := getter.GetAttribute(name)
		return item
	}
	return r.lookUp(v, name)
}

func (r *run) missing(v *exec.Value, name string) *exec.Value {
	if v.IsError() {
		return v
	}
	return exec.AsValue(fmt.Errorf("%s has no attribute %q", describe(v), name))
}

// lookUp is v[name].
func (r *run) lookUp(v *exec.Value, name string) *exec.Value {
	if d, ok := v.Interface().(*exec.Dict); ok {
		r.step(1 + len(d.Pairs)/8)
	}
	if item, ok := v.GetItem(name); ok || item.IsError() {
		return item
	}
	return exec.AsValue(nil)
}

// at is v[i].
func (r *run) at(v *exec.Value, i int) *exec.Value {
	switch {
	case v.IsError():
		return v
	case v.IsNil():
		return r.missing(v, fmt.Sprint(i))
	case !v.CanSlice():
		return exec.AsValue(fmt.Errorf("%s has no element %d", describe(v), i))
	}
	if item, ok := v.GetItem(i); ok || item.IsError() {
		return item
	}
	return exec.AsValue(nil)
}

func (r *run) item(n *nodes.GetItem, s *scope) *exec.Value {
	v := r.eval(n.Node, s)
	if v.IsError() || n.Arg == nil {
		return v
	}
	key := r.eval(n.Arg, s)
	switch {
	case key.IsError():
		return key
	case v.IsNil():
		return r.missing(v, "[]")
	case key.IsInteger():
		return r.at(v, key.Integer())
	case key.IsString():
		return r.lookUp(v, key.String())
	}
	return exec.AsValue(fmt.Errorf("%s is not an index", describe(key)))
}

// slice is v[start:stop:step], by Python's rules.
func (r *run) slice(n *nodes.GetSlice, s *scope) *exec.Value {
	v := r.eval(n.Node, s)
	switch {
	case v.IsError():
		return v
	case !v.CanSlice():
		return exec.AsValue(fmt.Errorf("%s cannot be sliced", describe(v)))
	}
	if v.IsString() {
		r.text(4 * v.Val.Len()) // its characters
	}
	length := v.Len()
	step, failed := r.bound(n.Step, s, 1)
	if failed != nil {
		return failed
	}
	if step == 0 {
		return exec.AsValue(errors.New("a slice's step cannot be 0"))
	}
	first, last := 0, length
	if step < 0 {
		first, last = length-1, -1
	}
	start, failed := r.bound(n.Start, s, first)
	if failed != nil {
		return failed
	}
	stop, failed := r.bound(n.End, s, last)
	if failed != nil {
		return failed
	}
	if n.Start != nil {
		start = clamp(start, length, step)
	}
	if n.End != nil {
		stop = clamp(stop, length, step)
	}
	if step == 1 {
		return v.Slice(start, max(start, stop))
	}
	out := list{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		r.elements(1)
		if v.IsString() {
			out = append(out, i)
		} else {
			out = append(out, v.Index(i).Interface())
		}
		if step > length || step < -length {
			break // i + step may be beyond the integers
		}
	}
	if v.IsString() {
		chars := []rune(v.String())
		text := make([]rune, len(out))
		for k, i := range out {
			text[k] = chars[i.(int)]
		}
		return exec.AsValue(string(text))
	}
	return exec.AsValue(out)
}

// bound evaluates a bound of a slice, which may be left out.
func (r *run) bound(n nodes.Node, s *scope, absent int) (int, *exec.Value) {
	if n == nil || reflect.ValueOf(n).IsNil() {
		return absent, nil
	}
	v := r.eval(n, s)
	switch {
	case v.IsError():
		return 0, v
	case !v.IsInteger():
		return 0, exec.AsValue(fmt.Errorf("a slice's bound is %s: expected an integer", describe(v)))
	}
	return v.Integer(), nil
}

// clamp brings a bound of a slice into the range of its indices.
func clamp(i, n, step int) int {
	if i < 0 {
		i += n
	}
	if step > 0 {
		return max(0, min(i, n))
	}
	return max(-1, min(i, n-1))
}
