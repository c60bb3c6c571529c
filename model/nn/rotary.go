package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// Rotary is vLLM's RotaryEmbedding, one object for all layers with the same
// rope.
type Rotary struct {
	Base
	Heads, KVHeads, HeadDim int
	Rope                    Rope
}

// NewRotary makes the module of a name for heads of a shape.
func NewRotary(name string, rope Rope, shape AttentionShape) *Rotary {
	return &Rotary{Base: NewBase(name, topology.RotaryEmbedding), Heads: shape.Heads, KVHeads: shape.KVHeads, HeadDim: shape.HeadDim, Rope: rope}
}

// Forward rotates q (T, nh*D) and k (T, nkv*D) by positions (T,) int64, in
// place unless the rope says otherwise, and returns both.
func (m *Rotary) Forward(s *Step, in il.Tuple) il.Value {
	positions, q, k := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if m.Rope.OutOfPlace {
		q, k = q.Clone(), k.Clone()
	}
	s.Rotate(m.Rope, m.HeadDim, positions, q, k)
	return il.Tuple{q, k}
}

// Inputs are positions, q and k.
func (m *Rotary) Inputs() []Input {
	return []Input{Ints(), Hidden(m.Heads * m.HeadDim), Hidden(m.KVHeads * m.HeadDim)}
}
