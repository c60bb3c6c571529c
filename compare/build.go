package compare

import (
	"cmp"
	"math"
	"slices"

	"github.com/ilref/ilref/il"
)

// newReport lists what was measured; the judge adds the verdicts.
func newReport(ref, target *il.Session, fs []*forward) *Report {
	r := &Report{Reference: describeSide(ref, fs, 0), Target: describeSide(target, fs, 1)}
	for _, w := range ref.Warnings {
		r.Warnings = append(r.Warnings, "reference: "+w)
	}
	for _, w := range target.Warnings {
		r.Warnings = append(r.Warnings, "target: "+w)
	}
	for _, f := range fs {
		if f.work != sameWork && f.selected() {
			r.Workloads = append(r.Workloads, Workload{Forward: f.number, Why: f.why})
		}
		for _, c := range f.calls {
			if len(c.slots) == 0 {
				continue
			}
			c.report = &Module{Step: c.step, Module: c.module, Call: c.index, Forward: f.number, Layer: c.layer}
			r.Modules = append(r.Modules, c.report)
			for _, p := range c.slots {
				r.count(p)
			}
		}
	}
	return r
}

func (r *Report) count(p *slotPair) {
	cov := &r.Coverage
	switch p.fate {
	case compared:
		cov.Compared++
		r.Tensors = append(r.Tensors, p.result)
	case missingInReference:
		cov.MissingInReference = append(cov.MissingInReference, p.Key)
	case missingInTarget:
		cov.MissingInTarget = append(cov.MissingInTarget, p.Key)
	case otherWorkload:
		cov.OtherWorkload++
		cov.Skipped = append(cov.Skipped, Problem{p.Key, p.why, true})
	case skipped:
		cov.Skipped = append(cov.Skipped, Problem{p.Key, p.why, false})
	case excluded:
		cov.Excluded = append(cov.Excluded, Problem{p.Key, p.why, false})
	case unreadable:
		cov.Unreadable = append(cov.Unreadable, Problem{p.Key, p.why, false})
	}
}

// describeSide counts the types of a side's compared tensors.
func describeSide(s *il.Session, fs []*forward, side int) Side {
	out := Side{Dir: s.Dir, Variant: string(s.Variant)}
	for _, st := range s.Steps {
		out.Steps = append(out.Steps, st.Number)
	}
	n := map[string]int{}
	for _, f := range fs {
		for _, c := range f.calls {
			for _, p := range c.slots {
				if p.result != nil && !p.result.DTypes[side].IsInt() {
					n[p.result.DTypes[side].String()]++
				}
			}
		}
	}
	for d := range n {
		out.DTypes = append(out.DTypes, d)
	}
	slices.SortFunc(out.DTypes, func(a, b string) int { return cmp.Or(n[b]-n[a], cmp.Compare(a, b)) })
	return out
}

// summarise gives every module call its verdict and its worst tensors.
func (r *Report) summarise(fs []*forward) {
	for _, f := range fs {
		for _, c := range f.calls {
			if c.report != nil {
				c.report.summarise(c)
			}
		}
	}
}

func (m *Module) summarise(c *call) {
	m.Local, m.Ratio, m.RatioToken = math.NaN(), math.NaN(), math.NaN()
	for _, p := range c.slots {
		if p.result != nil {
			m.Compared++
		}
		m.Tensors++
		switch {
		case p.result == nil && m.Why == "":
			m.Why = notComparedReason(p)
		case p.result == nil:
		case p.Direction == inputs:
			m.Inputs = worse(m.Inputs, p.result)
		default:
			m.Outputs = worse(m.Outputs, p.result)
			m.takeEvidence(p.result)
		}
	}
	if m.Compared > 0 && m.Inputs.verdict() != Fail && m.Outputs.verdict() != Fail {
		m.Why = "" // only of a failure, or where nothing was compared
	}
	switch m.Verdict = NotCompared; {
	case m.Inputs.verdict() == Fail:
		m.Verdict = Fail
	case m.Outputs != nil:
		m.Verdict = m.Outputs.Verdict
	case m.Inputs != nil:
		m.Verdict = m.Inputs.Verdict
	}
}

func (m *Module) takeEvidence(t *Tensor) {
	most := func(to *float64, v float64) {
		if !(*to >= v) && !math.IsNaN(v) {
			*to = v
		}
	}
	if t.Local != nil {
		most(&m.Local, t.Local.RelL2)
	}
	if t.Floor != nil {
		most(&m.Ratio, t.Floor.Ratio)
		most(&m.RatioToken, t.Floor.Token)
	}
}

func notComparedReason(p *slotPair) string {
	switch p.fate {
	case missingInReference:
		return "missing in the reference"
	case missingInTarget:
		return "missing in the target"
	}
	return p.why
}

// worse prefers the worse verdict, then the larger gap, then the first.
func worse(a, b *Tensor) *Tensor {
	if a == nil {
		return b
	}
	rank := func(t *Tensor) int { return slices.Index([]Verdict{Pass, Inherited, Fail}, t.Verdict) }
	if cmp.Or(cmp.Compare(rank(b), rank(a)), compareGaps(b.Gap, a.Gap)) > 0 {
		return b
	}
	return a
}
