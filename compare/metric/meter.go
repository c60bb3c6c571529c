package metric

import (
	"context"
	"math"
)

// meter adds up one comparison.
type meter struct {
	sums
	ctx        context.Context
	tol        Tolerance
	n          int // values
	max        float64
	maxAt      int // value index, -1 for none
	maxIn      int // not 0 while it is only known to be one of so many values from maxAt on
	ref, tgt   float64
	mismatched int
	equal      int
	nan, inf   [2]int
	nonFinite  int
	cosine     *float64 // 1 - cosine where a rescaled pass had to find it
	ratios     *[2]float64

	maxRel, least float64 // the largest relative difference, the least it is divided by
	rows          rows
	channels      channels
	ulps          ulps
	careful       bool // some value is not finite
}

// fresh is a meter of the same kind that has measured nothing.
func (m *meter) fresh() meter {
	return meter{
		ctx: m.ctx, tol: m.tol, n: m.n, least: m.least, maxAt: -1,
		rows: rows{width: m.rows.width}, ulps: ulps{known: m.ulps.known, format: m.ulps.format},
	}
}

// parts returns what makes meters for some of the rows each, at any time and on
// any goroutine.
func (m *meter) parts() func() *meter {
	blank, channels := m.fresh(), m.channels.dd != nil
	return func() *meter {
		p := blank
		if channels {
			p.channels.init(ChannelRows, p.rows.width)
		}
		return &p
	}
}

// reset forgets what was measured.
func (m *meter) reset() {
	c := m.channels
	clear(c.dd)
	clear(c.rr)
	*m = m.fresh()
	m.channels = c
}

// merge adds what was measured of the rows that follow.
func (m *meter) merge(o *meter) {
	m.sums.add(o.sums)
	if o.max > m.max {
		m.max, m.maxAt, m.ref, m.tgt = o.max, o.maxAt, o.ref, o.tgt
	}
	m.mismatched += o.mismatched
	m.equal += o.equal
	for i := range 2 {
		m.nan[i] += o.nan[i]
		m.inf[i] += o.inf[i]
	}
	m.nonFinite += o.nonFinite
	m.maxRel = max(m.maxRel, o.maxRel)
	m.rows.merge(&o.rows)
	m.channels.merge(&o.channels)
	m.ulps.merge(&o.ulps)
}

// sums are over finite pairs only.
type sums struct {
	dd float64 // Σ d²
	rr float64 // Σ r²
	tt float64 // Σ t²
	rd float64 // Σ r d

	abs float64 // Σ |d|
}

func (s *sums) add(o sums) {
	s.dd += o.dd
	s.rr += o.rr
	s.tt += o.tt
	s.rd += o.rd
	s.abs += o.abs
}

// oneMinusCosine follows from ‖d‖² = ‖r‖² + ‖t‖² - 2 r·t:
//
//	1 - r·t/(‖r‖‖t‖) = (‖d‖² - (‖t‖-‖r‖)²) / (2 ‖r‖‖t‖)
//
// where ‖t‖² - ‖r‖² = 2 r·d + ‖d‖². Its error is that of ‖d‖², while 1 minus a
// quotient near 1 has none of its digits right.
func (s *sums) oneMinusCosine() float64 {
	r, t := math.Sqrt(s.rr), math.Sqrt(s.tt)
	switch {
	case s.dd == 0:
		return 0
	case r == 0 || t == 0:
		return 1
	}
	diff := (float64(2*s.rd) + s.dd) / (r + t) // ‖t‖ - ‖r‖
	return max(0, (s.dd-float64(diff*diff))/(2*r*t))
}

func ratio(a, b float64) float64 {
	if a == 0 {
		return 0
	}
	return a / b
}

func (m *meter) gap() *Gap {
	g := &Gap{
		Values: m.n, MaxAbs: m.max, Reference: m.ref, Target: m.tgt, Mismatched: m.mismatched,
		Equal: m.equal, NaN: m.nan, Inf: m.inf, NonFinite: m.nonFinite, MaxRel: m.maxRel,
	}
	if finite := m.n - max(m.nan[0]+m.inf[0], m.nan[1]+m.inf[1], m.nonFinite); finite > 0 {
		g.MeanAbs, g.RMSE = m.abs/float64(finite), math.Sqrt(m.dd/float64(finite))
	}
	if m.cosine != nil && m.dd < 0x1p-900 && m.abs > 0 {
		g.RMSE = math.NaN() // the squares leave the range of float64
	}
	switch {
	case m.nonFinite > 0:
		g.OneMinus, g.NormRatio, g.RelL2 = math.NaN(), math.NaN(), math.Inf(1)
	case m.cosine != nil:
		g.OneMinus, g.RelL2, g.NormRatio = *m.cosine, m.ratios[0], m.ratios[1]
	default:
		g.OneMinus = m.oneMinusCosine()
		g.RelL2 = ratio(math.Sqrt(m.dd), math.Sqrt(m.rr))
		g.NormRatio = ratio(math.Sqrt(m.tt), math.Sqrt(m.rr))
	}
	return g
}

// note keeps the first largest gap.
func (m *meter) note(d float64, at int, r, t float64) {
	if d > m.max || m.maxAt < 0 {
		m.max, m.maxAt, m.ref, m.tgt = d, at, r, t
	}
}
