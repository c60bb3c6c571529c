package nn

import (
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// Halved is a weight (out, in) of rotated heads whose pairs stand side by side in the
// checkpoint, and that vLLM loads with the first of all pairs of a head before the second
// (models/llama4.py permute_qk_weight_for_rotary). The rows stay where they are: a product
// gathers those of its task. It is that of Dense to the bit.
type Halved struct {
	Weight  *tensor.Tensor
	HeadDim int
}

// Shape is the number of output and of input values.
func (d Halved) Shape() (out, in int) { return d.Weight.Shape[0], d.Weight.Shape[1] }

// Rows is the weight of outputs lo to hi-1 alone, which are whole heads.
func (d Halved) Rows(lo, hi int) LinearMethod {
	return Halved{d.Weight.Narrow(0, lo, hi), d.HeadDim}
}

// Params is the weight as it is stored.
func (d Halved) Params() []Param { return []Param{{"weight", d.Weight}} }

// from is the row of the checkpoint that is output i.
func (d Halved) from(i int) int {
	head, j, half := i/d.HeadDim*d.HeadDim, i%d.HeadDim, d.HeadDim/2
	return head + j%half*2 + j/half
}

func (d Halved) row(o *ops[float32], dst []float32, i int) {
	o.weights(dst, d.Weight, d.from(i)*len(dst))
}

func (d Halved) rowBytes() int { return d.Weight.Shape[1] * d.Weight.DType.Size() }

func (d Halved) times32(o *ops[float32], x []float32, t int) product[float32] {
	return halved(o, d, x, t)
}

func (d Halved) times64(o *ops[float64], x []float64, t int) product[float64] {
	return halved(o, d, x, t)
}

func halved[F real](o *ops[F], d Halved, x []F, t int) product[F] {
	k, size := d.Weight.Shape[1], d.rowBytes()
	all := o.stored(d.Weight, 0, d.Weight.Shape[0]*k)
	return func(y []F, lo, hi int) {
		rows := kernel.Weights{Data: make([]byte, (hi-lo)*size), DType: all.DType, As: all.As}
		for i := lo; i < hi; i++ {
			copy(rows.Data[(i-lo)*size:][:size], all.Data[d.from(i)*size:])
		}
		o.matmul(y, hi-lo, x, k, t, hi-lo, k, rows, false)
	}
}
