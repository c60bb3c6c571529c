package normalize

import (
	"fmt"
	"slices"
)

// sameIDs reports whether all steps that both sessions have ran the same tokens
// in the same order.
func sameIDs(a, b *layout) bool {
	common := false
	for _, p := range a.passes {
		if i := slices.IndexFunc(b.passes, func(q pass) bool { return q.step == p.step }); i >= 0 {
			common = true
			if !slices.Equal(p.ids, b.passes[i].ids) {
				return false
			}
		}
	}
	return common
}

// telling is how many tokens tell that a request is another at other positions.
const telling = 8

// cannotPlace is an error where no request is known to be in both sessions, or where one of
// the target that begins above position 0 is none of the reference's but ran
// the tokens of one, at other positions: a fault to be found, which lining up
// would take out of sight.
func cannotPlace(a, b *layout) error {
	m := match(a.tokens, b.tokens)
	if !slices.ContainsFunc(m.to, func(i int) bool { return i >= 0 }) {
		return fmt.Errorf("no request of %s, of which the first begins %s, is told by its tokens and positions to be one of the reference's", b.session.Dir, b.beginning(0))
	}
	for q, at := range b.starts {
		if at == 0 || m.from[q] != -1 {
			continue
		}
		known := b.tokens[q][at:]
		known = known[:min(len(known), telling)]
		for _, r := range a.tokens {
			for i := range len(r) - len(known) + 1 {
				if slices.Equal(r[i:i+len(known)], known) {
					return fmt.Errorf("request %d of %s begins at position %d with %s, which the reference ran from position %d on", q, b.session.Dir, at, firstTokens(known), i)
				}
			}
		}
	}
	return nil
}

// settleDrafts takes the last draft tokens of a request, of which no later step
// tells whether they were kept, as rejected from the first on that the other
// side has another token for.
func settleDrafts(a, b *layout, m matching) {
	refs := slices.Clone(a.tokens)
	a.settle(b.tokens, m.to)
	b.settle(refs, m.from)
}

func (l *layout) settle(other [][]int, to []int) {
	for q, n := range l.drafts {
		if n == 0 || to[q] < 0 {
			continue
		}
		ids, partner := l.tokens[q], other[to[q]]
		for at := len(ids) - n; at < min(len(ids), len(partner)); at++ {
			if partner[at] != unknown && ids[at] != partner[at] {
				l.reject(q, at)
				break
			}
		}
	}
}

// reject takes the rows of a request from a position on, which are of its last
// pass, as rejected.
func (l *layout) reject(q, from int) {
	for at := from; at < len(l.tokens[q]); at++ {
		r := row{q, at}
		p := &l.passes[l.rows[r].forward]
		for _, rows := range [][]row{p.rows, p.ends, p.logits} {
			for i := range rows {
				if rows[i] == r {
					rows[i].request = rejected
				}
			}
		}
		delete(l.rows, r)
		delete(l.logits, r)
	}
	l.tokens[q] = l.tokens[q][:from]
}
