package chat

import (
	"errors"
	"fmt"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"

	controlStructures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
)

// environment is what a template can call.
func (r *run) environment() *exec.Environment {
	return &exec.Environment{
		Context:           exec.NewContext(r.functions()),
		Filters:           exec.NewFilterSet(r.filters()),
		Tests:             exec.NewTestSet(r.tests()),
		ControlStructures: exec.NewControlStructureSet(r.statements()),
		Methods:           r.methods(),
	}
}

func (r *run) functions() map[string]any {
	namespace, _ := builtins.GlobalFunctions.Get("namespace")
	return map[string]any{
		"namespace": namespace,
		"range":     r.pythonRange,
		"raise_exception": func(args *exec.VarArgs) (any, error) {
			r.fail(&Error{oneLine(args.First().String())})
			return nil, nil
		},
		"strftime_now": func(args *exec.VarArgs) (any, error) {
			s, err := strftime(r.opts.Now, args.First().String())
			if err != nil {
				r.fail(err)
			}
			return s, nil
		},
	}
}

func (r *run) pythonRange(args *exec.VarArgs) (any, error) {
	n := make([]int, len(args.Args))
	for i, a := range args.Args {
		if !a.IsInteger() {
			r.fail(fmt.Errorf("range(): expected integers, found %q", a.String()))
		}
		n[i] = a.Integer()
	}
	start, stop, step := 0, 0, 1
	switch len(n) {
	case 1:
		stop = n[0]
	case 2:
		start, stop = n[0], n[1]
	case 3:
		start, stop, step = n[0], n[1], n[2]
	}
	if len(n) < 1 || len(n) > 3 || step == 0 {
		r.fail(errors.New("range(): expected one to three integers, and a step that is not 0"))
	}
	l := list{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(l) == maxRange {
			r.fail(errTooMuch)
		}
		l = append(l, i)
	}
	return l, nil
}

// statements are the library's, counted. Macros and recursive loops are left
// out, for a recursion without end could not be stopped, and so is all that
// reads other files.
func (r *run) statements() map[string]parser.ControlStructureParser {
	out := map[string]parser.ControlStructureParser{"generation": generation}
	for _, name := range []string{"if", "for", "set", "break", "continue", "raw"} {
		parse, _ := controlStructures.All.Get(name)
		out[name] = func(p, args *parser.Parser) (nodes.ControlStructure, error) {
			s := &statement{run: r}
			if t := args.Current(); name == "set" && t != nil {
				s.target = t.Val
			}
			inner, err := parse(p, args)
			if err != nil {
				return nil, err
			}
			if f, ok := inner.(*controlStructures.ForControlStructure); ok && f.Recursive {
				return nil, errors.New("a recursive for loop is not supported")
			}
			s.ControlStructure = inner
			return s, nil
		}
	}
	return out
}

// statement counts the executions of a statement of the library, and bounds
// what set makes.
type statement struct {
	nodes.ControlStructure
	run    *run
	target string
}

// Execute implements exec.ControlStructure.
func (s *statement) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	s.run.step(1)
	if loop, ok := s.ControlStructure.(*controlStructures.ForControlStructure); ok {
		over := r.Eval(loop.ObjectEvaluator)
		if over.IsString() { // the library would go by bytes
			s.run.fail(errors.New("a for loop over the characters of a text is not supported"))
		}
		s.run.step(over.Len())
	}
	inner, ok := s.ControlStructure.(exec.ControlStructure)
	if !ok {
		return nil
	}
	if err := inner.Execute(r, tag); err != nil {
		return err
	}
	if s.target == "" {
		return nil
	}
	value, _ := r.Environment.Context.Get(s.target)
	v := exec.ToValue(value)
	if ns, ok := value.(map[string]any); ok { // a namespace
		for _, field := range ns {
			if tooLong(exec.ToValue(field)) {
				s.run.fail(errTooMuch)
			}
		}
	}
	if tooLong(v) {
		s.run.fail(errTooMuch)
	}
	if l, ok := asList(v); ok {
		r.Environment.Context.Set(s.target, l)
	}
	return nil
}

func tooLong(v *exec.Value) bool {
	return v.IsString() && len(v.String()) > maxOutput || v.IsList() && v.Len() > maxRange
}

// generation is transformers' mark of the assistant's turns: the text in it.
func generation(p, args *parser.Parser) (nodes.ControlStructure, error) {
	body, _, err := p.WrapUntil("endgeneration")
	if err != nil {
		return nil, err
	}
	return &generationBlock{at: p.Current(), body: body}, nil
}

type generationBlock struct {
	at   *tokens.Token
	body *nodes.Wrapper
}

func (g *generationBlock) Position() *tokens.Token { return g.at }
func (g *generationBlock) String() string          { return "generation" }

// Execute implements exec.ControlStructure.
func (g *generationBlock) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.ExecuteWrapper(g.body)
}
