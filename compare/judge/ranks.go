package judge

import (
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
)

// takeNotes puts what the transforms found into the report.
func takeNotes(r *report.Report, n *normalize.Notes) {
	r.Warnings = append(r.Warnings, n.Warnings...)
	r.Coverage.UnmatchedByNature, r.Coverage.NoPartner = n.Unmatched, n.NoPartner
}

// judgeRanks names ranks: those that do not hold what they must, which is a
// divergence of its own, and those whose part of a tensor is at fault.
func judgeRanks(r *report.Report, fs []*pairing.Forward) (out *Blamed) {
	done := false  // the first divergence lies before, or is this
	found := false // ranks that part once stay apart in a forward: what follows is inherited
	tell := func(c *pairing.Call, direction func(string) bool) {
		for _, p := range c.Slots {
			if !direction(p.Direction) {
				continue
			}
			if p.Ranked {
				p.Result.Rank = p.Rank
			}
			first := r.FirstDivergence != nil && r.FirstDivergence.Key == p.Key
			why := p.Finding
			switch {
			case why != "" && !found:
				failRank(r, c, p, why, !done)
			case why != "" && p.Result != nil && p.Result.Verdict == report.Pass:
				p.Result.Verdict = report.Inherited
			case first:
				out = &Blamed{c, p}
			}
			done, found = done || first || why != "", found || why != ""
		}
	}
	for _, f := range fs {
		found = false
		pairing.Walk(f.Top,
			func(c *pairing.Call) { tell(c, func(d string) bool { return d == report.Inputs }) },
			func(c *pairing.Call) { tell(c, func(d string) bool { return d != report.Inputs }) })
	}
	return out
}

// failRank makes a finding the failure of its tensor, and the first divergence
// where none lies before it.
func failRank(r *report.Report, c *pairing.Call, p *pairing.Pair, why string, first bool) {
	if d := r.FirstDivergence; d != nil && d.Key == p.Key {
		why += "; " + d.Why
	}
	if p.Result != nil {
		p.Result.Verdict = report.Fail
	}
	c.Report.Why = why
	r.Diverged = true
	if first {
		r.FirstDivergence = &report.Divergence{Key: p.Key, Layer: c.Layer, Why: why}
	}
}
