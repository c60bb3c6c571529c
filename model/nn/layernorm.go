package nn

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// RMSNorm is vLLM's RMSNorm.
type RMSNorm struct {
	Base
	Weight *tensor.Tensor // (H,)
	Eps    float64
	Fused  bool // its caller gives it the residual too
	Float  bool // transformers' class multiplies by the weight in float32 (Olmo2RMSNorm)
}

// NewRMSNorm makes the module of a name and a class. Fused says that its caller
// gives it the residual too.
func NewRMSNorm(name string, spec *topology.Spec, weight *tensor.Tensor, eps float64, fused bool) *RMSNorm {
	return &RMSNorm{Base: NewBase(name, spec), Weight: weight, Eps: eps, Fused: fused}
}

// Forward maps x (…, H) to a new tensor of its shape. With a residual (T, H)
// it is vLLM's fused_add_rms_norm, in place: residual += x, x = norm(residual),
// and returns both. A residual stream in float32 beside a half type stays in
// float32.
func (m *RMSNorm) Forward(s *Step, in il.Tuple) il.Value {
	x := in.Tensor(0)
	if !m.Fused {
		return s.ops.(norms).rmsNorm(x, m)
	}
	residual := in.Tensor(1)
	s.ops.(norms).addRMSNorm(x, residual, m)
	return il.Tuple{x, residual}
}

// Inputs are x and, where it is fused, the residual.
func (m *RMSNorm) Inputs() []Input {
	h := m.Weight.Shape[0]
	if m.Fused {
		return []Input{Hidden(h), Residual(h)}
	}
	return []Input{Residual(h)}
}

// Params is the weight.
func (m *RMSNorm) Params() []Param { return []Param{{"weight", m.Weight}} }

// norms are the kernels of RMSNorm.
type norms interface {
	// rmsNorm normalises the last dimension of x into a new tensor.
	rmsNorm(x *tensor.Tensor, m *RMSNorm) *tensor.Tensor
	// addRMSNorm sets residual += x, x = norm(residual), both (T, H).
	addRMSNorm(x, residual *tensor.Tensor, m *RMSNorm)
}

var _, _ norms = (*ops[float32])(nil), (*ops[float64])(nil)

func (o *ops[F]) rmsNorm(x *tensor.Tensor, m *RMSNorm) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	src, dst := rowsOf(x), rowsOf(out)
	w := make([]F, src.width)
	o.weights(w, m.Weight, 0)
	o.parallel(src.n, func() func(int) {
		row := make([]F, src.width)
		return func(i int) {
			o.load(row, x.DType, src.bytes(i))
			normalize(row, w, m.Eps, o.pointsOf(m.Float).normed)
			o.store(dst.bytes(i), o.dtype, row)
		}
	})
	return out
}

// addRMSNorm normalises the rounded sum, as fused_add_rms_norm does; that of a
// residual in float32 has no rounding.
func (o *ops[F]) addRMSNorm(x, residual *tensor.Tensor, m *RMSNorm) {
	xr, rr := rowsOf(x), rowsOf(residual)
	w := make([]F, xr.width)
	o.weights(w, m.Weight, 0)
	o.parallel(xr.n, func() func(int) {
		row, res := make([]F, xr.width), make([]F, xr.width)
		return func(i int) {
			o.load(row, o.dtype, xr.bytes(i))
			o.load(res, residual.DType, rr.bytes(i))
			kernel.Add(row, res)
			if residual.DType == o.dtype {
				o.round(row) // z = r(x + residual)
			}
			o.store(rr.bytes(i), residual.DType, row)
			normalize(row, w, m.Eps, o.pointsOf(m.Float).normed)
			o.store(xr.bytes(i), o.dtype, row)
		}
	})
}

// normalize computes r(x*s) * w with s = 1/sqrt(mean(x^2) + eps)
// (vLLM csrc/layernorm_kernels.cu, transformers modeling_llama.py; the caller's
// store rounds the product).
func normalize[F real](x, w []F, eps float64, r func([]F)) {
	v := kernel.SumSquares(x)
	kernel.Scale(x, rsqrt(v/F(len(x))+F(eps)))
	r(x)
	kernel.Mul(x, w)
}

func rsqrt[F real](x F) F { return F(1 / math.Sqrt(float64(x))) }
