package compare

import (
	"github.com/ilref/ilref/compare/view"
	"github.com/ilref/ilref/il"
)

// measured is all that a verdict rests on: the figures of every pair, and how
// they are to be judged.
type measured struct {
	rawRef, rawTarget *il.Session // as they were given
	notes             view.Notes
	forwards          []*forward
	layers            int  // of the model; 0 is unknown
	rule              Rule // that the evidence allows
	policy            bool // the bounds of pairs come first
	ratioLimit        float64
	bounds            Bounds   // of all tensors
	minCoverage       *float64 // percent of the tensors of both sessions; nil means 100
}

// blamed is the tensor of the first divergence, where one rank's part of it may
// be at fault.
type blamed struct {
	call *call
	pair *slotPair
}

// judge reaches the verdict. It reads no file.
func (m *measured) judge() (*Report, *blamed) {
	r := newReport(m.rawRef, m.rawTarget, m.forwards)
	r.takeNotes(&m.notes)
	switch {
	case m.bounds.set():
		r.Rule = RuleBounds
		judgeBounds(r, m.forwards, m.bounds)
	default:
		r.Rule = m.rule
		if m.policy {
			r.Rule = RulePolicy
		}
		newNoiseJudge(r, m).judge(m.forwards)
	}
	b := r.judgeRanks(m.forwards)
	r.summarise(m.forwards)
	r.conclude(m.minCoverage)
	return r, b
}

// judgeAlone judges a part as if nothing before excused its tensors, and finds
// what their inputs hand on.
func (m *measured) judgeAlone() {
	r := newReport(m.rawRef, m.rawTarget, m.forwards)
	if m.bounds.set() {
		judgeBounds(r, m.forwards, m.bounds)
		return
	}
	j := newNoiseJudge(r, m)
	j.alone = true
	j.judge(m.forwards)
}
