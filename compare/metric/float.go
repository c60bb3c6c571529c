package metric

import (
	"math"

	"github.com/ilref/ilref/tensor"
)

// floats measures values of any type as float64.
func (m *meter) floats(r, t *tensor.Tensor) error {
	err := eachBlock(r, t, m.n, func(a, b []float64, at int) { m.block(a, b, at) })
	m.rows.end(m.n)
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

// block measures the values from index at on, row by row.
func (m *meter) block(r, t []float64, at int) {
	for lo := 0; lo < len(r); {
		hi := min(len(r), lo+m.rows.left(at+lo))
		a, b := r[lo:hi], t[lo:hi]
		d := m.diff[:hi-lo]
		s, finite := sumsOf(a, b, d)
		if !finite {
			s = m.specials(a, b, d, at+lo)
		}
		m.differences(a, b, d, at+lo)
		m.channels.add(a, d, m.rows.column(at+lo))
		m.add(s)
		m.rows.add(s, at+hi)
		lo = hi
	}
}

// sumsOf adds up finite pairs and stores t - r. The products are converted so
// that no platform fuses them into the additions; two chains of additions hide
// each other's latency. finite is false where any difference is not.
func sumsOf(r, t, diff []float64) (s sums, finite bool) {
	var odd sums
	n := len(r) &^ 1
	t, diff = t[:len(r)], diff[:len(r)]
	for i := 0; i < n; i += 2 {
		a, b := r[i], t[i]
		d := b - a
		diff[i] = d
		s.dd += float64(d * d)
		s.rr += float64(a * a)
		s.tt += float64(b * b)
		s.ds += float64(d * (a + b))
		s.abs += math.Abs(d)
		a, b = r[i+1], t[i+1]
		d = b - a
		diff[i+1] = d
		odd.dd += float64(d * d)
		odd.rr += float64(a * a)
		odd.tt += float64(b * b)
		odd.ds += float64(d * (a + b))
		odd.abs += math.Abs(d)
	}
	if n < len(r) {
		a, b := r[n], t[n]
		d := b - a
		diff[n] = d
		odd.dd += float64(d * d)
		odd.rr += float64(a * a)
		odd.tt += float64(b * b)
		odd.ds += float64(d * (a + b))
		odd.abs += math.Abs(d)
	}
	s.add(odd)
	return s, s.abs <= math.MaxFloat64 // NaN and infinities stay in a sum
}

// specials is sumsOf for rows in which a difference is not finite: pairs that
// are not are counted, and left out of the sums and of diff.
func (m *meter) specials(r, t, diff []float64, at int) sums {
	var s sums
	before := m.nonFinite
	defer func() { m.rows.nonFinite += m.nonFinite - before }()
	m.channels = channels{}
	for i, a := range r {
		b := t[i]
		d := b - a
		if d-d != 0 && !m.special(a, b, at+i) { // d is NaN or infinite
			diff[i] = math.NaN()
			continue
		}
		diff[i] = d
		s.dd += float64(d * d)
		s.rr += float64(a * a)
		s.tt += float64(b * b)
		s.ds += float64(d * (a + b))
		s.abs += math.Abs(d)
	}
	return s
}

// differences finds the figures that are no sums. Sizes are compared by their
// bits, which for positive values order as the values do.
func (m *meter) differences(r, t, diff []float64, at int) {
	const (
		sign     = 1 << 63
		infinite = 0x7ff << 52
	)
	equal, mismatched := 0, 0
	u, atol, rtol, maxRel := &m.ulps, m.tol.ATol, m.tol.RTol, m.maxRel
	least, largest := math.Float64bits(m.least), math.Float64bits(m.max)
	r, t = r[:len(diff)], t[:len(diff)]
	for i := range diff {
		d := math.Float64bits(diff[i]) &^ sign
		if d == 0 {
			equal++
			continue
		}
		if d > infinite {
			continue // NaN: counted by special
		}
		a, b := math.Float64bits(r[i])&^sign, math.Float64bits(t[i])&^sign
		if d > largest {
			m.note(math.Float64frombits(d), at+i, r[i], t[i])
			largest = d
		}
		outside := 0 // no branch: nobody could predict it
		if math.Float64frombits(d) > atol+float64(rtol*math.Float64frombits(a)) {
			outside = 1
		}
		mismatched += outside
		u.add(d, max(a, b))
		if a = max(a, least); math.Float64frombits(d) > float64(maxRel*math.Float64frombits(a)) {
			maxRel = math.Float64frombits(d) / math.Float64frombits(a)
		}
	}
	m.equal += equal
	m.mismatched += mismatched
	m.maxRel = maxRel
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
		own.add(scratch.specials(scale(x[:], a, er), scale(y[:], b, et), m.diff[:], 0))
		same.add(scratch.specials(scale(x[:], a, e), scale(y[:], b, e), m.diff[:], 0))
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
