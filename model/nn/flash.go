package nn

import (
	"math"

	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/internal/kernel"
)

// flash is the online softmax of FlashAttention for the query heads of one row
// that share keys and values (csrc/flash_attn/src/softmax.h).
type flash[F real] struct {
	*ops[F]
	group, d int
	scale    F   // of the scores, times log2(e): exponentials are powers of two
	q, acc   []F // (group, D)
	s        []F // (group, block): scores, then exponentials
	max, sum []F // (group,)
}

func (a *flash[F]) reset() {
	clear(a.acc)
	clear(a.sum)
	for g := range a.max {
		a.max[g] = F(math.Inf(-1))
	}
}

// visit adds a block of n keys and values (n, D).
func (a *flash[F]) visit(keys, vals []F, n int) {
	s := a.s[:a.group*n]
	clear(s)
	a.gemm(blas.Trans, a.group, n, a.d, a.q, a.d, keys, a.d, s, n)
	for g := range a.group {
		row := s[g*n:][:n]
		m := max(a.max[g], kernel.Max(row))
		if math.IsInf(float64(m), -1) {
			m = 0 // as the kernel does: every exponential is then 0, not NaN
		}
		keep := exp2((a.max[g] - m) * a.scale)
		a.max[g] = m
		kernel.Exp2Scaled(row, a.scale, -F(m*a.scale))
		a.sum[g] = F(a.sum[g]*keep) + kernel.Sum(row)
		kernel.Scale(a.acc[g*a.d:][:a.d], keep)
	}
	a.round(s)
	a.gemm(blas.NoTrans, a.group, a.d, n, s, n, vals, a.d, a.acc, a.d)
}

// finish divides by the sums.
func (a *flash[F]) finish() {
	for g, l := range a.sum {
		kernel.Scale(a.acc[g*a.d:][:a.d], 1/l)
	}
}

func exp2[F real](x F) F { return F(kernel.Exp2(float64(x))) }
