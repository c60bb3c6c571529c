package nn

import (
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// CosSin is transformers' RotaryEmbedding: cosines and sines of the positions, which the
// attentions of all layers turn queries and keys by.
type CosSin struct {
	Base
	Hidden, HeadDim int
	Rope            Rope
	Float           bool // what it returns stays float32 beside a half type (Olmo2RotaryEmbedding)
}

// NewCosSin makes the module of a name and a class.
func NewCosSin(name string, spec *topology.Spec, rope Rope, hidden, headDim int, float bool) *CosSin {
	return &CosSin{NewBase(name, spec), hidden, headDim, rope, float}
}

// Forward maps (hidden, positions (1, T)) to cos and sin (1, T, D), both halves the same.
func (m *CosSin) Forward(s *Step, in il.Tuple) il.Value {
	cos, sin := s.ops.(tables).cosSin(m.Rope, in.Tensor(1), m.Float)
	return il.Tuple{cos, sin}
}

// Inputs are the hidden states, of which only the type matters, and positions.
func (m *CosSin) Inputs() []Input { return []Input{Hidden(m.Hidden), Ints()} }

// tables are the kernels of CosSin.
type tables interface {
	cosSin(rope Rope, positions *tensor.Tensor, float bool) (cos, sin *tensor.Tensor)
	// turned is x (…, n*D) with each head turned by cos and sin (…, D).
	turned(x, cos, sin *tensor.Tensor, headDim int) *tensor.Tensor
}

var _, _ tables = (*ops[float32])(nil), (*ops[float64])(nil)

// cosSin takes the angles of transformers' forward: a position times a frequency, both in
// float32, and what it returns in the model's dtype or in float32.
func (o *ops[F]) cosSin(rope Rope, positions *tensor.Tensor, float bool) (cos, sin *tensor.Tensor) {
	pos, _ := positions.Ints() // checked against the model before the step
	dtype := o.dtype
	if float && dtype.Size() == 2 {
		dtype = tensor.Float32
	}
	shape := append(slices.Clone(positions.Shape), rope.Dim)
	cos, sin = tensor.New(dtype, shape...), tensor.New(dtype, shape...)
	half, es := rope.Dim/2, dtype.Size()
	inv := rope.InvFreq(func(x float64) float64 { return float64(F(x)) })
	c, s := make([]F, half), make([]F, half)
	factor, mscale := max(rope.PositionFactor, 1), F(rope.MScale)
	if mscale == 0 {
		mscale = 1
	}
	for i, p := range pos {
		if l, ok := rope.Scaling.(lengthened); ok {
			inv = l.at(rope, slices.Max(pos)+1).InvFreq(func(x float64) float64 { return float64(F(x)) })
		}
		at := float64(F(float64(p) / factor))
		for j, f := range inv {
			y, x := kernel.Sincos(float64(F(at * f)))
			c[j], s[j] = F(x)*mscale, F(y)*mscale
		}
		for k := range 2 {
			o.store(rowsOf(cos).bytes(i)[k*half*es:], dtype, c)
			o.store(rowsOf(sin).bytes(i)[k*half*es:], dtype, s)
		}
	}
	return cos, sin
}

// Turned is q*cos + rotate_half(q)*sin of each head, as torch computes it: in the type of the
// cosines, each operation rounding what it returns, and then in x's.
func (n Numerics) Turned(x, cos, sin *tensor.Tensor, headDim int) *tensor.Tensor {
	return n.ops.(tables).turned(x, cos, sin, headDim)
}

func (o *ops[F]) turned(x, cos, sin *tensor.Tensor, headDim int) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	xr, dst, cr, sr := rowsOf(x), rowsOf(out), rowsOf(cos), rowsOf(sin)
	half, r := cr.width/2, o.round
	if cos.DType != o.dtype { // float32
		r = exact[F]
	}
	o.parallel(xr.n, func() func(int) {
		row, c, s, t := make([]F, xr.width), make([]F, half), make([]F, half), make([]F, 4*half)
		return func(i int) {
			o.load(row, o.dtype, xr.bytes(i))
			o.load(c, cos.DType, cr.bytes(i)[:half*cos.DType.Size()])
			o.load(s, sin.DType, sr.bytes(i)[:half*sin.DType.Size()])
			for h := 0; h < len(row); h += headDim {
				rotateHead(row[h:][:half], row[h+half:][:half], c, s, t, r)
			}
			o.store(dst.bytes(i), o.dtype, row)
		}
	})
	return out
}
