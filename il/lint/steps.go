package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/topology"
)

// sequence checks the sequence of steps, and that each is a whole forward.
func (l *linter) sequence() {
	l.unfinished()
	var forwards []*stepFacts
	logits := false
	for _, s := range l.steps {
		if s.forward() {
			forwards = append(forwards, s)
		}
		logits = logits || slices.ContainsFunc(s.calls, func(c *callFacts) bool { return c.spec.Kind.IsHead() })
	}
	switch {
	case len(forwards) == 0 && !logits:
		l.addSession(Error, "no-calls", "no step holds a call: the run has not begun, or its filter (module_call_match) matches no module")
	case l.Checked.Tensors == 0 && l.session.Lacks() != nil:
		l.addSession(Error, "no-tensors", "%s, but not one tensor was saved: the tool recorded statistics alone", plural.Count(l.Checked.Calls, "call"))
	case l.Checked.Tensors == 0:
		l.addSession(Error, "no-tensors", "%s, but not one tensor was saved: device_names names none of the run's devices, or max_tensor_size is too small", plural.Count(l.Checked.Calls, "call"))
	case !logits && l.session.Lacks() == nil:
		l.addSession(Info, "no-logits", "no logits are recorded: those of step n are logged in step n+1, so log_step_ids [0], the default, never holds any; add the step after the last, and logits_processor where modules are chosen")
	}
	l.gaps()
	if len(forwards) > 0 {
		l.withoutForward()
		l.missingCalls(forwards)
	}
}

// gaps finds step numbers that are left out.
func (l *linter) gaps() {
	var absent []int
	total := 0
	for i, s := range l.steps[:max(len(l.steps)-1, 0)] {
		from, to := s.number+1, l.steps[i+1].number
		total += to - from
		for n := from; n < to && len(absent) < 1000; n++ { // numbers may be millions apart
			absent = append(absent, n)
		}
	}
	if total > 0 {
		l.addSession(Info, "missing-steps", "%s not recorded between the first and the last (%d in all): log_step_ids chose so, or directories have gone; keys and values of those steps are not known",
			stepNames(absent), total)
	}
}

// withoutForward finds steps before the last that hold logits alone.
func (l *linter) withoutForward() {
	for _, s := range l.steps {
		if !s.last && !s.forward() {
			what := "holds no call"
			if len(s.calls) > 0 {
				what = "holds the logits of the step before alone"
			}
			l.addStep(Warning, "step-without-forward", s.number, "step %d %s, although a step follows: its forward was not recorded, or its files have gone", s.number, what)
		}
	}
}

// missingCalls finds modules that most forwards call, but not this one.
func (l *linter) missingCalls(forwards []*stepFacts) {
	type id struct {
		module string
		index  int
	}
	in := map[id]int{}
	for _, s := range forwards {
		for _, c := range s.calls {
			in[id{c.Module, c.Index}]++
		}
	}
	var usual []id
	for k, n := range in {
		if topology.Of(k.module).Kind != topology.Logits && n >= 2 && 2*n > len(forwards) {
			usual = append(usual, k)
		}
	}
	slices.SortFunc(usual, func(a, b id) int {
		return strings.Compare(il.CallName(a.module, a.index), il.CallName(b.module, b.index))
	})
	for _, s := range forwards {
		have := map[id]bool{}
		open := false
		for _, c := range s.calls {
			have[id{c.Module, c.Index}] = true
			open = open || c.open
		}
		for _, k := range usual {
			if !have[k] && !open {
				l.put(Finding{
					Severity: Warning, Rule: "missing-call", Step: s.number, Module: k.module, Call: k.index,
					Message: fmt.Sprintf("%s is not in step %d, though most other steps record it: its directory and its line have gone", il.CallName(k.module, k.index), s.number),
				}, len(s.calls))
			}
		}
	}
}

// unfinished finds where a run that is still going, or died, stands: the last
// call of the last step, or those around it, have no outputs yet.
func (l *linter) unfinished() {
	if len(l.steps) == 0 || l.session.Variant == il.VariantC {
		return
	}
	s := l.steps[len(l.steps)-1]
	if len(s.calls) == 0 {
		if len(l.steps) > 1 {
			l.addStep(Warning, "unfinished-step", s.number, "step %d is empty: the run is still going, or died", s.number)
		}
		return
	}
	last := s.calls[len(s.calls)-1]
	open := false
	for _, c := range s.calls {
		inside := c == last || strings.HasPrefix(last.path(), c.path()+".") && l.usual.sides[c.kindOf()][il.Outputs] > 0
		c.open = inside && !c.quirk && !c.has[il.Outputs]
		open = open || c.open
	}
	if open {
		l.addStep(Warning, "unfinished-step", s.number, "step %d ends within %s, after %s: the run is still going, or died; wait for its end, or leave out the step",
			s.number, last.name(), plural.Count(len(s.calls), "call"))
	}
}
