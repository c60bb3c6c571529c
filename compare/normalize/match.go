package normalize

import (
	"cmp"
	"math"
	"slices"
)

// unknown stands for a token that a session did not run: one of a prefix that
// was cached or ran in a step that was not logged. It agrees with every token.
const unknown = math.MinInt

// matching pairs the requests of two sessions: to[i] is the target's request
// for the reference's i, -1 for none, or unclear: it could be several.
type matching struct{ to, from []int }

const unclear = -2

func newMatching(ref, target [][]int) matching {
	return matching{slices.Repeat([]int{-1}, len(ref)), slices.Repeat([]int{-1}, len(target))}
}

// free reports whether neither of a pair is settled.
func (m matching) free(p agreeing) bool { return m.to[p.r] == -1 && m.from[p.t] == -1 }

// agreeing is a pair of requests whose tokens agree up to a position, so many
// of which both sides know.
type agreeing struct{ r, t, end, known int }

// match pairs requests by the position up to which their tokens agree, equal
// ones in order. Requests that begin with other tokens have no partner, nor do
// those that agree as well with several requests of other texts, which only a
// token that one side did not run would tell apart.
func match(ref, target [][]int) matching {
	var pairs []agreeing
	for i, r := range ref {
		for j, t := range target {
			if end, known := agreement(r, t); known > 0 {
				pairs = append(pairs, agreeing{i, j, end, known})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b agreeing) int {
		return cmp.Or(cmp.Compare(b.end, a.end), cmp.Compare(b.known, a.known))
	})
	m := newMatching(ref, target)
	for _, p := range pairs {
		switch {
		case !m.free(p):
		case p.known == p.end || !m.ambiguous(p, pairs, ref, target):
			m.to[p.r], m.from[p.t] = p.t, p.r
		case hasUnknown(target[p.t][:p.end]):
			m.from[p.t] = unclear
		default:
			m.to[p.r] = unclear
		}
	}
	return m
}

// ambiguous reports whether one of a pair agrees as well with an unpaired request of
// another text, or is one of more than could be told apart: there are fewer on
// the side that knows their beginning.
func (m matching) ambiguous(p agreeing, pairs []agreeing, ref, target [][]int) bool {
	refs, targets := 0, 0
	for _, q := range pairs {
		if q.end != p.end || q.known != p.known || m.to[q.r] >= 0 || m.from[q.t] >= 0 {
			continue
		}
		if q.t == p.t {
			if !slices.Equal(ref[q.r][:p.end], ref[p.r][:p.end]) {
				return true
			}
			refs++
		}
		if q.r == p.r {
			if !slices.Equal(target[q.t][:p.end], target[p.t][:p.end]) {
				return true
			}
			targets++
		}
	}
	return targets > refs && hasUnknown(target[p.t][:p.end]) || refs > targets && hasUnknown(ref[p.r][:p.end])
}

func hasUnknown(tokens []int) bool { return slices.Contains(tokens, unknown) }

// inOrder pairs requests by their order of appearance.
func inOrder(ref, target [][]int) matching {
	m := newMatching(ref, target)
	for i := range min(len(ref), len(target)) {
		m.to[i], m.from[i] = i, i
	}
	return m
}

// common counts the tokens up to which paired requests agree.
func (m matching) common(ref, target [][]int) int {
	n := 0
	for i, j := range m.to {
		if j >= 0 {
			end, _ := agreement(ref[i], target[j])
			n += end
		}
	}
	return n
}

// agreement is the position up to which two requests agree, and how many of the
// tokens before it both sides know.
func agreement(a, b []int) (end, known int) {
	for end < min(len(a), len(b)) {
		switch x, y := a[end], b[end]; {
		case x == unknown || y == unknown:
		case x != y:
			return end, known
		default:
			known++
		}
		end++
	}
	return end, known
}
