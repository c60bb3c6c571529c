package nn

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// LayerNorm is the one of vLLM's models/commandr.py: with a mean, without a bias, and
// given and returning a residual that it leaves alone.
type LayerNorm struct {
	Base
	Weight *tensor.Tensor // (H,), or (heads, D), a row for each head
	Eps    float64
}

// NewLayerNorm makes the module of a name and a class.
func NewLayerNorm(name string, spec *topology.Spec, weight *tensor.Tensor, eps float64) *LayerNorm {
	return &LayerNorm{NewBase(name, spec), weight, eps}
}

// Forward maps x (T, H), or (T, heads, D), to the tuple of a new tensor of its shape and
// the residual, None where there is none.
func (m *LayerNorm) Forward(s *Step, in il.Tuple) il.Value {
	out := il.Tuple{s.ops.(layerNorms).layerNorm(in.Tensor(0), m), nil}
	if len(in) > 1 {
		out[1] = in[1]
	}
	return out
}

// Inputs are x and, of the norms of layers, the residual.
func (m *LayerNorm) Inputs() []Input {
	h := m.Weight.Shape[len(m.Weight.Shape)-1]
	if len(m.Weight.Shape) > 1 {
		return []Input{Hidden(h)}
	}
	return []Input{Residual(h), Residual(h)}
}

// Params is the weight.
func (m *LayerNorm) Params() []Param { return []Param{{"weight", m.Weight}} }

// layerNorms are the kernels of LayerNorm.
type layerNorms interface {
	// layerNorm normalises the last dimension of x into a new tensor.
	layerNorm(x *tensor.Tensor, m *LayerNorm) *tensor.Tensor
}

var _, _ layerNorms = (*ops[float32])(nil), (*ops[float64])(nil)

// layerNorm computes r(w * ((x-mean) * 1/sqrt(mean((x-mean)^2) + eps))), in float32 up to
// its result (vLLM models/commandr.py layer_norm_func; transformers modeling_cohere2.py).
func (o *ops[F]) layerNorm(x *tensor.Tensor, m *LayerNorm) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	src, dst := rowsOf(x), rowsOf(out)
	weights := make([]F, m.Weight.Numel())
	o.weights(weights, m.Weight, 0)
	o.parallel(src.n, func() func(int) {
		row := make([]F, src.width)
		return func(i int) {
			o.load(row, x.DType, src.bytes(i))
			mean := kernel.Sum(row) / F(src.width)
			for j := range row {
				row[j] -= mean
			}
			kernel.Scale(row, rsqrt(kernel.SumSquares(row)/F(src.width)+F(m.Eps)))
			kernel.Mul(row, rowOfWeights(weights, i, src.width))
			o.store(dst.bytes(i), o.dtype, row)
		}
	})
	return out
}

// rowOfWeights are those of row i of x: the same for all, or those of a head.
func rowOfWeights[F real](weights []F, i, width int) []F {
	return weights[i*width%len(weights):][:width]
}

// deviation of w * (x-mean)/deviation: float32 up to its result, so that what is rounded
// is the result; the mean is of sums that any kernel groups as it likes.
func (m *LayerNorm) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	x := rowsOf(in.Tensor(0))
	weights := make([]float32, m.Weight.Numel())
	o.weights(weights, m.Weight, 0)
	d.byRows(o, func() noiseRow {
		return func(i int, y0, v []float32) {
			if d.result == 1 { // handed on
				o.load(y0, o.dtype, rowsOf(in.Tensor(1)).bytes(i))
				return
			}
			o.load(y0, x.t.DType, x.bytes(i))
			mean, squares := 0., 0.
			for _, x := range y0 {
				mean += float64(x)
			}
			mean /= float64(len(y0))
			for _, x := range y0 {
				squares += (float64(x) - mean) * (float64(x) - mean)
			}
			s := 1 / math.Sqrt(squares/float64(len(y0))+m.Eps)
			w := rowOfWeights(weights, i, len(y0))
			for j, x := range y0 {
				y0[j] = float32((float64(x) - mean) * s * float64(w[j]))
			}
		}
	})
}
