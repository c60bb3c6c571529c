package kernel

import "fmt"

// MatMul32 computes y = x Wᵀ, or y += x Wᵀ if accumulate is set: y (m, n) with
// rows ldy elements apart, x (m, k) with rows ldx apart, W (n, k) in the type
// it is stored in, widened on the way. An element of y is one chain of fused
// multiply-adds in float32 over increasing k, from 0 or from y on; a NaN is
// the positive quiet one. It runs on the calling goroutine: split n, in
// multiples of 128 where possible, to use more. It packs x once a call, so
// with many rows a part should have a few hundred columns. It panics if a
// slice is too short for its shape.
func MatMul32(y []float32, ldy int, x []float32, ldx, m, n, k int, w Weights, accumulate bool) {
	checkMatMul(len(y), ldy, len(x), ldx, m, n, k, w)
	product32(m, n, k, matrix[float32]{values: x, ld: ldx}, matrix[float32]{weights: w, ld: k}, y, ldy, accumulate)
}

// MatMul64 is MatMul32 in float64.
func MatMul64(y []float64, ldy int, x []float64, ldx, m, n, k int, w Weights, accumulate bool) {
	checkMatMul(len(y), ldy, len(x), ldx, m, n, k, w)
	product64(m, n, k, matrix[float64]{values: x, ld: ldx}, matrix[float64]{weights: w, ld: k}, y, ldy, accumulate)
}

func checkMatMul(ly, ldy, lx, ldx, m, n, k int, w Weights) {
	switch {
	case m < 0 || n < 0 || k < 0:
		panic(fmt.Sprintf("kernel: a product of shape (%d, %d, %d)", m, n, k))
	case ldy < n || ldx < k:
		panic(fmt.Sprintf("kernel: rows of y %d apart and of x %d: expected at least %d and %d", ldy, ldx, n, k))
	case !w.DType.IsFloat():
		panic("kernel: weights of type " + w.DType.String())
	case len(w.Data) < n*k*w.DType.Size():
		panic(fmt.Sprintf("kernel: %d bytes of weights: expected %d", len(w.Data), n*k*w.DType.Size()))
	case m > 0 && n > 0 && (ly < (m-1)*ldy+n || lx < (m-1)*ldx+k):
		panic(fmt.Sprintf("kernel: y of %d and x of %d elements: expected %d and %d", ly, lx, (m-1)*ldy+n, (m-1)*ldx+k))
	}
}
