package chat

import (
	"errors"
	"fmt"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"

	controlStructures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
)

// namespace is what namespace() makes: the one kind of value that changes.
type namespace map[string]any

// functions are what a template can call.
func (r *run) functions() map[string]function {
	return map[string]function{
		"namespace": func(args *exec.VarArgs) (any, error) {
			r.elements(len(args.KwArgs))
			ns := namespace{}
			for name, v := range args.KwArgs {
				ns[name] = v.Interface()
			}
			return ns, nil
		},
		"range": r.pythonRange,
		"raise_exception": func(args *exec.VarArgs) (any, error) {
			r.fail(&Error{oneLine(r.print(args.First()))})
			return nil, nil
		},
		"strftime_now": func(args *exec.VarArgs) (any, error) {
			format := r.print(args.First())
			r.text(8 * len(format)) // «September» is the longest of two characters
			s, err := strftime(r.opts.Now, format)
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
		r.elements(1)
		l = append(l, i)
	}
	return l, nil
}

// statements are what the library parses. Macros and recursive loops are left
// out, and so is all that reads other files.
func (r *run) statements() map[string]parser.ControlStructureParser {
	out := map[string]parser.ControlStructureParser{"generation": generation, "raw": raw, "set": set}
	for _, name := range []string{"if", "for", "break", "continue"} {
		parse, _ := controlStructures.All.Get(name)
		out[name] = func(p, args *parser.Parser) (nodes.ControlStructure, error) {
			s, err := parse(p, args)
			if f, ok := s.(*controlStructures.ForControlStructure); ok && f.Recursive {
				return nil, errors.New("a recursive for loop is not supported")
			}
			return s, err
		}
	}
	return out
}

// setStatement is {% set x = … %}, or {% set x %}…{% endset %}.
type setStatement struct {
	at                                 *tokens.Token
	target                             nodes.Expression
	expression, condition, alternative nodes.Expression
	body                               *nodes.Wrapper
}

func (s *setStatement) Position() *tokens.Token { return s.at }
func (s *setStatement) String() string          { return "set" }

func set(p, args *parser.Parser) (nodes.ControlStructure, error) {
	s := &setStatement{at: p.Current()}
	var err error
	if s.target, err = args.ParseVariableOrLiteral(); err != nil {
		return nil, err
	}
	switch s.target.(type) {
	case *nodes.Name, *nodes.GetAttribute:
	default:
		return nil, errors.New("a set statement is for a name, or an attribute of a namespace")
	}
	if args.Match(tokens.Assign) == nil {
		if !args.End() {
			return nil, args.Error("Expected '=' or the end of the tag", args.Current())
		}
		s.body, _, err = p.WrapUntil("endset")
		return s, err
	}
	if s.expression, err = args.ParseExpression(); err != nil {
		return nil, err
	}
	if s.condition, s.alternative, err = args.ParseCondition(); err != nil {
		return nil, err
	}
	if s.condition != nil && s.alternative == nil || !args.End() {
		return nil, args.Error("Malformed set tag", args.Current())
	}
	return s, nil
}

// rawBlock is text that is no template.
type rawBlock struct {
	at   *tokens.Token
	body *nodes.Wrapper
}

func (b *rawBlock) Position() *tokens.Token { return b.at }
func (b *rawBlock) String() string          { return "raw" }

func raw(p, args *parser.Parser) (nodes.ControlStructure, error) {
	body, _, err := p.WrapUntil("endraw")
	if err == nil && !args.End() {
		err = args.Error("raw takes no arguments", args.Current())
	}
	return &rawBlock{at: p.Current(), body: body}, err
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
