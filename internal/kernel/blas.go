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
	gemm(product32, tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// Dgemm is Sgemm for float64.
func (Implementation) Dgemm(tA, tB blas.Transpose, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	if !checkGemm(tA, tB, m, n, k, len(a), lda, len(b), ldb, len(c), ldc) {
		return
	}
	gemm(product64, tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// gemm scales the chains, each operation rounded to F.
func gemm[F real](product func(m, n, k int, a, b matrix[F], c []F, ldc int, load bool), tA, tB blas.Transpose, m, n, k int, alpha F, a []F, lda int, b []F, ldb int, beta F, c []F, ldc int) {
	am := matrix[F]{values: a, ld: lda, kMajor: tA != blas.NoTrans}
	bm := matrix[F]{values: b, ld: ldb, kMajor: tB == blas.NoTrans}
	if alpha == 1 && (beta == 0 || beta == 1) {
		product(m, n, k, am, bm, c, ldc, beta == 1)
		return
	}
	s := make([]F, m*n)
	product(m, n, k, am, bm, s, n, false)
	for i := range m {
		row := c[i*ldc:][:n]
		for j, f := range s[i*n:][:n] {
			f = F(alpha * f)
			if beta != 0 {
				f += F(beta * row[j])
			}
			row[j] = f
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
