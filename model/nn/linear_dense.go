package nn

import (
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// Dense is a weight (out, in) in a floating-point type, contiguous. A product
// is exact, one chain in float32 (or float64) over the input dimension.
type Dense struct{ Weight *tensor.Tensor }

// Shape is the number of output and of input values.
func (d Dense) Shape() (out, in int) { return d.Weight.Shape[0], d.Weight.Shape[1] }

// Rows is the weight of outputs lo to hi-1 alone.
func (d Dense) Rows(lo, hi int) LinearMethod { return Dense{d.Weight.Narrow(0, lo, hi)} }

// Params is the weight.
func (d Dense) Params() []Param { return []Param{{"weight", d.Weight}} }

func (d Dense) row(o *ops[float32], dst []float32, i int) { o.weights(dst, d.Weight, i*len(dst)) }

func (d Dense) rowBytes() int { return d.Weight.Shape[1] * d.Weight.DType.Size() }

func (d Dense) times32(o *ops[float32], x []float32, t int) product[float32] {
	return dense(o, d.Weight, x, t)
}

func (d Dense) times64(o *ops[float64], x []float64, t int) product[float64] {
	return dense(o, d.Weight, x, t)
}

func dense[F real](o *ops[F], w *tensor.Tensor, x []F, t int) product[F] {
	k := w.Shape[1]
	return func(y []F, lo, hi int) {
		width := hi - lo
		o.matmul(y, width, x, k, t, width, k, o.stored(w, lo*k, width*k), false)
	}
}

// stored is a run of a weight's elements as the kernel takes them.
func (o *ops[F]) stored(w *tensor.Tensor, start, n int) kernel.Weights {
	es := w.DType.Size()
	lo := (w.Offset + start) * es
	as := o.dtype
	if as == tensor.Float64 { // holds every value
		as = tensor.Invalid
	}
	return kernel.Weights{Data: w.Data[lo : lo+n*es], DType: w.DType, As: as}
}
