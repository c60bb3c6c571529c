package nn

import (
	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/tensor"
)

// Transposed is a weight in a floating-point type that is stored as (in, out), its last
// dimension dense: experts that checkpoints hold as (E, in, out). A product is that of
// Dense to the bit; the weight is widened piece by piece and not copied as a whole.
type Transposed struct{ Weight *tensor.Tensor }

// Shape is the number of output and of input values.
func (d Transposed) Shape() (out, in int) { return d.Weight.Shape[1], d.Weight.Shape[0] }

// Rows is the weight of outputs lo to hi-1 alone.
func (d Transposed) Rows(lo, hi int) LinearMethod { return Transposed{d.Weight.Narrow(1, lo, hi)} }

// Params is the weight as it is stored.
func (d Transposed) Params() []Param { return []Param{{"weight", d.Weight}} }

func (d Transposed) row(o *ops[float32], dst []float32, i int) {
	w := d.Weight
	for k := range dst {
		o.weights(dst[k:k+1], w, k*w.Stride[0]+i)
	}
}

func (d Transposed) rowBytes() int { return d.Weight.Shape[0] * d.Weight.DType.Size() }

func (d Transposed) times32(o *ops[float32], x []float32, t int) product[float32] {
	return transposed(o, d.Weight, x, t)
}

func (d Transposed) times64(o *ops[float64], x []float64, t int) product[float64] {
	return transposed(o, d.Weight, x, t)
}

// transposed goes on with the chain of every element from piece to piece of k.
func transposed[F real](o *ops[F], w *tensor.Tensor, x []F, t int) product[F] {
	const depth = 64
	k := w.Shape[0]
	return func(y []F, lo, hi int) {
		n := hi - lo
		clear(y[:t*n])
		piece := make([]F, min(depth, k)*n)
		for from := 0; from < k; from += depth {
			rows := min(depth, k-from)
			for r := range rows {
				o.weights(piece[r*n:][:n], w, (from+r)*w.Stride[0]+lo)
			}
			o.gemm(blas.NoTrans, t, n, rows, x[from:], k, piece, n, y, n)
		}
	}
}
