package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// LatentRotary is the rope of latent attention: vLLM's DeepseekScalingRotaryEmbedding, or
// RotaryEmbedding where there is no scaling. It is given the last part of each head's
// query (T, nh, Dim) and the key of all heads (T, 1, Dim), and turns pairs of neighbours
// (x[2j], x[2j+1]). One object serves all layers.
type LatentRotary struct {
	Base
	Heads int
	Rope  Rope
}

// NewLatentRotary makes the module of a name.
func NewLatentRotary(name string, spec *topology.Spec, rope Rope, heads int) *LatentRotary {
	return &LatentRotary{Base: NewBase(name, spec), Heads: heads, Rope: rope}
}

// Forward rotates q (T, nh, Dim) and k (T, 1, Dim) by positions (T,) int64, in place unless
// the rope says otherwise, and returns both.
func (m *LatentRotary) Forward(s *Step, in il.Tuple) il.Value {
	positions, q, k := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if m.Rope.OutOfPlace {
		q, k = q.Clone(), k.Clone()
	}
	for _, x := range []*tensor.Tensor{q, k} {
		s.ops.(latentRopes).rotatePairs(m.Rope, positions, x)
	}
	return il.Tuple{q, k}
}

// Inputs are positions, q and k.
func (m *LatentRotary) Inputs() []Input {
	return []Input{Ints(), Hidden(m.Rope.Dim), Hidden(m.Rope.Dim)}
}

// latentRopes are the kernels of LatentRotary.
type latentRopes interface {
	// rotatePairs turns the heads of x (T, n, Dim) in place.
	rotatePairs(rope Rope, positions, x *tensor.Tensor)
}

var _, _ latentRopes = (*ops[float32])(nil), (*ops[float64])(nil)

// rotatePairs turns each pair (x[2j], x[2j+1]) as rotate turns (x[j], x[j+Dim/2]).
func (o *ops[F]) rotatePairs(rope Rope, positions, x *tensor.Tensor) {
	pos, _ := positions.Ints()
	tables := o.tablesFor(rope, pos)
	half, heads, r := rope.Dim/2, x.Shape[1], o.ropePoints(rope).products
	dst := rowsOf(x)
	o.parallel(len(pos), func() func(int) {
		pairs, a, b, t := make([]F, rope.Dim), make([]F, half), make([]F, half), make([]F, 4*half)
		return func(i int) {
			cos, sin := tables[i].cos[pos[i]*half:][:half], tables[i].sin[pos[i]*half:][:half]
			for h := range heads {
				row := dst.bytes(i*heads + h)
				o.load(pairs, o.dtype, row)
				for j := range half {
					a[j], b[j] = pairs[2*j], pairs[2*j+1]
				}
				rotateHead(a, b, cos, sin, t, r)
				for j := range half {
					pairs[2*j], pairs[2*j+1] = a[j], b[j]
				}
				o.store(row, o.dtype, pairs)
			}
		}
	})
}
