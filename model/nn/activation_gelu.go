package nn

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// GeluAndMul is vLLM's GeluAndMul with the approximation by tanh.
type GeluAndMul struct {
	Base
	Width int // I
}

// NewGeluAndMul makes the module of a name and a class.
func NewGeluAndMul(name string, spec *topology.Spec, width int) *GeluAndMul {
	return &GeluAndMul{NewBase(name, spec), width}
}

// Forward maps [gate | up] (T, 2I) to gelu(gate)*up (T, I).
func (m *GeluAndMul) Forward(s *Step, in il.Tuple) il.Value {
	return s.ops.(gelus).geluAndMul(in.Tensor(0))
}

// Inputs are gate and up, one after the other.
func (m *GeluAndMul) Inputs() []Input { return []Input{Hidden(2 * m.Width)} }

// gelus are the kernels of GeluAndMul.
type gelus interface {
	// geluAndMul maps (T, 2I) to a new (T, I).
	geluAndMul(x *tensor.Tensor) *tensor.Tensor
}

var _, _ gelus = (*ops[float32])(nil), (*ops[float64])(nil)

// geluAndMul computes r(r(gelu(gate)) * up) (vLLM csrc/activation_kernels.cu
// gelu_tanh_kernel).
func (o *ops[F]) geluAndMul(x *tensor.Tensor) *tensor.Tensor {
	src := rowsOf(x)
	n := src.width / 2
	out := tensor.New(o.dtype, src.n, n)
	o.parallel(src.n, func() func(int) {
		row := make([]F, 2*n)
		return func(i int) {
			o.load(row, o.dtype, src.bytes(i))
			gate, up := row[:n], row[n:]
			for j, x := range gate {
				gate[j] = geluTanh(x)
			}
			o.round(gate)
			kernel.Mul(gate, up)
			o.store(rowsOf(out).bytes(i), o.dtype, gate)
		}
	})
	return out
}

// geluTanh is 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), the hyperbolic tangent being
// rounded to F before it meets one, as the kernels have it: of a large negative x that is
// most of the error.
func geluTanh[F real](x F) F {
	const root = 2 / (math.Sqrt2 * math.SqrtPi)
	cube := F(F(x*x) * x)
	inner := F(root * (x + F(0.044715*cube)))
	return F(F(0.5*x) * (1 + F(tanhOf(float64(inner)))))
}

// deviation of gelu(gate) * up: a kernel may round the first factor.
func (m *GeluAndMul) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	x := rowsOf(in.Tensor(0))
	d.byRows(o, func() noiseRow {
		row := make([]float32, x.width)
		return func(i int, y0, v []float32) {
			o.load(row, o.dtype, x.bytes(i))
			gate, up := row[:len(y0)], row[len(y0):]
			for j, g := range gate {
				gelu, up := geluTanh(float64(g)), float64(up[j])
				last := float64(g) * 0x1p-25 * up // half a last place of a tangent next to -1
				y0[j], v[j] = float32(float64(gelu*up)), float32(d.rounding(gelu, up)+float64(last*last))
			}
		}
	})
}
