package kernel

import (
	"math"
	"math/big"
)

// Functions that are evaluated a few times a model, in 160-bit arithmetic:
// slow, correctly rounded in practice, the same everywhere.

const precision = 160

// Pow returns x**y for x > 0, rounded to nearest. An overflow is +Inf, and an
// underflow 0.
func Pow(x, y float64) float64 {
	switch {
	case y == 0 || x == 1:
		return 1
	case !finite(x) || !finite(y) || x <= 0: // what a config can ask for, and no series has
		return math.Pow(x, y)
	}
	l := bigLog(x)
	l.Mul(l, new(big.Float).SetFloat64(y))
	if f, _ := l.Float64(); f > 710 {
		return math.Inf(1)
	} else if f < -745 {
		return 0
	}
	f, _ := bigExp(l).Float64()
	return f
}

// Log returns the natural logarithm of x > 0, rounded to nearest.
func Log(x float64) float64 {
	if !finite(x) || x <= 0 {
		return math.Log(x)
	}
	f, _ := bigLog(x).Float64()
	return f
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// bigExp sums the Taylor series of e**(z/2^32) and squares it 32 times.
func bigExp(z *big.Float) *big.Float {
	const halvings = 32
	r := newBig().Set(z)
	if r.Sign() != 0 {
		r.SetMantExp(r, -halvings)
	}
	sum, term := newBig().SetInt64(1), newBig().SetInt64(1)
	for i := int64(1); i <= 12; i++ { // |r| < 2^-22, so the rest is below 2^-280
		term.Mul(term, r)
		term.Quo(term, newBig().SetInt64(i))
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum
}

// bigLog refines the float64 logarithm by Newton's l += x*e**-l - 1.
func bigLog(x float64) *big.Float {
	l := newBig().SetFloat64(math.Log(x))
	bx := newBig().SetFloat64(x)
	for range 3 { // 2^-50, 2^-100, beyond the precision
		d := bigExp(newBig().Neg(l))
		d.Mul(d, bx)
		l.Add(l, d.Sub(d, newBig().SetInt64(1)))
	}
	return l
}

func newBig() *big.Float { return new(big.Float).SetPrec(precision) }
