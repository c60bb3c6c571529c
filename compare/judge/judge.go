// Package judge tells noise from faults, and finds the first divergence. It
// rests on what was measured and reads no file.
package judge

import (
	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
)

// Input is all that a verdict rests on: the figures of every pair, and how
// they are to be judged.
type Input struct {
	RawRef, RawTarget *il.Session // as they were given
	Notes             normalize.Notes
	Forwards          []*pairing.Forward
	Layers            int         // of the model; 0 is unknown
	Rule              report.Rule // that the evidence allows
	Policy            bool        // the bounds of pairs come first
	RatioLimit        float64
	Bounds            report.Bounds // of all tensors
	MinCoverage       *float64      // percent of the tensors of both sessions; nil means 100
	Unfinished        []string      // why a session is not that of a run that has ended
	Clip              float64       // ε of the clip range of logprobs
	Logprobs          *report.LogprobBounds

	Setup []report.SetupDifference // for the report: no verdict rests on it

	Experts measure.Experts // that routers choose: for hints
}

// Blamed is the tensor of the first divergence, where one rank's part of it may
// be at fault.
type Blamed struct {
	Call *pairing.Call
	Pair *pairing.Pair
}

// Judge reaches the verdict. It reads no file.
func (m *Input) Judge() (*report.Report, *Blamed) {
	r := newReport(m.RawRef, m.RawTarget, m.Forwards)
	r.Setup = m.Setup
	takeNotes(r, &m.Notes)
	switch {
	case m.Bounds.Set():
		r.Rule = report.RuleBounds
		judgeBounds(r, m.Forwards, m.Bounds)
	default:
		r.Rule = m.Rule
		if m.Policy {
			r.Rule = report.RulePolicy
		}
		j := newNoiseJudge(r, m)
		j.noteUnknown(m.Forwards)
		j.judge(m.Forwards)
	}
	b := judgeRanks(r, m.Forwards)
	judgeLogprobs(r, m)
	summarise(r, m.Forwards)
	r.Unfinished = m.Unfinished
	r.Warnings = append(r.Warnings, m.Unfinished...)
	conclude(r, m.MinCoverage)
	return r, b
}

// JudgeAlone judges a part as if nothing before excused its tensors, and finds
// what their inputs hand on.
func (m *Input) JudgeAlone() {
	r := newReport(m.RawRef, m.RawTarget, m.Forwards)
	if m.Bounds.Set() {
		judgeBounds(r, m.Forwards, m.Bounds)
		return
	}
	j := newNoiseJudge(r, m)
	j.alone = true
	j.judge(m.Forwards)
}

// Unfinished lists what the sessions say of themselves, "" for nothing.
func Unfinished(ref, target string) []string {
	var out []string
	for _, s := range [][2]string{{"reference", ref}, {"target", target}} {
		if s[1] != "" {
			out = append(out, s[0]+": "+s[1])
		}
	}
	return out
}
