package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
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
	s.ops.(ropes).rotate(m.Rope, m.HeadDim, positions, q, k)
	return il.Tuple{q, k}
}

// Inputs are positions, q and k.
func (m *Rotary) Inputs() []Input {
	return []Input{Ints(), Hidden(m.Heads * m.HeadDim), Hidden(m.KVHeads * m.HeadDim)}
}

// ropes are the kernels of Rotary.
type ropes interface {
	// rotate turns the heads of q and k in place.
	rotate(rope Rope, headDim int, positions, q, k *tensor.Tensor)
}

var _, _ ropes = (*ops[float32])(nil), (*ops[float64])(nil)

// rotate turns each pair (x, y) = (x[j], x[j+Dim/2]), or (x[2j], x[2j+1]), of each head to
// (x*cos - y*sin, y*cos + x*sin), in the order of operations and with the
// rounding of vLLM's csrc/pos_encoding_kernels.cu and of transformers'
// apply_rotary_pos_emb.
func (o *ops[F]) rotate(rope Rope, headDim int, positions, q, k *tensor.Tensor) {
	pos, _ := positions.Ints() // checked against the model before the step
	tables := o.tablesFor(rope, pos)
	half, es, r := rope.Dim/2, o.dtype.Size(), o.ropePoints(rope).products
	o.parallel(len(pos), func() func(int) {
		x, pairs := make([]F, rope.Dim), make([]F, rope.Dim)
		t := make([]F, 4*half)
		return func(i int) {
			cos, sin := tables[i].cos[pos[i]*half:][:half], tables[i].sin[pos[i]*half:][:half]
			for _, m := range []*tensor.Tensor{q, k} {
				row := rowsOf(m).bytes(i)
				for h := 0; h < m.Shape[1]; h += headDim {
					head := row[h*es:][:rope.Dim*es]
					o.load(x, o.dtype, head)
					for j := range half {
						a, b := rope.pair(j)
						pairs[j], pairs[half+j] = x[a], x[b]
					}
					rotateHead(pairs[:half], pairs[half:], cos, sin, t, r)
					for j := range half {
						a, b := rope.pair(j)
						x[a], x[b] = pairs[j], pairs[half+j]
					}
					o.store(head, o.dtype, x)
				}
			}
		}
	})
}

// tablesFor returns the table of each row. The rows of a request are those
// whose positions follow one another.
func (o *ops[F]) tablesFor(rope Rope, pos []int) []*ropeTable[F] {
	tables := make([]*ropeTable[F], len(pos))
	for lo := 0; lo < len(pos); {
		hi := lo + 1
		for hi < len(pos) && pos[hi] == pos[hi-1]+1 {
			hi++
		}
		n := pos[hi-1] + 1
		inForce := rope
		if s, ok := rope.Scaling.(lengthened); ok {
			inForce = s.at(rope, n)
		}
		t := o.table(inForce, n)
		for ; lo < hi; lo++ {
			tables[lo] = t
		}
	}
	return tables
}

// rotateHead turns one head; t is scratch for its four products, which r rounds.
func rotateHead[F real](x, y, cos, sin, t []F, r func([]F)) {
	n := len(x)
	xc, ys, yc, xs := t[:n], t[n:2*n], t[2*n:3*n], t[3*n:]
	for j := range n {
		xc[j], ys[j], yc[j], xs[j] = F(x[j]*cos[j]), F(y[j]*sin[j]), F(y[j]*cos[j]), F(x[j]*sin[j])
	}
	r(t)
	for j := range n {
		x[j], y[j] = xc[j]-ys[j], yc[j]+xs[j]
	}
}
