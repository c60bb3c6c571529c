package chat

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"

	controlStructures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
)

// flow says how a block ended.
type flow int

const (
	onward flow = iota
	breaking
	continuing
)

// writer takes the text of a block, and pays for it.
type writer struct {
	run *run
	out strings.Builder
}

func (w *writer) write(s string) {
	if len(s) > maxOutput-w.out.Len() {
		w.run.fail(errTooMuch)
	}
	w.run.text(len(s))
	w.out.WriteString(s)
}

// render writes the nodes of a block.
func (r *run) render(block []nodes.Node, s *scope, w *writer) flow {
	for _, node := range block {
		r.step(1)
		switch n := node.(type) {
		case *nodes.Data:
			r.read(len(n.Data.Val))
			w.write(dataText(n))
		case *nodes.Output:
			r.output(n, s, w)
		case *nodes.ControlStructureBlock:
			if f := r.execute(n.ControlStructure, s, w); f != onward {
				return f
			}
		}
	}
	return onward
}

// dataText is the text between tags without what they trim.
func dataText(n *nodes.Data) string {
	text := n.Data.Val
	if n.RemoveFirstLineReturn {
		text = strings.TrimPrefix(text, "\r\n")
		text = strings.TrimPrefix(text, "\n")
	}
	if n.Trim.Left {
		text = strings.TrimLeft(text, " \r\n\t")
	}
	if n.Trim.Right {
		text = strings.TrimRight(text, " \r\n\t")
	}
	if n.RemoveTrailingWhiteSpaceFromLastLine {
		last := strings.LastIndexByte(text, '\n') + 1
		text = text[:last] + strings.TrimRight(text[last:], " \n\t\r")
	}
	return text
}

func (r *run) output(n *nodes.Output, s *scope, w *writer) {
	value := n.Expression
	if n.Condition != nil && !r.isTrue(n.Condition, s) {
		if n.Alternative == nil {
			return
		}
		value = n.Alternative
	}
	w.write(r.print(r.need(r.eval(value, s), n)))
}

// need ends the rendering at an error.
func (r *run) need(v *exec.Value, at nodes.Node) *exec.Value {
	if v.IsError() {
		r.fail(fmt.Errorf("line %d: %s", at.Position().Line, v.Error()))
	}
	return v
}

func (r *run) isTrue(condition nodes.Expression, s *scope) bool {
	return r.need(r.eval(condition, s), condition).IsTrue()
}

func (r *run) execute(statement nodes.ControlStructure, s *scope, w *writer) flow {
	switch n := statement.(type) {
	case *controlStructures.IfControlStructure:
		for i, condition := range n.Conditions {
			if r.isTrue(condition, s) {
				return r.render(n.Wrappers[i].Nodes, s, w)
			}
		}
		if len(n.Wrappers) > len(n.Conditions) {
			return r.render(n.Wrappers[len(n.Conditions)].Nodes, s, w)
		}
	case *controlStructures.ForControlStructure:
		return r.loop(n, s, w)
	case *setStatement:
		r.set(n, s)
	case *generationBlock:
		return r.render(n.body.Nodes, s.inner(), w)
	case *rawBlock:
		return r.render(n.body.Nodes, s, w)
	case *controlStructures.BreakControlStructure:
		return breaking
	case *controlStructures.ContinueControlStructure:
		return continuing
	}
	return onward
}

func (r *run) set(n *setStatement, s *scope) {
	var value *exec.Value
	switch {
	case n.body != nil:
		w := &writer{run: r}
		if r.render(n.body.Nodes, s.inner(), w) != onward {
			r.fail(errors.New("break or continue in a set block is not supported"))
		}
		value = exec.AsValue(w.out.String())
	case n.condition != nil && !r.isTrue(n.condition, s):
		value = r.need(r.eval(n.alternative, s), n)
	default:
		value = r.need(r.eval(n.expression, s), n)
	}
	if value.IsList() && value.Len() > maxRange {
		r.fail(errTooMuch)
	}
	if l, ok := r.asList(value); ok {
		value = exec.AsValue(l)
	}
	switch t := n.target.(type) {
	case *nodes.Name:
		s.vars[t.Name.Val] = value
	case *nodes.GetAttribute:
		ns, ok := r.need(r.eval(t.Node, s), t).Interface().(namespace)
		if !ok || t.Attribute == "" {
			r.fail(fmt.Errorf("line %d: an attribute can be set of a namespace only", n.at.Line))
		}
		ns[t.Attribute] = value.Interface()
	}
}

