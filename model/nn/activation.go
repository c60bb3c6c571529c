package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// SiluAndMul is vLLM's SiluAndMul.
type SiluAndMul struct {
	Base
	Width int // I
}

// NewSiluAndMul makes the module of a name.
func NewSiluAndMul(name string, width int) *SiluAndMul {
	return &SiluAndMul{NewBase(name, topology.SiluAndMul), width}
}

// Forward maps [gate | up] (T, 2I) to silu(gate)*up (T, I).
func (m *SiluAndMul) Forward(s *Step, in il.Tuple) il.Value { return s.SiluAndMul(in.Tensor(0)) }

// Inputs are gate and up, one after the other.
func (m *SiluAndMul) Inputs() []Input { return []Input{Hidden(2 * m.Width)} }
