package normalize

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// Align lines up the rows of two sessions that lay out the same tokens in
// other ways: padding, chunks, decode against prefill, another order or number
// of requests, other step numbers. A row's partner is the row of the same
// position of the same request, which is known by its tokens. The steps and
// calls of the results are those of ref, without the rows that have no
// partner.
//
// Sessions that lay out their tokens in the same way are returned as they are,
// and so are those that ran the same tokens at other positions, which is a
// fault to be found and not a layout.
func Align(ref, target *il.Session) (r, t *il.Session, n Notes) {
	return align(ref, target, [2]*il.Session{ref, target}, rankNotes{})
}

// align is Align. rows are the sessions from which the tokens and positions of
// both are read.
func align(ref, target *il.Session, rows [2]*il.Session, ranks rankNotes) (*il.Session, *il.Session, Notes) {
	n := Notes{ranks: ranks}
	a, errA := layoutOf(ref, rows[0])
	b, errB := layoutOf(target, rows[1])
	if err := cmp.Or(errA, errB); err != nil || !a.whole() || !b.whole() {
		if r, t, ok := alignSteps(ref, target); ok {
			return r, t, n
		}
		if err == nil && sameIDs(a, b) {
			n.Logits = logitsOf(a, b, inOrder(a.tokens, b.tokens))
			return ref, target, n
		}
		if err == nil {
			err = cannotPlace(a, b)
		}
		if err != nil {
			if otherRows(ref, target) {
				n.Warnings = append(n.Warnings, fmt.Sprintf("the sessions lay out their tokens in other ways, and their rows cannot be lined up: %v", err))
			}
			return ref, target, n
		}
	}
	m, other := matched(a, b)
	if !other {
		n.Logits = logitsOf(a, b, m)
		return ref, target, n
	}
	n.Logits = map[int]*Logits{}
	al := &aligner{ref: a, target: b, matching: m, notes: &n, used: make([]bool, len(b.passes)), usedLogits: map[row]bool{}}
	r, t := al.run()
	n.told = al.told()
	return r, t, n
}

// matched is which requests of two sessions are the same, and whether the tokens
// that they have in common are laid out in other ways.
func matched(a, b *layout) (m matching, other bool) {
	m = match(a.tokens, b.tokens)
	settleDrafts(a, b, m)
	if o := inOrder(a.tokens, b.tokens); o.common(a.tokens, b.tokens) >= m.common(a.tokens, b.tokens) && sameLayout(a, b, o) {
		return o, false
	}
	return m, !sameLayout(a, b, m) && !movedPositions(a, b) && slices.ContainsFunc(m.to, func(i int) bool { return i >= 0 })
}

// sameLayout reports whether the passes of equal steps have the same rows in
// the same order, and no padding.
func sameLayout(a, b *layout, m matching) bool {
	byStep := map[int]pass{}
	for _, p := range b.passes {
		byStep[p.step] = p
	}
	common := false
	for _, p := range a.passes {
		q, ok := byStep[p.step]
		if !ok {
			continue
		}
		common = true
		if len(p.rows) != len(q.rows) || p.logits != nil && q.logits != nil && len(p.logits) != len(q.logits) {
			return false
		}
		for i, r := range p.rows {
			if r.request == rejected && r == q.rows[i] && p.ids[i] == q.ids[i] {
				continue
			}
			if to, ok := partner(m.to, r); !ok || to != q.rows[i] {
				return false
			}
		}
	}
	return common
}

// movedPositions reports whether the first passes ran the same tokens at other
// positions.
func movedPositions(a, b *layout) bool {
	p, q := a.passes[0], b.passes[0]
	if len(p.rows) != len(q.rows) {
		return false
	}
	moved := false
	for i := range p.rows {
		x, y := p.rows[i], q.rows[i]
		if x.request < 0 || y.request < 0 || a.token(x) != b.token(y) {
			return false
		}
		moved = moved || x.position != y.position
	}
	return moved
}

// token is the token of a row.
func (l *layout) token(r row) int {
	if t := l.tokens[r.request]; r.position < len(t) {
		return t[r.position]
	}
	return math.MinInt
}

// aligner builds the two sessions.
type aligner struct {
	ref, target *layout
	matching
	notes      *Notes
	used       []bool // the target's passes with a row that has a partner
	usedLogits map[row]bool
}

func (a *aligner) run() (*il.Session, *il.Session) {
	refSteps, targetSteps := stepSet{}, stepSet{}
	passAt := map[int]int{}
	for i, p := range a.ref.passes {
		passAt[p.step] = i
	}
	for _, st := range a.ref.session.Steps {
		refSteps.at(st.Number)
		targetSteps.at(st.Number)
		for _, c := range st.Calls {
			if _, isPass := passAt[st.Number]; !isPass && c.Module != topology.LogitsProcessorName {
				refSteps.add(st.Number, c)
			}
		}
	}
	for _, p := range a.ref.passes {
		a.logits(p, refSteps, targetSteps)
		a.noteLogits(p)
	}
	for _, p := range a.ref.passes {
		a.pass(p, refSteps, targetSteps)
	}
	a.leftover(refSteps, targetSteps)
	a.report()
	return derive(a.ref.session, refSteps.list()), derive(a.target.session, targetSteps.list())
}