// loop is a for loop.
func (r *run) loop(n *controlStructures.ForControlStructure, s *scope, w *writer) flow {
	over := r.need(r.eval(n.ObjectEvaluator, s), n.ObjectEvaluator)
	if over.IsString() { // the library would go by bytes
		r.fail(errors.New("a for loop over the characters of a text is not supported"))
	}
	turns := r.turns(n, over, s)
	if len(turns) == 0 && n.EmptyWrapper != nil {
		return r.render(n.EmptyWrapper.Nodes, s.inner(), w)
	}
	info := &loopInfo{run: r, turns: turns, depth: 1}
	if outer, ok := s.get("loop").Interface().(*loopInfo); ok {
		info.depth = outer.depth + 1
	}
	for i, t := range turns {
		r.step(1)
		info.index = i
		inner := s.inner()
		t.bind(n, inner)
		inner.vars["loop"] = exec.AsValue(info)
		if r.render(n.BodyWrapper.Nodes, inner, w) == breaking {
			break
		}
	}
	return onward
}

// turns lists what a loop goes over, without what its condition leaves out.
func (r *run) turns(n *controlStructures.ForControlStructure, over *exec.Value, s *scope) []turn {
	if over.IsIterable() {
		r.elements(2 * over.Len())
	}
	var turns []turn
	over.Iterate(func(_, _ int, key, value *exec.Value) bool {
		t := turn{key, value}
		if n.Value != "" && key.IsList() && key.Len() == 2 {
			t = turn{key.Index(0), key.Index(1)}
		}
		if n.IfCondition != nil {
			inner := s.inner()
			t.bind(n, inner)
			if !r.eval(n.IfCondition, inner).IsTrue() {
				return true
			}
		}
		turns = append(turns, t)
		return true
	}, func() {})
	return turns
}

// turn is one turn of a loop: an element, or the two values it is unpacked to.
type turn struct{ key, value *exec.Value }

func (t turn) bind(n *controlStructures.ForControlStructure, s *scope) {
	s.vars[n.Key] = t.key
	if t.value != nil {
		s.vars[n.Value] = t.value
	}
}

func (t turn) item() *exec.Value {
	if t.value != nil {
		return exec.AsValue(list{t.key.Interface(), t.value.Interface()})
	}
	return t.key
}

// loopInfo is the variable loop.
type loopInfo struct {
	run          *run
	turns        []turn
	index, depth int
	last         *exec.Value // of changed()
}

// GetAttribute implements exec.AttributeGetter.
func (l *loopInfo) GetAttribute(name string) (*exec.Value, bool) {
	n := len(l.turns)
	switch name {
	case "index":
		return exec.AsValue(l.index + 1), true
	case "index0":
		return exec.AsValue(l.index), true
	case "revindex":
		return exec.AsValue(n - l.index), true
	case "revindex0":
		return exec.AsValue(n - l.index - 1), true
	case "first":
		return exec.AsValue(l.index == 0), true
	case "last":
		return exec.AsValue(l.index == n-1), true
	case "length":
		return exec.AsValue(n), true
	case "depth":
		return exec.AsValue(l.depth), true
	case "depth0":
		return exec.AsValue(l.depth - 1), true
	case "previtem":
		return l.neighbour(l.index - 1), true
	case "nextitem":
		return l.neighbour(l.index + 1), true
	case "cycle":
		return exec.AsValue(function(l.cycle)), true
	case "changed":
		return exec.AsValue(function(l.changed)), true
	}
	return exec.AsValue(nil), false
}

func (l *loopInfo) neighbour(i int) *exec.Value {
	if i < 0 || i >= len(l.turns) {
		return exec.AsValue(nil)
	}
	return l.turns[i].item()
}

func (l *loopInfo) cycle(args *exec.VarArgs) (any, error) {
	if len(args.Args) == 0 {
		return nil, errors.New("loop.cycle() without values")
	}
	return args.Args[l.index%len(args.Args)], nil
}

func (l *loopInfo) changed(args *exec.VarArgs) (any, error) {
	current := list{}
	for _, a := range args.Args {
		current = append(current, a.Interface())
	}
	now := exec.AsValue(current)
	l.run.walk(now)
	if l.last != nil {
		l.run.walk(l.last)
	}
	same := l.last != nil && now.EqualValueTo(l.last)
	l.last = now
	return !same, nil
}
