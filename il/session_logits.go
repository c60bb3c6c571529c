package il

import (
	"cmp"
	"slices"

	"github.com/ilref/ilref/topology"
)

// LogitsLag is how many steps after a forward its logits lie: 1 as vLLM's logger
// writes them, 0 where the session's provenance says so.
func (s *Session) LogitsLag() int {
	if s.made != nil && s.made.Run.LogitsLag != nil && !s.lagContradicted && !s.logitsMoved {
		return *s.made.Run.LogitsLag
	}
	return 1
}

// LogitsMoved notes that a session derived in memory holds the logits of a forward in
// the step after it, whatever the session says that it was derived from.
func (s *Session) LogitsMoved() { s.logitsMoved = true }

// WithLaterLogits is the session with the logits of every forward in the step after it,
// before that step's calls, as vLLM's logger writes them; itself where it is so.
func (s *Session) WithLaterLogits() *Session {
	if s.LogitsLag() == 1 {
		return s
	}
	d := NewSession(s.Dir, s.Variant, withLaterLogits(s.Steps))
	d.Warnings = s.Warnings
	d.Inherit(s)
	d.LogitsMoved()
	return d
}

// withLaterLogits are the steps with the logits of each in the one after it.
func withLaterLogits(from []*Step) []*Step {
	at := map[int]*Step{}
	step := func(n int) *Step {
		if at[n] == nil {
			at[n] = &Step{Number: n}
		}
		return at[n]
	}
	var steps []*Step
	for _, st := range from {
		out := step(st.Number)
		for _, c := range st.Calls {
			if topology.Of(c.Module).Kind == topology.Logits {
				next := step(st.Number + 1)
				next.Calls = append(next.Calls, c)
				continue
			}
			out.Calls = append(out.Calls, c)
		}
	}
	for _, st := range at {
		steps = append(steps, st)
	}
	slices.SortFunc(steps, func(a, b *Step) int { return cmp.Compare(a.Number, b.Number) })
	return steps
}