// told is a session of the tokens and positions of the rows that are kept, for
// reading them again: the positions may have left the target's own.
func (a *aligner) told() *il.Session {
	var steps []*il.Step
	for _, p := range a.ref.passes {
		var ids, positions []int
		for _, r := range p.rows {
			to, ok := partner(a.to, r)
			if _, held := a.target.rows[to]; ok && held {
				ids, positions = append(ids, a.target.token(to)), append(positions, to.position)
			}
		}
		if len(ids) > 0 {
			embed := &il.Call{Module: topology.EmbedTokensName, Slots: []*il.Slot{positionsSlot("0", ids, len(ids))}}
			steps = append(steps, &il.Step{Number: p.step, Calls: []*il.Call{embed, positionsCall(positions)}})
		}
	}
	return il.NewSession(a.target.session.Dir, a.target.session.Variant, steps)
}

// stepSet collects calls by step.
type stepSet map[int]*il.Step

func (s stepSet) at(n int) *il.Step {
	if s[n] == nil {
		s[n] = &il.Step{Number: n}
	}
	return s[n]
}

func (s stepSet) add(n int, calls ...*il.Call) { s.at(n).Calls = append(s.at(n).Calls, calls...) }

func (s stepSet) list() []*il.Step {
	var out []*il.Step
	for _, st := range s {
		out = append(out, st)
	}
	return out
}

// pass adds the calls of one pass of the reference, and the target's rows for
// it.
func (a *aligner) pass(p pass, refSteps, targetSteps stepSet) {
	var keep, where []place
	for i, r := range p.rows {
		to, ok := partner(a.to, r)
		at, held := a.target.rows[to]
		if !ok || !held {
			continue
		}
		keep, where = append(keep, place{0, i}), append(where, at)
		a.used[at.forward] = true
	}
	calls := passCalls(a.ref.session, p.step)
	if len(keep) == 0 {
		if !notRun(p.rows, a.to, a.target) {
			refSteps.add(p.step, calls...)
		}
		return
	}
	refSteps.add(p.step, a.rowsOf([]source{{calls, len(p.rows), stepName(p.step)}}, keep)...)
	targetSteps.add(p.step, a.targetRows(where, func(q pass) source {
		return source{passCalls(a.target.session, q.step), len(q.rows), stepName(q.step)}
	})...)
}

// targetRows makes calls that hold the given rows of the target's passes, of
// which each is a source. It renumbers the places.
func (a *aligner) targetRows(where []place, of func(pass) source) []*il.Call {
	var sources []source
	index := map[int]int{} // of a pass in sources
	for i, w := range where {
		k, ok := index[w.forward]
		if !ok {
			k = len(sources)
			index[w.forward] = k
			sources = append(sources, of(a.target.passes[w.forward]))
		}
		where[i].forward = k
	}
	return a.rowsOf(sources, where)
}

// source is the calls of a pass, whose tensors have a number of rows.
type source struct {
	calls []*il.Call
	rows  int
	name  string
}

// rowsOf makes calls that hold the given rows of the sources' calls.
func (a *aligner) rowsOf(sources []source, where []place) []*il.Call {
	if at, ok := run(where); ok && len(sources) == 1 && at == 0 && len(where) == sources[0].rows {
		return sources[0].calls // all rows as they are
	}
	type id struct {
		module string
		index  int
	}
	maps := make([]map[id]*il.Call, len(sources))
	var order []*il.Call
	seen := map[id]bool{}
	for k, s := range sources {
		maps[k] = map[id]*il.Call{}
		for _, c := range s.calls {
			key := id{c.Module, c.Index}
			maps[k][key] = c
			if !seen[key] {
				seen[key] = true
				order = append(order, c)
			}
		}
	}
	var out []*il.Call
	for _, c := range order {
		same := make([]*il.Call, len(sources))
		for k := range sources {
			same[k] = maps[k][id{c.Module, c.Index}]
		}
		out = append(out, withSlots(c, a.slotsOf(same, sources, where)))
	}
	return out
}

// slotsOf gathers every slot that any of the calls has. calls[k] is of
// sources[k], or nil.
func (a *aligner) slotsOf(calls []*il.Call, sources []source, where []place) []*il.Slot {
	var slots []*il.Slot
	for _, c := range calls {
		if c == nil {
			continue
		}
		for _, s := range c.Slots {
			if slices.ContainsFunc(slots, func(x *il.Slot) bool { return x.Direction == s.Direction && x.Path == s.Path }) {
				continue
			}
			from := make([]origin, len(sources))
			for k, other := range calls {
				from[k] = origin{rows: sources[k].rows, name: sources[k].name, many: topology.Of(c.Module).Kind == topology.QKNorm}
				if other != nil {
					from[k].slot = other.Slot(s.Direction, s.Path)
				}
				if s.Direction == il.Noise && from[k].slot == nil && other != nil && other.Slot(il.Outputs, s.Path) != nil {
					from[k].slot = quiet(s, sources[k].rows)
				}
			}
			slots = append(slots, gathered(s, from, where, a.notes.ranks))
		}
	}
	return slots
}

// passCalls are the calls of a step without those of the logits before it.
func passCalls(s *il.Session, step int) []*il.Call {
	var out []*il.Call
	for _, st := range s.Steps {
		if st.Number == step {
			for _, c := range st.Calls {
				if c.Module != topology.LogitsProcessorName {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// logitsCalls are the calls that compute the logits of a pass.
func logitsCalls(s *il.Session, step int) []*il.Call {
	if c := s.Call(step+1, topology.LogitsProcessorName, 0); c != nil {
		return []*il.Call{c}
	}
	return nil
}

func stepName(n int) string { return fmt.Sprintf("step_%d", n) }
