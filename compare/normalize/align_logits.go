package normalize

// logits adds the logits of one pass of the reference, and the target's for the
// same positions. Logits after a chunk that the other side does not end there
// have no partner by nature, nor have those of rows that it did not run or that
// were taken back.
func (a *aligner) logits(p pass, refSteps, targetSteps stepSet) {
	ends := p.logits
	if ends == nil {
		ends = p.ends
	}
	var keep, where []place
	unfinished, notRun := 0, 0
	for i, r := range ends {
		to, ok := partner(a.to, r)
		at, held := a.target.logits[to]
		switch {
		case ok && held:
			keep, where = append(keep, place{0, i}), append(where, at)
			a.usedLogits[to] = true
		case ok && a.target.goesOn(to):
			unfinished++
		case r.request == rejected || cached(a.to, a.target, r):
			notRun++
		}
	}
	calls := logitsCalls(a.ref.session, p.step)
	switch {
	case p.logits == nil: // recorded in another way, or not at all
		refSteps.add(p.step+1, calls...)
	case len(keep) > 0:
		refSteps.add(p.step+1, a.rowsOf([]source{{calls, len(p.logits), stepName(p.step + 1)}}, keep)...)
	case unfinished+notRun < len(ends):
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
