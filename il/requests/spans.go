package requests

import "slices"

// span is a reading of consecutive rows: a request and where its rows end.
type span struct{ request, lo, hi int }

// spans reads the rows of a step, as the session says or else by positions. Where one request may hold what looks like
// several, the reading is taken that begins fewer requests in their middle, then
// the one that has the recorded number of logits rows.
func (p *planner) spans(index int, rec recorded, rows int) []span {
	if rec.said != nil {
		return rec.said
	}
	spans := p.split(index, rec, rows, true)
	merged := p.split(index, rec, rows, false)
	a, b := p.begunInside(spans, rec), p.begunInside(merged, rec)
	if b < a || b == a && rec.logits >= 0 && p.hasLogits(merged, rec) && (!p.hasLogits(spans, rec) || p.resumed(merged, index) < p.resumed(spans, index)) {
		spans = merged
	}
	if rec.logits > len(spans) && !p.hasLogits(spans, rec) {
		return p.withHit(spans, rec)
	}
	return spans
}

// cacheBlock is how many tokens a block of a prefix cache holds in vLLM.
const cacheBlock = 16

// withHit reads the rows of one span as two, the latter of a request that begins
// behind a cached prefix where its neighbour ends, if the logits are those of
// such a reading.
func (p *planner) withHit(spans []span, rec recorded) []span {
	for k, sp := range spans {
		for i := sp.lo + 1; i < sp.hi; i++ {
			if rec.positions[i]%cacheBlock != 0 {
				continue
			}
			out := slices.Insert(slices.Clone(spans), k+1, span{len(p.requests), i, sp.hi})
			out[k].hi = i
			if out = p.numbered(out); p.hasLogits(out, rec) {
				return out
			}
		}
	}
	return spans
}

// numbered numbers the new requests of a reading in order.
func (p *planner) numbered(spans []span) []span {
	next := len(p.requests)
	for i := range spans {
		if spans[i].request >= len(p.requests) {
			spans[i].request = next
			next++
		}
	}
	return spans
}

// hasLogits reports whether a reading may have the recorded number of logits
// rows: all rows of requests whose prompt is over, all or the last of those that
// go on, the last of those that begin.
func (p *planner) hasLogits(spans []span, rec recorded) bool {
	sums := map[int]bool{0: true}
	for _, sp := range spans {
		one, all := true, false
		if sp.request < len(p.requests) {
			t := p.requests[sp.request]
			one, all = !t.decoding && t.len == rec.positions[sp.lo], true
		}
		next := map[int]bool{}
		for n := range sums {
			if one {
				next[n+1] = true
			}
			if all {
				next[n+sp.hi-sp.lo] = true
			}
		}
		sums = next
	}
	return sums[rec.logits]
}

// resumed counts the requests of a reading that did not run in the step before.
func (p *planner) resumed(spans []span, index int) int {
	n := 0
	for _, sp := range spans {
		if sp.request < len(p.requests) && p.requests[sp.request].last < index-1 {
			n++
		}
	}
	return n
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
		other := p.continued(index, pos, taken, ofPrompt(rec, i))
		if follows && (other < 0 || !eager) {
			spans[len(spans)-1].hi = i + 1
			continue
		}
		if !follows && !(other >= 0 && ofPrompt(rec, i)) {
			other = p.earlier(index, other, p.replaced(rec, i, taken))
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

// continued returns the request that a row at a position continues, or -1: one
// that ran in the step before, then one that is not decoding where a decoding one
// would have more logits, then the one that stood first.
func (p *planner) continued(index, pos int, taken map[int]bool, ofPrompt bool) int {
	best, most := -1, -1
	for r, t := range p.requests {
		if pos == 0 || t.len != pos || taken[r] {
			continue
		}
		fits := 0
		if t.last == index-1 {
			fits += 2
		}
		if ofPrompt && !t.decoding {
			fits++
		}
		if fits > most || fits == most && fits >= 2 && t.chunk.chunk < p.requests[best].chunk.chunk {
			best, most = r, fits
		}
	}
	return best
}

// ofPrompt reports whether a row and those that follow it are a chunk of a
// prompt: they are more than have logits in the whole step.
func ofPrompt(rec recorded, i int) bool {
	n := i + 1
	for n < len(rec.positions) && rec.positions[n] == rec.positions[n-1]+1 {
		n++
	}
	return 0 <= rec.logits && rec.logits < n-i
}

// earlier is the one of two requests, -1 for none, that a row is of: the one that
// it continues, or the one whose draft tokens it replaces where that stands before
// the other in the step before, for engines keep the order.
func (p *planner) earlier(index, continued, replaced int) int {
	if continued < 0 || replaced < 0 {
		return max(continued, replaced)
	}
	a, b := p.requests[continued], p.requests[replaced]
	if b.decoding && a.last == index-1 && b.last == index-1 && b.chunk.chunk < a.chunk.chunk {
		return replaced
	}
	return continued
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
