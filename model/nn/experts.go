package nn

import (
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Experts is vLLM's FusedMoE: of its experts, each token goes through the few that
// are chosen by its router logits, and what they return is added up by weight.
type Experts struct {
	Base
	Experts []Expert
	Routing Routing        // chooses them
	Act     Activation     // between the two products
	Gate    Module         // makes the router logits where vLLM's experts call it themselves; nil where they are given
	Shared  *SharedExperts // whose result vLLM's experts of 2026 add to theirs; nil where there are none, or the block adds it

	// ScaleInput says that the weight of the only expert chosen goes on its first
	// product, and not on the second (apply_router_weight_on_input).
	ScaleInput bool
	// InPlace says that the result is written over the hidden states.
	InPlace bool
	// Like says what transformers' class of it has otherwise.
	Like TransformersExperts
}

// Expert is the weights of one: W13 are gate and up, one after another (2I, H), in as
// many parts as the checkpoint has them, and W2 (H, I).
type Expert struct {
	W13 []PackedWeight
	W2  PackedWeight
}

// NewExperts makes the module of a name and a class.
func NewExperts(name string, spec *topology.Spec, routing Routing, act Activation, experts ...Expert) *Experts {
	return &Experts{Base: NewBase(name, spec), Experts: experts, Routing: routing, Act: act}
}

// Forward maps hidden (T, H) and router logits (T, E) to (T, H). What vLLM's experts of
// 2026 (fused_moe/runner/moe_runner.py) make by calling other modules, the router logits
// and what the shared experts return, they may be given as well: a replay does, so
// that they are computed by themselves.
func (m *Experts) Forward(s *Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	var logits, shared *tensor.Tensor
	if len(in) > 1 {
		logits = in.Tensor(1)
	} else {
		logits = One(s.Call(m.Gate, hidden))
	}
	if m.Shared == nil {
		return m.Mix(s, hidden, logits)
	}
	if len(in) > 2 {
		shared = in.Tensor(2)
	} else {
		s.Call(m.Shared, hidden, noOverlap)
	}
	routed := m.Mix(s, hidden, logits)
	if shared == nil {
		s.Call(m.Shared, hidden, multiStreamOverlapped)
		shared = m.Shared.take(s)
	}
	return s.Add(shared, routed)
}

// Mix computes the chosen experts and their sum.
func (m *Experts) Mix(s *Step, hidden, logits *tensor.Tensor) *tensor.Tensor {
	out := s.ops.(mixtures).experts(hidden, logits, m)
	if !m.InPlace {
		return out
	}
	to, from := rowsOf(hidden), rowsOf(out)
	for i := range to.n {
		copy(to.bytes(i), from.bytes(i))
	}
	return hidden
}

// Inputs are the hidden states, the router logits and, where there are shared experts,
// what these return.
func (m *Experts) Inputs() []Input {
	h, _ := m.Experts[0].W2.Weight.Shape()
	in := []Input{Hidden(h), Hidden(len(m.Experts))}
	if m.Shared != nil {
		in = append(in, Hidden(h))
	}
	return in
}

// Params are the weights and biases of all experts.
func (m *Experts) Params() []Param {
	var list []Param
	for e := range m.Experts {
		x := &m.Experts[e]
		for i, p := range x.W13 {
			name := p.Name
			if name == "" {
				name = "w13"
				if len(x.W13) > 1 {
					name = [...]string{"w1", "w3"}[i]
				}
			}
			list = append(list, p.params(strconv.Itoa(e)+"."+name+".")...)
		}
		list = append(list, x.W2.params(strconv.Itoa(e)+".w2.")...)
	}
	return list
}

// mixtures are the kernels of Experts.
type mixtures interface {
	// experts maps hidden (T, H) and router logits (T, E) to a new (T, H).
	experts(hidden, logits *tensor.Tensor, m *Experts) *tensor.Tensor
}

var _, _ mixtures = (*ops[float32])(nil), (*ops[float64])(nil)
