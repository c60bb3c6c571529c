package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// UnitNorm is vLLM's RMSNorm without a weight (has_weight=False), over rows of one head.
// Llama 4 gives it float32, whatever the model's dtype is, and gets float32 back.
type UnitNorm struct {
	Base
	Width int // D
	Eps   float64
}

// NewUnitNorm makes the module of a name and a class.
func NewUnitNorm(name string, spec *topology.Spec, width int, eps float64) *UnitNorm {
	return &UnitNorm{NewBase(name, spec), width, eps}
}

// Forward maps x (N, D) to a new tensor of its type.
func (m *UnitNorm) Forward(s *Step, in il.Tuple) il.Value {
	return s.ops.(unitNorms).unitNorm(in.Tensor(0), m)
}

// Inputs is x, which is float32 beside a half type.
func (m *UnitNorm) Inputs() []Input { return []Input{{Width: m.Width, Wide: true}} }

// unitNorms are the kernels of UnitNorm.
type unitNorms interface {
	unitNorm(x *tensor.Tensor, m *UnitNorm) *tensor.Tensor
}

var _, _ unitNorms = (*ops[float32])(nil), (*ops[float64])(nil)

func (o *ops[F]) unitNorm(x *tensor.Tensor, m *UnitNorm) *tensor.Tensor {
	out := tensor.New(x.DType, x.Shape...)
	src, dst := rowsOf(x), rowsOf(out)
	o.parallel(src.n, func() func(int) {
		row := make([]F, src.width)
		return func(i int) {
			o.load(row, x.DType, src.bytes(i))
			kernel.Scale(row, rsqrt(kernel.SumSquares(row)/F(len(row))+F(m.Eps)))
			o.store(dst.bytes(i), x.DType, row)
		}
	})
	return out
}
