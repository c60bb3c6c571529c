package judge

import (
	"cmp"
	"math"
	"slices"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
)

// newReport lists what was measured; the judge adds the verdicts.
func newReport(ref, target *il.Session, fs []*pairing.Forward) *report.Report {
	r := &report.Report{Reference: describeSide(ref, fs, 0), Target: describeSide(target, fs, 1)}
	for _, w := range ref.Warnings {
		r.Warnings = append(r.Warnings, "reference: "+w)
	}
	for _, w := range target.Warnings {
		r.Warnings = append(r.Warnings, "target: "+w)
	}
	for _, f := range fs {
		if f.Work != pairing.SameWork && f.Selected() {
			r.Workloads = append(r.Workloads, report.Workload{Forward: f.Number, Why: f.Why})
		}
		for _, c := range f.Calls {
			if len(c.Slots) == 0 {
				continue
			}
			c.Report = &report.CallDiff{Step: c.Step, Module: c.Module, Call: c.Index, Forward: f.Number, Layer: c.Layer}
			r.Modules = append(r.Modules, c.Report)
			for _, p := range c.Slots {
				countPair(r, p)
			}
		}
	}
	return r
}

func countPair(r *report.Report, p *pairing.Pair) {
	cov := &r.Coverage
	switch p.Status {
	case pairing.Compared:
		cov.Compared++
		r.Tensors = append(r.Tensors, p.Result)
	case pairing.MissingInReference:
		cov.MissingInReference = append(cov.MissingInReference, p.Key)
	case pairing.MissingInTarget:
		cov.MissingInTarget = append(cov.MissingInTarget, p.Key)
	case pairing.OtherWorkload:
		cov.OtherWorkload++
		cov.Skipped = append(cov.Skipped, report.Problem{Key: p.Key, Why: p.Why, OtherTokens: true})
	case pairing.Skipped:
		cov.Skipped = append(cov.Skipped, report.Problem{Key: p.Key, Why: p.Why, OtherTokens: false})
	case pairing.Excluded:
		cov.Excluded = append(cov.Excluded, report.Problem{Key: p.Key, Why: p.Why, OtherTokens: false})
	case pairing.Keyword:
		cov.Keywords = append(cov.Keywords, report.Problem{Key: p.Key, Why: p.Why})
	case pairing.Unreadable:
		cov.Unreadable = append(cov.Unreadable, report.Problem{Key: p.Key, Why: p.Why, OtherTokens: false})
	}
}

// describeSide counts the types of a side's compared tensors.
func describeSide(s *il.Session, fs []*pairing.Forward, side int) report.Side {
	out := report.Side{Dir: s.Dir, Variant: string(s.Variant)}
	for _, st := range s.Steps {
		out.Steps = append(out.Steps, st.Number)
	}
	n := map[string]int{}
	for _, f := range fs {
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				if p.Result != nil && !p.Result.DTypes[side].IsInt() {
					n[p.Result.DTypes[side].String()]++
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
func summarise(r *report.Report, fs []*pairing.Forward) {
	nearTies(r)
	for _, f := range fs {
		for _, c := range f.Calls {
			if c.Report != nil {
				summariseCall(c.Report, c)
			}
		}
	}
}

// nearTies takes back the near ties of logits that a fault has reached: the gap
// of their rows is the fault's, and beside that every tie is near.
func nearTies(r *report.Report) {
	for _, t := range r.Tensors {
		if t.Logits != nil && t.Logits.NearTies > 0 && t.Verdict != report.Pass {
			l := *t.Logits
			l.NearTies = 0
			t.Logits = &l
		}
	}
}

func summariseCall(m *report.CallDiff, c *pairing.Call) {
	m.Local, m.Noise, m.Ratio, m.RatioToken = math.NaN(), math.NaN(), math.NaN(), math.NaN()
	for _, p := range c.Slots {
		if p.Result != nil {
			m.Compared++
		}
		if p.Status == pairing.Keyword {
			m.Why = cmp.Or(m.Why, p.Why)
			continue
		}
		m.Tensors++
		switch {
		case p.Result == nil && m.Why == "":
			m.Why = notComparedReason(p)
		case p.Result == nil:
		case p.Direction == report.Inputs:
			m.Inputs = report.Worse(m.Inputs, p.Result)
		default:
			m.Outputs = report.Worse(m.Outputs, p.Result)
			takeEvidence(m, p.Result)
		}
	}
	if m.Compared > 0 && m.Inputs.VerdictOrNone() != report.Fail && m.Outputs.VerdictOrNone() != report.Fail {
		m.Why = "" // only of a failure, or where nothing was compared
	}
	switch m.Verdict = report.NotCompared; {
	case m.Inputs.VerdictOrNone() == report.Fail:
		m.Verdict = report.Fail
	case m.Outputs != nil:
		m.Verdict = m.Outputs.Verdict
	case m.Inputs != nil:
		m.Verdict = m.Inputs.Verdict
	}
}

func takeEvidence(m *report.CallDiff, t *report.TensorDiff) {
	most := func(to *float64, v float64) {
		if !(*to >= v) && !math.IsNaN(v) {
			*to = v
		}
	}
	if t.ReplayGap != nil {
		most(&m.Local, t.ReplayGap.RelL2)
	}
	most(&m.Noise, report.TimesNoise(t))
	if t.NoiseRatio != nil {
		most(&m.Ratio, t.NoiseRatio.Ratio)
		most(&m.RatioToken, t.NoiseRatio.Token)
	}
}

func notComparedReason(p *pairing.Pair) string {
	switch p.Status {
	case pairing.MissingInReference:
		return "missing in the reference"
	case pairing.MissingInTarget:
		return "missing in the target"
	}
	return p.Why
}
