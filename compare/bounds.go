package compare

import (
	"fmt"
	"strings"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/tensor"
)

// Bounds are explicit limits; nil ones are not asked for. Where any is set,
// every tensor must keep to all of them, and the default rule is not applied.
type Bounds struct {
	RTol      *float64 `json:"rtol,omitzero"` // no value may be off by more than ATol + RTol·|reference|; one alone takes the other from torch's default for the type
	ATol      *float64 `json:"atol,omitzero"`
	MaxAbs    *float64 `json:"max_abs,omitzero"`
	MinCosine *float64 `json:"min_cosine,omitzero"`
	MaxRelL2  *float64 `json:"max_rel_l2,omitzero"`
	// MaxMismatched is the share of the values, 0 to 1, that RTol and ATol allow
	// to be off by more; nil means none where one of them is set.
	MaxMismatched *float64 `json:"max_mismatched,omitzero"`
}

func (b *Bounds) set() bool {
	return b.RTol != nil || b.ATol != nil || b.MaxAbs != nil || b.MinCosine != nil || b.MaxRelL2 != nil || b.MaxMismatched != nil
}

// tolerance is what counts as mismatched.
func (b *Bounds) tolerance(x, y tensor.DType) metric.Tolerance {
	t := metric.DefaultTolerance(x, y)
	if b.RTol != nil {
		t.RTol = *b.RTol
	}
	if b.ATol != nil {
		t.ATol = *b.ATol
	}
	return t
}

// judgeBounds holds every compared tensor against the bounds, in the order in
// which the modules took and returned them.
func judgeBounds(r *Report, fs []*forward, b Bounds) {
	check := func(c *call, isInput bool) {
		for _, p := range c.slots {
			t := p.result
			if t == nil || (p.Direction == inputs) != isInput {
				continue
			}
			t.Verdict = Pass
			if why := b.violated(t); why != "" {
				r.fail(c, t, why)
			}
		}
	}
	for _, f := range fs {
		if f.work != sameWork {
			r.judgeTokens(f)
			continue
		}
		walk(f.top, func(c *call) { check(c, true) }, func(c *call) { check(c, false) })
	}
}

// violated lists the bounds that a tensor breaks. Whatever is not finite on
// one side only breaks all of them.
func (b *Bounds) violated(t *Tensor) string {
	g := t.Gap
	if g.NonFinite > 0 {
		return "no bound holds: " + describe(t)
	}
	var out []string
	over := func(limit *float64, bad func(float64) bool, format string, args ...any) {
		if limit != nil && bad(*limit) {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	over(b.MaxAbs, func(l float64) bool { return g.MaxAbs > l }, "max_abs %s%s is above %s", amount(g.MaxAbs), place(t), value(b.MaxAbs))
	over(b.MinCosine, func(l float64) bool { return g.OneMinus > 1-l }, "cosine 1-%s is below %s", num(g.OneMinus), value(b.MinCosine))
	over(b.MaxRelL2, func(l float64) bool { return g.RelL2 > l }, "rel_l2 %s is above %s", num(g.RelL2), value(b.MaxRelL2))
	if (b.RTol != nil || b.ATol != nil || b.MaxMismatched != nil) && mismatchedShare(g) > b.mismatched() {
		tol := b.tolerance(t.DTypes[0], t.DTypes[1])
		out = append(out, fmt.Sprintf("%d of %d values are off by more than %g + %g·|reference|, the most %s%s", g.Mismatched, g.Values, tol.ATol, tol.RTol, amount(g.MaxAbs), place(t)))
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
