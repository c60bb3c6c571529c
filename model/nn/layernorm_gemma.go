package nn

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// GemmaRMSNorm is vLLM's GemmaRMSNorm: the weight on disk is what is added to one, and
// nothing is written in place.
type GemmaRMSNorm struct {
	Base
	Weight *tensor.Tensor // (H,)
	Eps    float64
	Fused  bool // its caller gives it the residual too
}

// NewGemmaRMSNorm makes the module of a name and a class. Fused says that its caller
// gives it the residual too.
func NewGemmaRMSNorm(name string, spec *topology.Spec, weight *tensor.Tensor, eps float64, fused bool) *GemmaRMSNorm {
	return &GemmaRMSNorm{NewBase(name, spec), weight, eps, fused}
}

// Forward maps x (…, H) to a new tensor of its shape; with a residual (T, H) to that of
// their sum, and the sum.
func (m *GemmaRMSNorm) Forward(s *Step, in il.Tuple) il.Value {
	x := in.Tensor(0)
	if !m.Fused {
		y, _ := s.ops.(gemmaNorms).gemmaNorm(x, nil, m)
		return y
	}
	y, sum := s.ops.(gemmaNorms).gemmaNorm(x, in.Tensor(1), m)
	return il.Tuple{y, sum}
}

// Inputs are x and, where it is fused, the residual.
func (m *GemmaRMSNorm) Inputs() []Input {
	h := m.Weight.Shape[0]
	if m.Fused {
		return []Input{Hidden(h), Hidden(h)}
	}
	return []Input{Hidden(h)}
}

// Params is the weight.
func (m *GemmaRMSNorm) Params() []Param { return []Param{{"weight", m.Weight}} }

// gemmaNorms are the kernels of GemmaRMSNorm.
type gemmaNorms interface {
	// gemmaNorm normalises x + residual, or x where there is none, into a new tensor, and
	// returns the sum too.
	gemmaNorm(x, residual *tensor.Tensor, m *GemmaRMSNorm) (y, sum *tensor.Tensor)
}

var _, _ gemmaNorms = (*ops[float32])(nil), (*ops[float64])(nil)

// gemmaNorm computes r((z*s) * (1+w)) with s = 1/sqrt(mean(z^2) + eps), in float32 up to
// its result (vLLM layers/layernorm.py). z is the sum as the profile has it: rounded
// (GemmaRMSNorm.forward_native, v0.10.2; transformers, whose sum is an operation of its own),
// or not (ir/ops/layernorm.py fused_add_rms_norm, since 2026-06-04).
func (o *ops[F]) gemmaNorm(x, residual *tensor.Tensor, m *GemmaRMSNorm) (y, sum *tensor.Tensor) {
	y = tensor.New(o.dtype, x.Shape...)
	xr, yr := rowsOf(x), rowsOf(y)
	var rr, sr rows
	if residual != nil {
		sum = tensor.New(o.dtype, x.Shape...)
		rr, sr = rowsOf(residual), rowsOf(sum)
	}
	w := make([]F, xr.width)
	o.weights(w, m.Weight, 0)
	for j := range w {
		w[j]++
	}
	o.parallel(xr.n, func() func(int) {
		row, res := make([]F, xr.width), make([]F, xr.width)
		return func(i int) {
			o.load(row, x.DType, xr.bytes(i))
			if residual != nil {
				o.load(res, residual.DType, rr.bytes(i))
				kernel.Add(row, res)
				o.store(sr.bytes(i), o.dtype, row)
				o.points.sum(row)
			}
			normalize(row, w, m.Eps, exact[F])
			o.store(yr.bytes(i), o.dtype, row)
		}
	})
	return y, sum
}

// deviation of (1+w) * z/rms(z): an engine may round the sum before it normalises it.
func (m *GemmaRMSNorm) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	x := rowsOf(in.Tensor(0))
	var residual rows
	if m.Fused {
		residual = rowsOf(in.Tensor(1))
	}
	w := make([]float32, x.width)
	o.weights(w, m.Weight, 0)
	d.byRows(o, func() noiseRow {
		add := make([]float32, x.width)
		return func(i int, y0, v []float32) {
			o.load(y0, x.t.DType, x.bytes(i))
			if m.Fused {
				o.load(add, residual.t.DType, residual.bytes(i))
				for j := range y0 {
					y0[j] += add[j]
				}
			}
			if d.result == 1 {
				return
			}
			squares := 0.
			for _, z := range y0 {
				squares += float64(z) * float64(z)
			}
			s := 1 / math.Sqrt(squares/float64(len(y0))+m.Eps)
			for j, z := range y0 {
				weight := (1 + float64(w[j])) * s
				if m.Fused {
					v[j] = float32(d.rounding(float64(z), weight))
				}
				y0[j] = float32(float64(z) * weight)
			}
		}
	})
}
