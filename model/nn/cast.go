package nn

import "github.com/ilref/ilref/tensor"

// Float returns x (T, n*D) as (T*n, D) in float32, as torch's float() of a reshaped
// tensor does; float64 stays what it is.
func (n Numerics) Float(x *tensor.Tensor, headDim int) *tensor.Tensor {
	d := tensor.Float32
	if n.DType() == tensor.Float64 {
		d = tensor.Float64
	}
	y := n.ops.(casts).cast(x, d)
	y.Shape = []int{x.Shape[0] * x.Shape[1] / headDim, headDim}
	y.Stride = tensor.ContiguousStride(y.Shape)
	return y
}

// Half returns x (T*n, D) as (T, width) in the model's dtype.
func (n Numerics) Half(x *tensor.Tensor, width int) *tensor.Tensor {
	y := n.ops.(casts).cast(x, n.DType())
	y.Shape = []int{x.Numel() / width, width}
	y.Stride = tensor.ContiguousStride(y.Shape)
	return y
}

// Tempered returns r(q * t) with a factor for each position (vLLM models/llama4.py
// _get_attn_scale; transformers modeling_llama4.py): attention over longer contexts is
// sharper.
func (n Numerics) Tempered(q, positions *tensor.Tensor, by Temperature) *tensor.Tensor {
	return n.ops.(casts).tempered(q, positions, by)
}

// Temperature is ln(floor((position+1) / Floor) + 1) * Scale + 1.
type Temperature struct{ Floor, Scale float64 }

// casts are the kernels of casts, and of products by a factor a row.
type casts interface {
	cast(x *tensor.Tensor, to tensor.DType) *tensor.Tensor
	tempered(q, positions *tensor.Tensor, by Temperature) *tensor.Tensor
}

var _, _ casts = (*ops[float32])(nil), (*ops[float64])(nil)

func (o *ops[F]) cast(x *tensor.Tensor, to tensor.DType) *tensor.Tensor {
	out := tensor.New(to, x.Shape...)
	src, dst := rowsOf(x), rowsOf(out)
	o.parallel(src.n, func() func(int) {
		row := make([]F, src.width)
		return func(i int) {
			o.load(row, x.DType, src.bytes(i))
			o.store(dst.bytes(i), to, row)
		}
	})
	return out
}
