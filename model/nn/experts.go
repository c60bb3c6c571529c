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
	Routing Routing    // chooses them
	Act     Activation // between the two products
	Gate    Module     // makes the router logits where vLLM's experts call it themselves; nil where they are given

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

// Forward maps hidden (T, H) and router logits (T, E) to (T, H). Where the experts
// have the gate, they are given the hidden states in the place of logits (vLLM's
// fused_moe/runner/moe_runner.py).
func (m *Experts) Forward(s *Step, in il.Tuple) il.Value {
	return m.Mix(s, in.Tensor(0), m.logits(s, in))
}

// logits are the router's: given, or made here.
func (m *Experts) logits(s *Step, in il.Tuple) *tensor.Tensor {
	if m.Gate == nil {
		return in.Tensor(1)
	}
	return One(s.Call(m.Gate, in.Tensor(0)))
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

// Inputs are the hidden states and the router logits.
func (m *Experts) Inputs() []Input {
	h, _ := m.Experts[0].W2.Weight.Shape()
	if m.Gate != nil {
		return []Input{Hidden(h), Hidden(h)}
	}
	return []Input{Hidden(h), Hidden(len(m.Experts))}
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
