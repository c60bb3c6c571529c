package chat

import (
	"fmt"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

func (r *run) unary(n *nodes.UnaryExpression, s *scope) *exec.Value {
	v := r.eval(n.Term, s)
	switch {
	case v.IsError() || !n.Negative:
		return v
	case v.IsFloat():
		return exec.AsValue(-v.Float())
	case v.IsInteger():
		return exec.AsValue(-v.Integer())
	}
	return exec.AsValue(fmt.Errorf("a negative sign before %s", describe(v)))
}

func (r *run) binary(n *nodes.BinaryExpression, s *scope) *exec.Value {
	left := r.eval(n.Left, s)
	if left.IsError() {
		return left
	}
	switch n.Operator.Token.Type { // the value of one side, as in Python
	case tokens.And:
		if !left.IsTrue() {
			return left
		}
		return r.eval(n.Right, s)
	case tokens.Or:
		if left.IsTrue() {
			return left
		}
		return r.eval(n.Right, s)
	}
	right := r.eval(n.Right, s)
	if right.IsError() {
		return right
	}
	return r.operate(n.Operator.Token, left, right)
}

// operate computes what needs both sides. The library prints what is no number
// to compare and to calculate with it, so both sides are walked.
func (r *run) operate(operator *tokens.Token, left, right *exec.Value) *exec.Value {
	op, float := operator.Type, left.IsFloat() || right.IsFloat()
	switch {
	case op == tokens.Addition && left.IsList():
		return r.concatenate(left, right)
	case op == tokens.Tilde, op == tokens.Addition && !float && (left.IsString() || right.IsString()):
		a, b := r.print(left), r.print(right)
		r.text(len(a) + len(b))
		return exec.AsValue(a + b)
	}
	r.walk(left)
	r.walk(right)
	switch op {
	case tokens.Addition:
		if float {
			return exec.AsValue(left.Float() + right.Float())
		}
		return exec.AsValue(left.Integer() + right.Integer())
	case tokens.Subtraction:
		if float {
			return exec.AsValue(left.Float() - right.Float())
		}
		return exec.AsValue(left.Integer() - right.Integer())
	case tokens.Modulo:
		return exec.AsValue(left.Integer() % right.Integer())
	case tokens.Equals:
		return exec.AsValue(left.EqualValueTo(right))
	case tokens.Ne:
		return exec.AsValue(!left.EqualValueTo(right))
	case tokens.In:
		return exec.AsValue(right.Contains(left))
	case tokens.LowerThan:
		return exec.AsValue(r.less(left, right))
	case tokens.GreaterThan:
		return exec.AsValue(r.less(right, left))
	case tokens.LowerThanOrEqual:
		return exec.AsValue(r.atMost(left, right))
	case tokens.GreaterThanOrEqual:
		return exec.AsValue(r.atMost(right, left))
	}
	return exec.AsValue(fmt.Errorf("the operator %s is not supported", operator.Val))
}

func (r *run) concatenate(left, right *exec.Value) *exec.Value {
	if !right.IsList() {
		return exec.AsValue(fmt.Errorf("a list and %s cannot be added", describe(right)))
	}
	r.elements(left.Len() + right.Len())
	out := make(list, 0, left.Len()+right.Len())
	for _, v := range []*exec.Value{left, right} {
		for i := range v.Len() {
			out = append(out, v.Index(i).Interface())
		}
	}
	return exec.AsValue(out)
}

func (r *run) less(a, b *exec.Value) bool {
	switch {
	case a.IsFloat() || b.IsFloat():
		return a.Float() < b.Float()
	case a.IsString() || b.IsString():
		return r.print(a) < r.print(b)
	}
	return a.Integer() < b.Integer()
}

func (r *run) atMost(a, b *exec.Value) bool {
	switch {
	case a.IsFloat() || b.IsFloat():
		return a.Float() <= b.Float()
	case a.IsString() || b.IsString():
		return r.print(a) <= r.print(b)
	}
	return a.Integer() <= b.Integer()
}
