package metric

import (
	"math"

	"github.com/ilref/ilref/tensor"
)

// floats measures values of any type as float64.
func (m *meter) floats(r, t *tensor.Tensor) error {
	err := eachBlock(r, t, m.n, func(a, b []float64, at int) { m.add(m.block(a, b, at)) })
	if err != nil || m.nonFinite > 0 || !m.outOfRange() {
		return err
	}
	return m.rescaled(r, t)
}

// eachBlock decodes both tensors in step and calls f with the values from
// index at on.
func eachBlock(r, t *tensor.Tensor, n int, f func(a, b []float64, at int)) error {
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
		f(a, b, at)
	}
	return nil
}

// block measures one block and returns its sums. The products are converted so
// that no platform fuses them into the additions.
func (m *meter) block(r, t []float64, at int) sums {
	var s sums
	for i, a := range r {
		b := t[i]
		d := b - a
		if d-d != 0 { // d is NaN or infinite
			if finite := m.special(a, b, at+i); !finite {
				continue
			}
		}
		s.dd += float64(d * d)
		s.rr += float64(a * a)
		s.tt += float64(b * b)
		s.ds += float64(d * (a + b))
		if d == 0 {
			m.equal++
			continue
		}
		d = math.Abs(d)
		if d > m.max {
			m.note(d, at+i, a, b)
		}
		if d > m.tol.ATol+float64(m.tol.RTol*math.Abs(a)) {
			m.mismatched++
		}
	}
	return s
}

// special counts a pair whose difference is not finite. It reports whether
// both values are finite all the same (their difference overflows).
func (m *meter) special(a, b float64, at int) (finite bool) {
	for i, v := range [2]float64{a, b} {
		switch {
		case math.IsNaN(v):
			m.nan[i]++
		case math.IsInf(v, 0):
			m.inf[i]++
		}
	}
	switch {
	case a-a == 0 && b-b == 0:
		return true
	case a == b, a != a && b != b:
		m.equal++
		return false
	}
	m.nonFinite++
	m.mismatched++
	m.note(math.Inf(1), at, a, b)
	return false
}

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
	err := eachBlock(r, t, m.n, func(a, b []float64, _ int) {
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
	var scratch meter
	err = eachBlock(r, t, m.n, func(a, b []float64, _ int) {
		var x, y [block]float64
		own.add(scratch.block(scale(x[:], a, er), scale(y[:], b, et), 0))
		same.add(scratch.block(scale(x[:], a, e), scale(y[:], b, e), 0))
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
