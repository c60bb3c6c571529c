package kernel

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/blas/gonum"
)

// Implementation is gonum's BLAS with the matrix product replaced by one that
// keeps the contract of this package. Importing the package makes it the
// implementation behind blas32 and blas64.
type Implementation struct{ gonum.Implementation }

var (
	_ blas.Float32 = Implementation{}
	_ blas.Float64 = Implementation{}
)

func init() {
	blas32.Use(Implementation{})
	blas64.Use(Implementation{})
}

// Sgemm computes C = alpha * op(A) * op(B) + beta * C, op(A) m×k, op(B) k×n.
// With alpha 1 and beta 0 or 1 an element is one chain of fused multiply-adds
// in increasing k that starts from beta*c, so a product over k may be cut into
// consecutive calls without changing a bit.
func (Implementation) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if !checkGemm(tA, tB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc) {
		return
	}
	// The operands are widened once; a float64 product of float32 is exact.
	aw := pack(make([]float64, m*k), a, m, k, lda, tA != blas.NoTrans)
	bw := pack(make([]float64, n*k), b, n, k, ldb, tB == blas.NoTrans)
	for i := range m {
		row, out := aw[i*k:][:k], c[i*ldc:][:n]
		j := 0
		for ; j+4 <= n; j += 4 {
			var s [4]float64
			start(s[:], out[j:], alpha, beta)
			chain4(&s, row, bw[j*k:][:k], bw[(j+1)*k:][:k], bw[(j+2)*k:][:k], bw[(j+3)*k:][:k])
			finish(out[j:], s[:], alpha, beta)
		}
		for ; j < n; j++ {
			var s [1]float64
			start(s[:], out[j:], alpha, beta)
			s[0] = chain1(s[0], row, bw[j*k:][:k])
			finish(out[j:], s[:], alpha, beta)
		}
	}
}

// Dgemm is Sgemm for float64.
func (Implementation) Dgemm(tA, tB blas.Transpose, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	if !checkGemm(tA, tB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc) {
		return
	}
	aw, bw := a, b
	if tA != blas.NoTrans || lda != k {
		aw = pack(make([]float64, m*k), a, m, k, lda, tA != blas.NoTrans)
	}
	if tB == blas.NoTrans || ldb != k {
		bw = pack(make([]float64, n*k), b, n, k, ldb, tB == blas.NoTrans)
	}
	for i := range m {
		row, out := aw[i*k:][:k], c[i*ldc:][:n]
		j := 0
		for ; j+4 <= n; j += 4 {
			var s [4]float64
			start(s[:], out[j:], alpha, beta)
			dchain4(&s, row, bw[j*k:][:k], bw[(j+1)*k:][:k], bw[(j+2)*k:][:k], bw[(j+3)*k:][:k])
			finish(out[j:], s[:], alpha, beta)
		}
		for ; j < n; j++ {
			var s [1]float64
			start(s[:], out[j:], alpha, beta)
			s[0] = dchain1(s[0], row, bw[j*k:][:k])
			finish(out[j:], s[:], alpha, beta)
		}
	}
}

// checkGemm panics on arguments that gonum refuses too, before any work, and
// reports whether there is anything to compute.
func checkGemm(tA, tB blas.Transpose, m, n, k, la, lda, lb, ldb, lc, ldc int) bool {
	rowsA, colsA := shape(tA, m, k, "blas: illegal transpose of A")
	rowsB, colsB := shape(tB, k, n, "blas: illegal transpose of B")
	switch {
	case m < 0:
		panic("blas: m < 0")
	case n < 0:
		panic("blas: n < 0")
	case k < 0:
		panic("blas: k < 0")
	case lda < max(1, colsA):
		panic("blas: bad leading dimension of A")
	case ldb < max(1, colsB):
		panic("blas: bad leading dimension of B")
	case ldc < max(1, n):
		panic("blas: bad leading dimension of C")
	}
	if m == 0 || n == 0 {
		return false
	}
	switch {
	case la < (rowsA-1)*lda+colsA:
		panic("blas: insufficient length of a")
	case lb < (rowsB-1)*ldb+colsB:
		panic("blas: insufficient length of b")
	case lc < (m-1)*ldc+n:
		panic("blas: insufficient length of c")
	}
	return true
}

func shape(t blas.Transpose, r, c int, bad string) (rows, cols int) {
	switch t {
	case blas.NoTrans:
		return r, c
	case blas.Trans, blas.ConjTrans:
		return c, r
	}
	panic(bad)
}

// pack copies a matrix of rows vectors of length k into consecutive rows,
// widened. transposed says that src holds it as k×rows.
func pack[F float32 | float64](dst []float64, src []F, rows, k, ld int, transposed bool) []float64 {
	for r := range rows {
		out := dst[r*k:][:k]
		if transposed {
			for i := range out {
				out[i] = float64(src[i*ld+r])
			}
			continue
		}
		for i, v := range src[r*ld:][:k] {
			out[i] = float64(v)
		}
	}
	return dst
}

// start sets the head of each chain: c itself where the product continues one.
func start[F float32 | float64](s []float64, c []F, alpha, beta F) {
	if alpha == 1 && beta == 1 {
		for j := range s {
			s[j] = float64(c[j])
		}
	}
}

// finish stores alpha*s + beta*c, each operation rounded to F.
func finish[F float32 | float64](c []F, s []float64, alpha, beta F) {
	for j, v := range s {
		f := F(v)
		switch {
		case alpha == 1 && (beta == 0 || beta == 1): // the chain is the result
		case beta == 0:
			f = F(alpha * f)
		default:
			f = F(F(alpha*f) + F(beta*c[j]))
		}
		c[j] = f
	}
}
