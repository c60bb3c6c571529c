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
		m := a.max[g]
		for _, x := range row {
			m = max(m, x)
		}
		if math.IsInf(float64(m), -1) {
			m = 0 // as the kernel does: every exponential is then 0, not NaN
		}
		keep := exp2((a.max[g] - m) * a.scale)
		a.max[g] = m
		shift := -F(m * a.scale)
		for i, x := range row {
			row[i] = exp2(fma(x, a.scale, shift))
		}
		a.sum[g] = F(a.sum[g]*keep) + sum(n, func(i int) F { return row[i] })
		for i := range a.d {
			a.acc[g*a.d+i] *= keep
		}
	}
	a.round(s)
	a.gemm(blas.NoTrans, a.group, a.d, n, s, n, vals, a.d, a.acc, a.d)
}

// finish divides by the sums.
func (a *flash[F]) finish() {
	for g, l := range a.sum {
		inv := 1 / l
		for i := range a.d {
			a.acc[g*a.d+i] *= inv
		}
	}
}

func exp2[F real](x F) F { return F(kernel.Exp2(float64(x))) }

func fma[F real](x, y, z F) F {
	if v, ok := any(x).(float32); ok {
		return F(kernel.FMA32(v, float32(y), float32(z)))
	}
	return F(math.FMA(float64(x), float64(y), float64(z)))
}
