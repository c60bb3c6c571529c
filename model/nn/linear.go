package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Linear is vLLM's QKVParallelLinear, MergedColumnParallelLinear and
// RowParallelLinear and ReplicatedLinear: y = x Wᵀ + b, the weight being the rows of several
// checkpoint tensors one after another.
type Linear struct {
	Base
	Parts []PackedWeight
}

// PackedWeight is one checkpoint tensor of a packed linear.
type PackedWeight struct {
	Name   string         // under which the checkpoint holds it, "q_proj"; "" where that is the module's
	Weight LinearMethod   // (out, in)
	Bias   *tensor.Tensor // (out,) or nil
}

// NewLinear makes the module of a name and a class.
func NewLinear(name string, spec *topology.Spec, parts ...PackedWeight) *Linear {
	return &Linear{Base: NewBase(name, spec), Parts: parts}
}

// Forward maps (T, in) to the tuple ((T, sum of out), None), or to the tensor alone
// where that is what its class returns (torch.nn.Linear).
func (m *Linear) Forward(s *Step, in il.Tuple) il.Value {
	y := s.Linear(in.Tensor(0), m.Parts)
	if m.Spec().Single {
		return y
	}
	return il.Tuple{y, nil}
}

// Inputs are the activations.
func (m *Linear) Inputs() []Input {
	_, in := m.Parts[0].Weight.Shape()
	return []Input{Hidden(in)}
}

// Params are the weights and biases of the parts.
func (m *Linear) Params() []Param {
	var list []Param
	for _, p := range m.Parts {
		prefix := ""
		if p.Name != "" {
			prefix = p.Name + "."
		}
		list = append(list, p.params(prefix)...)
	}
	return list
}

// params are the weight and the bias, under names with a prefix.
func (p *PackedWeight) params(prefix string) []Param {
	var list []Param
	for _, w := range p.Weight.Params() {
		list = append(list, Param{prefix + w.Name, w.Tensor})
	}
	if p.Bias != nil {
		list = append(list, Param{prefix + "bias", p.Bias})
	}
	return list
}
