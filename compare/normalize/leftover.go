package normalize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/internal/plural"
)

// leftover keeps what the reference has no row for: the passes of the target of
// which no row has a partner, under step numbers that the reference does not
// use, and its logits.
func (a *aligner) leftover(refSteps, targetSteps stepSet) {
	next := 0
	for n := range refSteps {
		next = max(next, n+1)
	}
	for i, q := range a.target.passes {
		if a.used[i] || notRun(q.rows, a.from, a.ref) {
			continue
		}
		if q.step >= next {
			next = q.step
		}
		targetSteps.add(next, passCalls(a.target.session, q.step)...)
		if len(q.logits) > 0 && !slices.ContainsFunc(q.logits, func(r row) bool { return a.usedLogits[r] }) {
			targetSteps.at(next + 1).Calls = append(slices.Clone(logitsCalls(a.target.session, q.step)), targetSteps.at(next+1).Calls...)
		}
		if next != q.step {
			a.notes.Warnings = append(a.notes.Warnings, fmt.Sprintf("target: step_%d ran rows that the reference did not: listed as step_%d", q.step, next))
		}
		next++
	}
	a.unplaced(next, targetSteps)
}

// unplaced keeps the target's rows of requests of which it did not run the
// beginning and that are none of the reference's: nothing says that the
// reference did not run them.
func (a *aligner) unplaced(next int, targetSteps stepSet) {
	for i, q := range a.target.passes {
		var where []place
		for k, r := range q.rows {
			if a.used[i] && r.request >= 0 && a.target.starts[r.request] > 0 && a.from[r.request] < 0 {
				where = append(where, place{i, k})
			}
		}
		if len(where) == 0 {
			continue
		}
		targetSteps.add(next, a.targetRows(where, func(q pass) source {
			return source{passCalls(a.target.session, q.step), len(q.rows), stepName(q.step)}
		})...)
		a.notes.Warnings = append(a.notes.Warnings, fmt.Sprintf("target: step_%d ran %s that cannot be placed in the reference: listed as step_%d", q.step, plural.Count(len(where), "row"), next))
		next++
	}
}

// notRun reports whether all rows are of tokens that the other side did not
// run, for it had them in a cache, or took back.
func notRun(rows []row, to []int, other *layout) bool {
	some := false
	for _, r := range rows {
		switch {
		case r.request == rejected:
		case cached(to, other, r):
			some = true
		case r.request != padding:
			return false
		}
	}
	return some
}

// cached reports whether a row lies before the first that the other side ran of
// its request.
func cached(to []int, other *layout, r row) bool {
	p, ok := partner(to, r)
	return ok && p.position < other.starts[p.request]
}

// report says what was lined up and what was left out.
func (a *aligner) report() {
	for _, q := range a.target.passes {
		for _, r := range q.logits {
			if back, ok := partner(a.from, r); ok && !a.usedLogits[r] && a.ref.goesOn(back) {
				a.notes.Unmatched++
			}
		}
	}
	a.notes.Unmatched += a.ref.count(padding) + a.target.count(padding)
	a.notes.Warnings = append([]string{"the sessions lay out their tokens in other ways: rows are lined up by request and position"}, a.notes.Warnings...)
	a.onlyOn("reference", "target", a.ref, a.to, a.target)
	a.onlyOn("target", "reference", a.target, a.from, a.ref)
}

// onlyOn reports the rows that one side alone ran, a line a request.
func (a *aligner) onlyOn(side, other string, l *layout, to []int, o *layout) {
	alone, before := make([][]int, len(l.tokens)), make([]int, len(l.tokens))
	for r := range l.rows {
		if r.request < 0 {
			continue
		}
		if cached(to, o, r) {
			before[r.request]++
			continue
		}
		p, ok := partner(to, r)
		if _, held := o.rows[p]; !ok || !held {
			alone[r.request] = append(alone[r.request], r.position)
		}
	}
	for q := range l.tokens {
		slices.Sort(alone[q])
		if n := before[q]; n > 0 {
			a.warn("%s: %s of its request %d, before position %d, not compared: the %s took them from its prefix cache or ran them in a step that was not logged",
				side, plural.Count(n, "row"), q, o.starts[to[q]], other)
		}
		switch {
		case len(alone[q]) == 0:
		case to[q] == unclear:
			a.warn("%s: its request %d begins at position %d and could be several of the %s's, which tokens before that position tell apart (%s left out)",
				side, q, l.starts[q], other, plural.Count(len(alone[q]), "row"))
		case to[q] < 0:
			a.warn("%s: the %s did not run its request %d, which begins %s (%s left out)",
				side, other, q, l.beginning(q), plural.Count(len(alone[q]), "row"))
		default:
			a.warn("%s: the %s did not run %s of its request %d, from position %d on",
				side, other, plural.Count(len(alone[q]), "row"), q, alone[q][0])
		}
	}
	for _, n := range l.orphans() {
		a.warn("%s: the logits in %s are of a forward that was not logged: they are not compared", side, stepName(n))
	}
	if n := l.count(rejected); n > 0 {
		a.warn("%s: %s of draft tokens that speculative decoding rejected, not compared: the %s did not run them", side, plural.Count(n, "row"), other)
	}
}

// orphans are the steps with the logits of a forward that the session does not
// hold.
func (l *layout) orphans() []int {
	var out []int
	for _, st := range l.session.Steps {
		before := slices.ContainsFunc(l.passes, func(p pass) bool { return p.step == st.Number-1 })
		if !before && logitsCalls(l.session, st.Number-1) != nil {
			out = append(out, st.Number)
		}
	}
	return out
}

func (a *aligner) warn(format string, args ...any) {
	a.notes.Warnings = append(a.notes.Warnings, fmt.Sprintf(format, args...))
}

// beginning tells where a request begins and with which tokens.
func (l *layout) beginning(q int) string {
	if at := l.starts[q]; at > 0 {
		return fmt.Sprintf("at position %d with %s", at, firstTokens(l.tokens[q][at:]))
	}
	return "with " + firstTokens(l.tokens[q])
}

// count counts the rows that are of no request: padding or rejected.
func (l *layout) count(kind int) int {
	n := 0
	for _, p := range l.passes {
		for _, r := range p.rows {
			if r.request == kind {
				n++
			}
		}
	}
	return n
}

func firstTokens(ids []int) string {
	var out []string
	for _, id := range ids[:min(len(ids), 4)] {
		out = append(out, fmt.Sprint(id))
	}
	if len(ids) > 4 {
		out = append(out, "…")
	}
	return "the tokens " + strings.Join(out, " ")
}
