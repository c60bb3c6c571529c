package nn

import (
	"math"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// tempered multiplies in float32, each operation rounding to it, and rounds once.
func (o *ops[F]) tempered(q, positions *tensor.Tensor, by Temperature) *tensor.Tensor {
	pos, _ := positions.Ints() // checked against the model before the step
	out := tensor.New(o.dtype, q.Shape...)
	src, dst := rowsOf(q), rowsOf(out)
	o.parallel(src.n, func() func(int) {
		row := make([]F, src.width)
		return func(i int) {
			o.load(row, q.DType, src.bytes(i))
			steps := F(math.Floor(float64(F(pos[i]+1) / F(by.Floor))))
			kernel.Scale(row, F(F(kernel.Log(float64(steps+1)))*F(by.Scale))+1)
			o.store(dst.bytes(i), o.dtype, row)
		}
	})
	return out
}
