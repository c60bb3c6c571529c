package judge

import (
	"fmt"
	"strings"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
)

// judgeBounds holds every compared tensor against the bounds, in the order in
// which the modules took and returned them.
func judgeBounds(r *report.Report, fs []*pairing.Forward, b report.Bounds) {
	check := func(c *pairing.Call, isInput bool) {
		for _, p := range c.Slots {
			t := p.Result
			if t == nil || (p.Direction == report.Inputs) != isInput {
				continue
			}
			t.Verdict = report.Pass
			if why := Violated(&b, t); why != "" {
				fail(r, c, t, why)
			}
		}
	}
	for _, f := range fs {
		if f.Work != pairing.SameWork {
			judgeTokens(r, f)
			continue
		}
		pairing.Walk(f.Top, func(c *pairing.Call) { check(c, true) }, func(c *pairing.Call) { check(c, false) })
	}
}

// Violated lists the bounds that a tensor breaks. Whatever is not finite on
// one side only breaks all of them.
func Violated(b *report.Bounds, t *report.TensorDiff) string {
	g := t.Gap
	switch {
	case g.NonFinite > 0:
		return "no bound holds: " + report.Describe(t)
	case report.AllNaN(g):
		return "no bound holds: every value is NaN on both sides"
	}
	var out []string
	over := func(limit *float64, bad func(float64) bool, format string, args ...any) {
		if limit != nil && bad(*limit) {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	over(b.MaxAbs, func(l float64) bool { return g.MaxAbs > l }, "max_abs %s%s is above %s", report.Amount(g.MaxAbs), report.Place(t), value(b.MaxAbs))
	over(b.MinCosine, func(l float64) bool { return g.OneMinus > 1-l }, "cosine 1-%s is below %s", report.Num(g.OneMinus), value(b.MinCosine))
	over(b.MaxRelL2, func(l float64) bool { return g.RelL2 > l }, "rel_l2 %s is above %s", report.Num(g.RelL2), value(b.MaxRelL2))
	if (b.RTol != nil || b.ATol != nil || b.MaxMismatched != nil) && report.MismatchedShare(g) > b.Mismatched() {
		tol := b.Tolerance(t.DTypes[0], t.DTypes[1])
		out = append(out, fmt.Sprintf("%d of %d values are off by more than %g + %g·|reference|, the most %s%s", g.Mismatched, g.Values, tol.ATol, tol.RTol, report.Amount(g.MaxAbs), report.Place(t)))
		if b.MaxMismatched != nil {
			out[len(out)-1] += fmt.Sprintf("; a share of %g may be", *b.MaxMismatched)
		}
	}
	return strings.Join(out, "; ")
}

func value(p *float64) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%g", *p)
}
