package nn

import "github.com/ilref/ilref/tensor"

// rows gives access to the rows of a tensor whose last dimension is dense:
// (T, H), or (T, n, D) seen as T*n rows of D.
type rows struct {
	t     *tensor.Tensor
	n     int // rows
	width int // elements a row
}

func rowsOf(t *tensor.Tensor) rows {
	last := len(t.Shape) - 1
	n := 1
	for _, s := range t.Shape[:last] {
		n *= s
	}
	return rows{t, n, t.Shape[last]}
}

// bytes returns the storage of row i.
func (r rows) bytes(i int) []byte {
	pos := r.t.Offset
	for d := len(r.t.Shape) - 2; d >= 0; d-- {
		pos += i % r.t.Shape[d] * r.t.Stride[d]
		i /= r.t.Shape[d]
	}
	es := r.t.DType.Size()
	return r.t.Data[pos*es : (pos+r.width)*es]
}
