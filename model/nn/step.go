// Package nn holds the modules of vLLM's decoder models and their arithmetic.
//
// A module is called through Step.Call, which fires the hooks as PyTorch's
// Module.__call__ does, so a forward pass reads like the paper and logging is
// in no formula. Activations are tensors of the model's dtype, and the modules
// write in place where vLLM's kernels do: what a hook sees, and when, is what
// it sees there.
package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Hooks are the forward pre-hook and the forward hook of every module. Pre may
// replace tensors among the arguments.
type Hooks interface {
	Pre(module string, args il.Tuple) il.Tuple
	Post(module string, args il.Tuple, out il.Value)
}

// NoHooks logs nothing.
type NoHooks struct{}

// Pre returns the arguments.
func (NoHooks) Pre(_ string, args il.Tuple) il.Tuple { return args }

// Post does nothing.
func (NoHooks) Post(string, il.Tuple, il.Value) {}

// Step is one forward pass over a batch of T tokens, the rows of the requests
// one after another.
type Step struct {
	Numerics
	Hooks   Hooks
	Compute Computation // of every module; nil = its Forward
	Spans   []Span      // the requests' rows, ascending; a row in no span is padding

	shared map[*SharedExperts]*tensor.Tensor // what they have computed and not returned
}

// Span is the rows of one request in a step.
type Span struct {
	Lo, Hi int    // rows Lo to Hi-1 of the batch
	Cache  *Cache // the request's keys and values so far, before this step's rows
}

// Computation computes a module.
type Computation func(s *Step, m Module, in il.Tuple) il.Value

func (s *Step) compute(m Module, in il.Tuple) il.Value {
	if s.Compute != nil {
		return s.Compute(s, m, in)
	}
	return m.Forward(s, in)
}

// Call is PyTorch's Module.__call__. Hooks do not see the arguments of a module
// whose class is called with keywords.
func (s *Step) Call(m Module, args ...il.Value) il.Value {
	if m.Spec().Keyword {
		s.Hooks.Pre(m.Name(), il.Tuple{})
		out := s.compute(m, args)
		s.Hooks.Post(m.Name(), il.Tuple{}, out)
		return out
	}
	seen := Seen(m, args)
	in := s.Hooks.Pre(m.Name(), seen)
	out := s.compute(m, append(in[:len(in):len(in)], args[len(seen):]...))
	s.Hooks.Post(m.Name(), in, out)
	return out
}

// Seen are the arguments of a module that hooks see: those by position.
func Seen(m Module, args il.Tuple) il.Tuple {
	switch spec := m.Spec(); {
	case spec.Keyword:
		return il.Tuple{}
	case spec.Positional > 0:
		return args[:spec.Positional]
	}
	return args
}
