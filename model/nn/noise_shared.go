package nn

import (
	"math"

	"gonum.org/v1/gonum/blas"
)

// sharedNoise takes from the z of a head of attention what its values have in
// common. Rounding a probability or a score moves all values of a head in a row
// at once, along the value of that key: with variances b_j of what is summed with
// the keys' values v_j, the errors of a row's head have the covariance
//
//	S = diag(ulp(y0)²/12) + Σ_j (b_j - w_j) v_j v_jᵀ + w_j (v_j - y0)(v_j - y0)ᵀ
//
// where w_j is the part of b_j that is of the scores. Of errors e of that covariance
// the squares of e/σ add up to the number of values on average, but spread about it like those of
// the few directions that hold most of S: eᵀS⁻¹e is what spreads like as many
// independent ones. Where the squares tell of more than noise, z is scaled so
// that they add up to it.
//
// A kernel that rounds sums over some of the keys instead is off by the same σ in
// every value by itself, and one may do both: the least of the three counts.
type sharedNoise struct {
	ops *ops[float32]
	format
	certain bool // a head is off beyond any doubt: the call fails, however the others are read

	weighted   []float32 // (D, keys)
	covariance []float32 // (D, D), of z
	factor     []float64 // (D, D), its Cholesky factor
	e          []float64 // (D)
}

// sharedBy is what moves the values of a head in a row together: Σ_j b_j v_j v_jᵀ is
// of values (n, D) and b; mean is Σ w_j v_j, weight Σ w_j.
type sharedBy struct {
	vals, by, mean []float32
	weight         float64
}

const (
	// usualHead is the mean square of a head's z up to which it is left as it is: no
	// number of such heads is unlikely, nor a part of one.
	usualHead = 2
	// beyondDoubt is -ln of a probability that no comparison of 10^12 values makes
	// up for.
	beyondDoubt = 40
)

// take scales z of a head in a row.
func (s *sharedNoise) take(z, y0, variance []float32, by sharedBy) {
	squares := 0.
	for _, z := range z {
		squares += float64(z) * float64(z) // exact
	}
	n := float64(len(z))
	if s.certain || squares <= usualHead*n || math.IsInf(squares, 0) || squares != squares {
		return
	}
	s.correlate(z, y0, variance, by)
	least := squares
	for _, part := range []float64{1, 0.5} {
		if d, ok := s.distance(part); ok {
			least = min(least, d)
		}
	}
	f := float32(math.Sqrt(least / squares))
	for i := range z {
		z[i] = float32(z[i] * f)
	}
	r := max(least/n/1.35, 1)
	s.certain = n/2*(r-1-math.Log(r)) > beyondDoubt
}

// correlate sets the covariance of z without what is of each value by itself, and
// e to z with the sign of the error.
func (s *sharedNoise) correlate(z, y0, variance []float32, by sharedBy) {
	d, n := len(z), len(by.by)
	if len(s.covariance) == 0 {
		s.covariance, s.factor, s.e = make([]float32, d*d), make([]float64, d*d), make([]float64, d)
	}
	if cap(s.weighted) < d*n {
		s.weighted = make([]float32, d*n)
	}
	sigma := make([]float64, d)
	for i, y := range y0 {
		sigma[i] = s.sigma(y, variance[i])
		s.e[i] = math.Copysign(1, float64(y)) * float64(z[i])
	}
	weighted := s.weighted[:d*n]
	for j, b := range by.by {
		root := math.Sqrt(float64(b))
		for i, v := range by.vals[j*d:][:d] {
			weighted[i*n+j] = float32(root * float64(v) / sigma[i])
		}
	}
	clear(s.covariance)
	s.ops.gemm(blas.Trans, d, d, n, weighted, n, weighted, n, s.covariance, d)
	for i := range d {
		a, ma := float64(y0[i]), float64(by.mean[i])
		for j := range d {
			b, mb := float64(y0[j]), float64(by.mean[j])
			s.covariance[i*d+j] += float32((float64(by.weight*a*b) - float64(a*mb) - float64(ma*b)) / (sigma[i] * sigma[j]))
		}
	}
}

// distance is eᵀC⁻¹e, C having ones on its diagonal and a part of the covariance
// beside it; not ok where C is none.
func (s *sharedNoise) distance(part float64) (square float64, ok bool) {
	const slack = 1e-3 // of the diagonal: the covariance is computed in float32
	d, l := len(s.e), s.factor
	solved := make([]float64, d)
	for i := range d {
		row := l[i*d:][:d]
		x := s.e[i]
		for j := range i {
			other := l[j*d:][:j]
			sum := float64(part * float64(s.covariance[i*d+j]))
			for k, o := range other {
				sum -= float64(row[k] * o)
			}
			row[j] = sum / l[j*d+j]
			x -= float64(row[j] * solved[j])
		}
		rest := 1 + slack
		for _, v := range row[:i] {
			rest -= float64(v * v)
		}
		if rest <= 0 {
			return 0, false
		}
		row[i] = math.Sqrt(rest)
		solved[i] = x / row[i]
		square += float64(solved[i] * solved[i])
	}
	return square, true
}
