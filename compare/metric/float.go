package metric

import (
	"errors"
	"math"

	"github.com/ilref/ilref/tensor"
)

// partValues is the number of values, in whole rows, that are measured by one
// goroutine. It is fixed, so that sums do not depend on how many there are.
var partValues = 1 << 22

// floats measures values of any type as float64: in parts, several at the same
// time, which are put together in their order.
func (m *meter) floats(r, t *tensor.Tensor) error {
	if m.n == 0 {
		return nil
	}
	rows := m.n / m.rows.width
	each := max(1, partValues/m.rows.width)
	parts := (rows + each - 1) / each
	part := func() *meter { return m } // one part is the whole
	if parts > 1 {
		part = m.parts() // before any part is merged into m
	}
	err := inOrder(parts, func() (do func(int) error, done func(int)) {
		p := part()
		do = func(i int) error { return p.measurePart(r, t, i*each, min(rows, (i+1)*each)) }
		return do, func(int) {
			if p != m {
				m.merge(p)
			}
		}
	})
	if err != nil || m.nonFinite > 0 || !m.outOfRange() {
		return err
	}
	return m.rescaled(r, t)
}

// errNotFinite says that a value is NaN or infinite, or a difference is.
var errNotFinite = errors.New("not finite")

// measurePart measures rows lo to hi-1 into a meter that is new or done with.
func (m *meter) measurePart(r, t *tensor.Tensor, lo, hi int) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	s := newSource(r, t, m)
	defer s.release()
	m.reset()
	err := m.measureRows(s, lo, hi)
	if errors.Is(err, errNotFinite) {
		m.reset()
		m.careful, m.channels = true, channels{}
		err = m.measureRows(s, lo, hi)
	}
	if err != nil {
		return err
	}
	m.ulps.take(&s.pairs)
	return m.locate(s)
}

func (m *meter) measureRows(s *source, lo, hi int) error {
	s.prepare(m)
	for row := lo; row < hi; row++ {
		for c := 0; c < m.rows.width; c += block {
			if c%(1<<22) == 1<<22-block { // of a row that is longer than a part
				if err := m.ctx.Err(); err != nil {
					return err
				}
			}
			if err := m.segment(s, row, c, min(block, m.rows.width-c)); err != nil {
				return err
			}
		}
		m.sums.add(m.rows.now)
		m.rows.finish()
	}
	return nil
}

// segment measures n values of a row from a column on.
func (m *meter) segment(s *source, row, column, n int) error {
	at, replaced, p := row*m.rows.width+column, 0, &s.pairs
	dd, rr := m.channels.from(column, n)
	if dd == nil {
		dd, rr = s.unused[0][:n], s.unused[1][:n]
	}
	if s.stored {
		r, t := s.bytes(row, column, n)
		p.Stored(r, t, dd, rr)
	} else {
		a, b, err := s.values(at, n)
		if err != nil {
			return err
		}
		if m.careful {
			replaced = m.specials(a, b, at)
		}
		p.Values(a, b, dd, rr)
	}
	var x sums
	x.dd, x.rr, x.tt, x.rd, x.abs = p.Sums()
	most := p.Max()
	if !m.careful && !(x.abs+most <= math.MaxFloat64) { // NaN and infinities stay in a sum
		return errNotFinite
	}
	m.rows.now.add(x)
	equal := p.Equal()
	m.ulps.zeros += equal
	m.equal += equal - replaced
	m.mismatched += p.Mismatched()
	m.ulps.max = max(m.ulps.max, p.Units())
	if most > m.max {
		m.max, m.maxAt, m.maxIn = most, at, n
	}
	if p.Exceeds() {
		return m.relative(s, at, n)
	}
	return nil
}

// specials counts the pairs whose difference is not finite and makes zeros of
// those with a NaN or an infinity, which adds nothing.
func (m *meter) specials(r, t []float64, at int) (replaced int) {
	before := m.nonFinite
	for i, a := range r {
		if d := t[i] - a; d-d == 0 {
			continue
		}
		if m.special(a, t[i], at+i) {
			continue
		}
		r[i], t[i] = 0, 0
		replaced++
	}
	m.rows.nonFinite += m.nonFinite - before
	return replaced
}

// relative finds the largest relative difference among values one of which has
// a larger one than all before.
func (m *meter) relative(s *source, at, n int) error {
	a, b, err := s.values(at, n)
	if err != nil {
		return err
	}
	b = b[:len(a)]
	for i, r := range a {
		d, r := math.Abs(b[i]-r), math.Abs(r)
		if r < m.least {
			r = m.least
		}
		if d > float64(m.maxRel*r) && d <= math.MaxFloat64 {
			m.maxRel = max(m.maxRel, d/r)
		}
	}
	s.pairs.SetMaxRel(m.maxRel)
	return nil
}

// locate finds the first largest difference in the segment that holds it.
func (m *meter) locate(s *source) error {
	if m.maxIn == 0 {
		return nil
	}
	a, b, err := s.values(m.maxAt, m.maxIn)
	if err != nil {
		return err
	}
	for i, r := range a {
		if d := math.Abs(b[i] - r); d == m.max || s.pairs.Single() && float64(float32(d)) == m.max {
			m.max, m.maxAt, m.maxIn, m.ref, m.tgt = d, m.maxAt+i, 0, r, b[i]
			return nil
		}
	}
	return nil
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
	if d := math.Inf(1); d > m.max {
		m.max, m.maxAt, m.maxIn, m.ref, m.tgt = d, at, 0, a, b
	}
	return false
}
