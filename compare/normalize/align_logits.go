package normalize

import (
	"fmt"
	"slices"
	"strings"
)

// logits adds the logits of one pass of the reference, and the target's for the
// same positions. Logits after a chunk that the other side does not end there
// have no partner by nature.
func (a *aligner) logits(p pass, refSteps, targetSteps stepSet) {
	ends := p.logits
	if ends == nil {
		ends = p.ends
	}
	var keep, where []place
	unfinished := 0
	for i, r := range ends {
		to, ok := partner(a.to, r)
		if !ok {
			continue
		}
		if at, held := a.target.logits[to]; held {
			keep, where = append(keep, place{0, i}), append(where, at)
			a.usedLogits[to] = true
		} else if a.target.goesOn(to) {
			unfinished++
		}
	}
	calls := logitsCalls(a.ref.session, p.step)
	switch {
	case p.logits == nil: // recorded in another way, or not at all
		refSteps.add(p.step+1, calls...)
	case len(keep) > 0:
		refSteps.add(p.step+1, a.rowsOf([]source{{calls, len(p.logits), stepName(p.step + 1)}}, keep)...)
	case unfinished < len(ends):
		refSteps.add(p.step+1, calls...)
	}
	if p.logits != nil {
		a.notes.Unmatched += unfinished
	}
	if len(where) > 0 {
		targetSteps.add(p.step+1, a.targetRows(where, func(q pass) source {
			return source{logitsCalls(a.target.session, q.step), len(q.logits), stepName(q.step + 1)}
		})...)
	}
}

// goesOn reports whether a row is followed by another of its request in the
// same pass, so that no logits are computed of it.
func (l *layout) goesOn(r row) bool {
	at, held := l.rows[r]
	next, more := l.rows[row{r.request, r.position + 1}]
	return held && more && next.forward == at.forward
}

// leftover keeps what the reference has no row for: the passes of the target of
// which no row has a partner, under step numbers that the reference does not
// use, and its logits.
func (a *aligner) leftover(refSteps, targetSteps stepSet) {
	next := 0
	for n := range refSteps {
		next = max(next, n+1)
	}
	for i, q := range a.target.passes {
		if a.used[i] {
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
}

// report says what was lined up and what was left out.
func (a *aligner) report() {
	for _, q := range a.target.passes {
		for _, r := range q.rows {
			if r.request < 0 {
				a.padding++
			}
		}
		for _, r := range q.logits {
			if back, ok := partner(a.from, r); ok && !a.usedLogits[r] && a.ref.goesOn(back) {
				a.notes.Unmatched++
			}
		}
	}
	a.notes.Unmatched += a.padding
	a.notes.Warnings = append([]string{"the sessions lay out their tokens in other ways: rows are lined up by request and position"}, a.notes.Warnings...)
	a.onlyOn("reference", "target", a.ref, a.to, a.target.rows)
	a.onlyOn("target", "reference", a.target, a.from, a.ref.rows)
}

// onlyOn reports the rows that one side alone ran, a line a request.
func (a *aligner) onlyOn(side, other string, l *layout, to []int, rows map[row]place) {
	alone := make([][]int, len(l.tokens))
	for r := range l.rows {
		if r.request < 0 {
			continue
		}
		p, ok := partner(to, r)
		if _, held := rows[p]; !ok || !held {
			alone[r.request] = append(alone[r.request], r.position)
		}
	}
	for q, absent := range alone {
		slices.Sort(absent)
		switch {
		case len(absent) == 0:
		case to[q] < 0:
			a.notes.Warnings = append(a.notes.Warnings, fmt.Sprintf("%s: %s did not run its request %d, which begins with %s (%d rows left out)",
				side, "the "+other, q, firstTokens(l.tokens[q]), len(absent)))
		default:
			a.notes.Warnings = append(a.notes.Warnings, fmt.Sprintf("%s: the %s did not run %d rows of its request %d, from position %d on",
				side, other, len(absent), q, absent[0]))
		}
	}
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
