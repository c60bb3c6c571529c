package requests

// span is a reading of consecutive rows: a request and where its rows end.
type span struct{ request, lo, hi int }

// spans reads the rows of a step. Where one request may hold what looks like
// several, the reading is taken that begins fewer requests in their middle, then
// the one that has the recorded number of logits rows.
func (p *planner) spans(index int, rec recorded, rows int) []span {
	spans := p.split(index, rec, rows, true)
	merged := p.split(index, rec, rows, false)
	a, b := p.begunInside(spans, rec), p.begunInside(merged, rec)
	if b < a || b == a && rec.logits >= 0 && rec.logits != len(spans) && rec.logits == len(merged) {
		return merged
	}
	return spans
}

// begunInside counts the new requests that begin at a position above 0.
func (p *planner) begunInside(spans []span, rec recorded) int {
	n := 0
	for _, sp := range spans {
		if sp.request >= len(p.requests) && rec.positions[sp.lo] > 0 {
			n++
		}
	}
	return n
}

// split reads the rows from the first to the last. eager says what wins where
// a row continues its neighbour and another request as well: the other
// request, or the neighbour.
func (p *planner) split(index int, rec recorded, rows int, eager bool) []span {
	var spans []span
	taken := map[int]bool{}
	next := len(p.requests)
	for i := range rows {
		pos := rec.positions[i]
		follows := i > 0 && pos == rec.positions[i-1]+1
		other := p.continued(index, pos, taken)
		if follows && (other < 0 || !eager) {
			spans[len(spans)-1].hi = i + 1
			continue
		}
		if other < 0 {
			other = p.replaced(rec, i, taken)
		}
		if other < 0 {
			other = next
			next++
		}
		taken[other] = true
		spans = append(spans, span{other, i, i + 1})
	}
	return spans
}

// continued returns the request that a row at a position continues, or -1.
func (p *planner) continued(index, pos int, taken map[int]bool) int {
	best := -1
	for r, t := range p.requests {
		if pos == 0 || t.len != pos || taken[r] {
			continue
		}
		if best < 0 || t.last == index-1 && p.requests[best].last != index-1 {
			best = r
		}
	}
	return best
}

// replaced returns the request whose draft tokens a row replaces: its last
// rows, which are not a prompt's first, hold the position with another token.
// Among several the one that ran last. -1 for none.
func (p *planner) replaced(rec recorded, i int, taken map[int]bool) int {
	best, pos := -1, rec.positions[i]
	for r, t := range p.requests {
		if t.start == 0 || pos <= t.start || pos >= t.len || taken[r] {
			continue
		}
		if rec.ids != nil && t.ids != nil && t.ids[pos-t.start] == rec.ids[i] {
			continue
		}
		if best < 0 || t.last > p.requests[best].last {
			best = r
		}
	}
	return best
}

// reject marks the last rows of a request as thrown away.
func (p *planner) reject(r *tracked, rows int) {
	if rows > 0 {
		p.Steps[r.chunk.step].Chunks[r.chunk.chunk].Rejected = rows
	}
}
