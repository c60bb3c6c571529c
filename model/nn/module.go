package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Module is one entry of the module tree. Every implementation embeds [Base],
// and says for itself what it computes and of what.
type Module interface {
	// Name is the dotted name under which vLLM registers the module.
	Name() string
	// Spec is the class of the module: how hooks see it.
	Spec() *topology.Spec
	// Children returns the modules registered in it, in that order.
	Children() []Module
	// Sources tells where argument i is found when the module's own call did
	// not record it, the best first.
	Sources(i, call int) []Source

	// Forward computes the module for the arguments that vLLM gives it.
	Forward(s *Step, in il.Tuple) il.Value
	// Inputs describes those arguments.
	Inputs() []Input
	// Params returns the weights of the module itself, without its children's.
	Params() []Param

	base() *Base // that Base alone has
}

// Param is a weight of a module, under the name that it has in the module:
// "weight", or "q_proj.weight" where vLLM packs several tensors into one.
type Param struct {
	Name   string
	Tensor *tensor.Tensor
}

// Input describes an argument of a module.
type Input struct {
	Width int      // last dimension of a tensor of activations
	Wide  bool     // activations that an engine may keep in float32 beside a half type
	Ints  bool     // integers (T,) instead
	Fixed bool     // the model's, in every call: Value
	Value il.Value // None, or a module
}

// Ints describes integers (T,): ids or positions.
func Ints() Input { return Input{Ints: true} }

// Hidden describes activations (T, width).
func Hidden(width int) Input { return Input{Width: width} }

// Residual describes a residual stream (T, width).
func Residual(width int) Input { return Input{Width: width, Wide: true} }

// Fixed describes an argument that is the same in every call; nil is None.
func Fixed(v il.Value) Input { return Input{Fixed: true, Value: v} }

// Source is a tensor that is equal to an argument of another module by the way
// of the data.
type Source struct {
	Module Module
	Call   int  // of the module in a step
	Any    bool // the tensor is the same in every call
	Output bool // it is what the module returns, not what it is given
	Index  int  // of the argument or the result
	Lo, Hi int  // columns of it; both 0 for all
	taker  int  // the call that is given it

	// Compute says that a result that is not recorded may be computed from the
	// recorded arguments of its module.
	Compute bool

	// Flat says that its last dimensions are one: heads that were apart.
	Flat bool
	// Make makes the tensor of others, Parts, in the place of all the above but Module.
	Make  func(parts []*tensor.Tensor) *tensor.Tensor
	Parts []Source
	// Made is what is made of it outside any module; nil for nothing. with is the first
	// of With that is found.
	Made func(s *Step, x, with *tensor.Tensor) *tensor.Tensor
	With []Source
}

// Base is what every module embeds: its name, its class, and the modules that
// are registered in it.
type Base struct {
	name     string
	spec     *topology.Spec
	children []Module
	sources  map[int][]Source
	uses     int // how often it is registered
}

// NewBase is a module of a name and a class, with nothing in it.
func NewBase(name string, spec *topology.Spec) Base { return Base{name: name, spec: spec} }

// Name is the dotted name under which vLLM registers the module.
func (b *Base) Name() string { return b.name }

// Spec is the class of the module.
func (b *Base) Spec() *topology.Spec { return b.spec }

// Children returns the modules registered in it, in that order.
func (b *Base) Children() []Module { return b.children }

// Params returns none: of a module that only chains others.
func (b *Base) Params() []Param { return nil }

// Sources tells what [Give] said of argument i of a call.
func (b *Base) Sources(i, call int) []Source {
	if b.uses <= 1 { // whatever call it is
		return b.sources[i]
	}
	var list []Source
	for _, s := range b.sources[i] {
		if s.taker == call {
			list = append(list, s)
		}
	}
	return list
}

func (b *Base) base() *Base { return b }

// Register adds a child, as assigning a module to an attribute does in PyTorch.
// A child may be registered in several modules: it keeps its name.
func (b *Base) Register(child Module) {
	b.children = append(b.children, child)
	child.base().uses++
}

// List adds a child that the module holds and never calls.
func (b *Base) List(child Module) { b.children = append(b.children, child) }

// Give says where argument i of the module just registered comes from. Whoever
// wires modules together calls it for what hooks may not have recorded.
func Give(m Module, i int, from ...Source) {
	b := m.base()
	if b.sources == nil {
		b.sources = map[int][]Source{}
	}
	for _, s := range from {
		s.taker = b.call()
		b.sources[i] = append(b.sources[i], s)
	}
}

// Argument is what the module just registered is given as argument i.
func Argument(of Module, i int) Source {
	return Source{Module: of, Call: of.base().call(), Index: i}
}

// Result is what the module just registered returns at place i.
func Result(of Module, i int) Source {
	return Source{Module: of, Call: of.base().call(), Output: true, Index: i}
}

// Columns is columns lo to hi-1 of the tensor.
func (s Source) Columns(lo, hi int) Source {
	s.Lo, s.Hi = lo, hi
	return s
}

// Made is a tensor that is made of others. Its module, for messages, is that of the first.
func Made(f func(parts []*tensor.Tensor) *tensor.Tensor, parts ...Source) Source {
	return Source{Module: parts[0].Module, Make: f, Parts: parts}
}

// Computed is the result, computed where it is not recorded.
func (s Source) Computed() Source {
	s.Compute = true
	return s
}

// call is the call of a module by whoever registered it last: each that holds
// a shared module calls it once, in the order of registration.
func (b *Base) call() int { return max(b.uses-1, 0) }

// Named returns modules and all that is inside them, parents first, as PyTorch's
// named_modules does: an object that is registered twice is listed at the first.
func Named(modules ...Module) []Module {
	var list []Module
	seen := map[Module]bool{}
	var walk func([]Module)
	walk = func(modules []Module) {
		for _, m := range modules {
			if !seen[m] {
				seen[m] = true
				list = append(list, m)
				walk(m.Children())
			}
		}
	}
	walk(modules)
	return list
}

// One is the result of a module that returns a tensor, or a tensor and None.
func One(v il.Value) *tensor.Tensor {
	if t, ok := v.(il.Tuple); ok {
		return t.Tensor(0)
	}
	return v.(*tensor.Tensor)
}

// Two is the result of a module that returns two tensors.
func Two(v il.Value) (a, b *tensor.Tensor) {
	t := v.(il.Tuple)
	return t.Tensor(0), t.Tensor(1)
}
