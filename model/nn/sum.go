package nn

import (
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// Add returns r(x + y), both (T, H): PyTorch's sum of two tensors, for residuals
// that no norm adds.
func (n Numerics) Add(x, y *tensor.Tensor) *tensor.Tensor { return n.ops.(sums).add(x, y) }

// Mul returns r(x * y), both of one shape: PyTorch's product of two tensors.
func (n Numerics) Mul(x, y *tensor.Tensor) *tensor.Tensor { return n.ops.(sums).mul(x, y) }

// Times returns r(x * factor), the factor in float32 as torch takes a number of Python's
// beside a tensor of a half type.
func (n Numerics) Times(x *tensor.Tensor, factor float64) *tensor.Tensor {
	return n.ops.(sums).times(x, factor)
}

// Rounded is a number as a tensor of the model's dtype holds it that was made of a float32.
func (n Numerics) Rounded(x float64) float64 {
	t := tensor.New(n.DType(), 1)
	tensor.StoreFloat64(t.Data, t.DType, []float64{float64(float32(x))})
	v := []float64{0}
	tensor.LoadFloat64(v, t.DType, t.Data)
	return v[0]
}

// sums are the kernels of sums and multiples outside modules.
type sums interface {
	add(x, y *tensor.Tensor) *tensor.Tensor
	mul(x, y *tensor.Tensor) *tensor.Tensor
	times(x *tensor.Tensor, factor float64) *tensor.Tensor
}

var _, _ sums = (*ops[float32])(nil), (*ops[float64])(nil)

func (o *ops[F]) add(x, y *tensor.Tensor) *tensor.Tensor { return o.combined(x, y, kernel.Add[F]) }
func (o *ops[F]) mul(x, y *tensor.Tensor) *tensor.Tensor { return o.combined(x, y, kernel.Mul[F]) }

// combined rounds what f makes of the rows of two tensors.
func (o *ops[F]) combined(x, y *tensor.Tensor, f func(a, b []F)) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	xr, yr, dst := rowsOf(x), rowsOf(y), rowsOf(out)
	o.parallel(xr.n, func() func(int) {
		a, b := make([]F, xr.width), make([]F, xr.width)
		return func(i int) {
			o.load(a, o.dtype, xr.bytes(i))
			o.load(b, o.dtype, yr.bytes(i))
			f(a, b)
			o.store(dst.bytes(i), o.dtype, a)
		}
	})
	return out
}

func (o *ops[F]) times(x *tensor.Tensor, factor float64) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	src, dst := rowsOf(x), rowsOf(out)
	o.parallel(src.n, func() func(int) {
		row := make([]F, src.width)
		return func(i int) {
			o.load(row, x.DType, src.bytes(i))
			kernel.Scale(row, F(factor))
			o.store(dst.bytes(i), o.dtype, row)
		}
	})
	return out
}
