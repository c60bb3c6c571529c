package normalize

import (
	"slices"

	"github.com/ilref/ilref/il"
)

// Logits says what the rows of a forward's logits are of, in two sessions that
// were made comparable.
type Logits struct {
	Rows int         // of the forward
	Of   []LogitsRow // one a row of logits
	more bool        // of other rows than the engine samples from
}

// LogitsRow is what a row of logits is of.
type LogitsRow struct {
	Row               int // of the forward
	Request, Position int // of that row, in the reference
	Next              NextToken
	ID                int // of the next token, where it is known
}

// NextToken tells of the token behind a row of logits, whose probability the row
// gives.
type NextToken int

const (
	NextRun   NextToken = iota // both sides ran it, or one that ends there and the other one token before
	NextNone                   // neither side tells it
	NextOther                  // the sides ran other tokens there
	NextLost                   // the row is of no request that both ran: padding, or a rejected draft
)

// next is the token behind a row of the reference, whose partner is to. An
// engine does not run the last token that it samples, a trainer does: the end of
// a request that one side alone ran counts, and what lies behind it (padding, more
// turns) does not.
func next(a, b *layout, r, to row) (id int, how NextToken) {
	x, endX := a.following(r)
	y, endY := b.following(to)
	switch {
	case x == unknown && y == unknown:
		return 0, NextNone
	case x != unknown && y != unknown && x != y:
		return 0, NextOther
	case x == unknown && !endY, y == unknown && !endX:
		return 0, NextNone
	case x == unknown:
		return y, NextRun
	}
	return x, NextRun
}

// following is the token behind a row in its request, and whether the request
// ends there.
func (l *layout) following(r row) (id int, end bool) {
	ids := l.tokens[r.request]
	if r.position+1 >= len(ids) {
		return unknown, false
	}
	return ids[r.position+1], r.position+2 == len(ids)
}

// logitsOf tells of the logits of sessions that lay out their tokens in the same
// way. Forwards that do not have the same rows of logits are left out.
func logitsOf(a, b *layout, m matching) map[int]*Logits {
	out := map[int]*Logits{}
	for _, p := range a.passes {
		i := slices.IndexFunc(b.passes, func(q pass) bool { return q.step == p.step })
		if i < 0 || len(b.passes[i].rows) != len(p.rows) || p.logits == nil || len(b.passes[i].logits) != len(p.logits) {
			continue
		}
		at := map[row]int{}
		for k, r := range p.rows {
			at[r] = k
		}
		l := &Logits{Rows: len(p.rows), more: p.more}
		for k, r := range p.logits {
			x := LogitsRow{Row: at[r], Request: r.request, Position: r.position, Next: NextLost}
			if to, ok := partner(m.to, r); ok && to == b.passes[i].logits[k] {
				x.ID, x.Next = next(a, b, r, to)
			}
			l.Of = append(l.Of, x)
		}
		out[p.step] = l
	}
	return out
}

// noteLogits tells of the rows of logits that logits keeps of a pass of the
// reference.
func (a *aligner) noteLogits(p pass) {
	at := map[row]int{} // among the rows that are kept
	for _, r := range p.rows {
		if to, ok := partner(a.to, r); ok {
			if _, held := a.target.rows[to]; held {
				at[r] = len(at)
			}
		}
	}
	l := &Logits{Rows: len(at), more: p.more}
	for _, r := range p.logits {
		to, ok := partner(a.to, r)
		if _, held := a.target.logits[to]; ok && held {
			x := LogitsRow{Row: at[r], Request: r.request, Position: r.position}
			x.ID, x.Next = next(a.ref, a.target, r, to)
			l.Of = append(l.Of, x)
		}
	}
	if len(l.Of) > 0 {
		a.notes.Logits[p.step] = l
	}
}

// sameTokens tells of sessions that are not lined up: whether they lay out tokens
// that they have in common in other ways, and what their logits are of. rows are the
// sessions from which tokens and positions are read.
func sameTokens(ref, target *il.Session, rows [2]*il.Session) (other bool, logits map[int]*Logits) {
	a, errA := layoutOf(ref, rows[0])
	b, errB := layoutOf(target, rows[1])
	if errA != nil || errB != nil {
		return false, nil
	}
	m, other := matched(a, b)
	return other, logitsOf(a, b, m)
}

// lastRows are the rows of n rows of logits that are more than an engine computes:
// of all tokens, or of as many at the end of every chunk, as trainers compute them.
// nil where they are neither.
func (p *pass) lastRows(n int) []row {
	switch {
	case n <= 0:
		return nil
	case n == len(p.rows):
		return slices.Clone(p.rows)
	}
	var chunks [][]row // neighbours of one request, one position after the other
	for i, r := range p.rows {
		if k := len(chunks) - 1; i > 0 && p.rows[i-1] == (row{r.request, r.position - 1}) && r.request >= 0 {
			chunks[k] = append(chunks[k], r)
		} else {
			chunks = append(chunks, []row{r})
		}
	}
	each := n / len(chunks)
	if n%len(chunks) != 0 || each == 0 {
		return nil
	}
	var out []row
	for _, c := range chunks {
		if len(c) < each {
			return nil
		}
		out = append(out, c[len(c)-each:]...)
	}
	return out
}

// MoreLogits reports whether a forward has logits of other rows than the last of
// each request.
func (n *Notes) MoreLogits() bool {
	for _, l := range n.Logits {
		if l.more {
			return true
		}
	}
	return false
}

// Told tells the tokens and positions of the prepared target where rows were lined
// up, nil where they were not.
func (n *Notes) Told() *il.Session { return n.told }
