package metric

import (
	"math"

	"github.com/ilref/ilref/tensor"
)

// outOfRange reports whether squares may have left the range of float64, which
// only values of float64 itself can bring about.
func (m *meter) outOfRange() bool {
	const small = 0x1p-900
	if m.equal == m.n {
		return false // every ratio is known without the sums
	}
	return !(m.dd <= math.MaxFloat64 && m.rr <= math.MaxFloat64 && m.tt <= math.MaxFloat64) ||
		m.dd < small || m.rr < small || m.tt < small
}

// rescaled finds the ratios again from values scaled by powers of two: each
// side by its own for the angle and the norms, both by one for the difference.
func (m *meter) rescaled(r, t *tensor.Tensor) error {
	var big [2]float64
	err := eachBlock(r, t, m.n, func(a, b []float64) {
		big[0], big[1] = maxFinite(big[0], a), maxFinite(big[1], b)
	})
	if err != nil {
		return err
	}
	_, er := math.Frexp(big[0])
	_, et := math.Frexp(big[1])
	e := et
	if big[0] >= big[1] {
		e = er
	}
	var own, same sums
	err = eachBlock(r, t, m.n, func(a, b []float64) {
		var x, y [block]float64
		own.add(finiteSums(scale(x[:], a, er), scale(y[:], b, et)))
		same.add(finiteSums(scale(x[:], a, e), scale(y[:], b, e)))
	})
	cos := own.oneMinusCosine()
	m.cosine = &cos
	m.ratios = &[2]float64{
		math.Ldexp(ratio(math.Sqrt(same.dd), math.Sqrt(own.rr)), e-er),
		math.Ldexp(ratio(math.Sqrt(own.tt), math.Sqrt(own.rr)), et-er),
	}
	return err
}

func maxFinite(m float64, v []float64) float64 {
	for _, x := range v {
		if x = math.Abs(x); x > m && x <= math.MaxFloat64 {
			m = x
		}
	}
	return m
}

func scale(dst, v []float64, exp int) []float64 {
	for i, x := range v {
		dst[i] = math.Ldexp(x, -exp)
	}
	return dst[:len(v)]
}

// eachBlock decodes both tensors in step.
func eachBlock(r, t *tensor.Tensor, n int, f func(a, b []float64)) error {
	var bufs [2][block]float64
	for at := 0; at < n; at += block {
		k := min(block, n-at)
		a, b := bufs[0][:k], bufs[1][:k]
		if err := r.Float64s(a, at); err != nil {
			return err
		}
		if err := t.Float64s(b, at); err != nil {
			return err
		}
		f(a, b)
	}
	return nil
}

// finiteSums leaves out pairs with a NaN or an infinity.
func finiteSums(r, t []float64) (s sums) {
	for i, a := range r {
		b := t[i]
		if d := b - a; d-d == 0 {
			s.dd += float64(d * d)
			s.rr += float64(a * a)
			s.tt += float64(b * b)
			s.rd += float64(a * d)
		}
	}
	return s
}
