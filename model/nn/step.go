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

// Module is one entry of the module tree.
type Module interface {
	// Name is the dotted name under which vLLM registers the module.
	Name() string
	// Forward computes the module for the arguments that vLLM gives it.
	Forward(s *Step, in il.Tuple) il.Value
	// Inputs describes those arguments.
	Inputs() []Input
	// Children returns the modules inside it, in the order in which vLLM's
	// constructor registers them.
	Children() []Module
	// Holds returns the attention that the module is or holds, whose keys and
	// values a forward pass extends, nil for none.
	Holds() *Attention
	// ByKeyword reports that vLLM calls the module with keyword arguments,
	// which hooks do not see.
	ByKeyword() bool
}

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
	Hooks Hooks
	Spans []Span // the requests' rows, ascending; a row in no span is padding
}

// Span is the rows of one request in a step.
type Span struct {
	Lo, Hi int    // rows Lo to Hi-1 of the batch
	Cache  *Cache // the request's keys and values so far, before this step's rows
}

// Call is PyTorch's Module.__call__ with positional arguments.
func (s *Step) Call(m Module, args ...il.Value) il.Value {
	in := s.Hooks.Pre(m.Name(), args)
	out := m.Forward(s, in)
	s.Hooks.Post(m.Name(), in, out)
	return out
}

// CallKwargs is PyTorch's Module.__call__ with keyword arguments, which hooks
// do not see.
func (s *Step) CallKwargs(m Module, args ...il.Value) il.Value {
	s.Hooks.Pre(m.Name(), il.Tuple{})
	out := m.Forward(s, args)
	s.Hooks.Post(m.Name(), il.Tuple{}, out)
	return out
}

// one is the result of a module that returns a tensor, or a tensor and None.
func one(v il.Value) *tensor.Tensor {
	if t, ok := v.(il.Tuple); ok {
		return t.Tensor(0)
	}
	return v.(*tensor.Tensor)
}

// two is the result of a module that returns two tensors.
func two(v il.Value) (a, b *tensor.Tensor) {
	t := v.(il.Tuple)
	return t.Tensor(0), t.Tensor(1)
}

// name is embedded in every module. What it answers is true of a leaf without
// state; other modules answer for themselves. Inputs it leaves to each.
type name string

func (n name) Name() string     { return string(n) }
func (name) Children() []Module { return nil }
func (name) Holds() *Attention  { return nil }
func (name) ByKeyword() bool    { return false }
