package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// RMSNorm is vLLM's RMSNorm.
type RMSNorm struct {
	Base
	Weight *tensor.Tensor // (H,)
	Eps    float64
	Fused  bool // its caller gives it the residual too
}

// NewRMSNorm makes the module of a name and a class. Fused says that its caller
// gives it the residual too.
func NewRMSNorm(name string, spec *topology.Spec, weight *tensor.Tensor, eps float64, fused bool) *RMSNorm {
	return &RMSNorm{Base: NewBase(name, spec), Weight: weight, Eps: eps, Fused: fused}
}

// Forward maps x (…, H) to a new tensor of its shape. With a residual (T, H)
// it is vLLM's fused_add_rms_norm, in place: residual += x, x = norm(residual),
// and returns both.
func (m *RMSNorm) Forward(s *Step, in il.Tuple) il.Value {
	x := in.Tensor(0)
	if !m.Fused {
		return s.RMSNorm(x, m.Weight, m.Eps)
	}
	residual := in.Tensor(1)
	s.AddRMSNorm(x, residual, m.Weight, m.Eps)
	return il.Tuple{x, residual}
}

// Inputs are x and, where it is fused, the residual.
func (m *RMSNorm) Inputs() []Input {
	h := Hidden(m.Weight.Shape[0])
	if m.Fused {
		return []Input{h, h}
	}
	return []Input{h}
}

// Params is the weight.
func (m *RMSNorm) Params() []Param { return []Param{{"weight", m.Weight}} }
