package lint

import (
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
)

// usual is what the calls of a session usually hold.
type usual struct {
	calls map[string]int            // by kind
	slots map[string]map[slotID]int // calls of a kind that hold a tensor or stub in a slot
	sides map[string]map[il.Direction]int
	ranks map[int]int // slots by their number of tensors
}

type slotID struct {
	direction il.Direction
	path      string
}

// kindOf groups calls that record the same slots: a module of every layer but
// the first, which takes no residual.
func (c *callFacts) kindOf() string {
	if c.Layer == 0 {
		return c.Module
	}
	return c.Pattern()
}

func newUsual(steps []*stepFacts) *usual {
	u := &usual{calls: map[string]int{}, slots: map[string]map[slotID]int{}, sides: map[string]map[il.Direction]int{}, ranks: map[int]int{}}
	for _, s := range steps {
		for _, c := range s.calls {
			k := c.kindOf()
			if u.calls[k]++; u.slots[k] == nil {
				u.slots[k], u.sides[k] = map[slotID]int{}, map[il.Direction]int{}
			}
			for d := range c.has {
				u.sides[k][d]++
			}
			for _, slot := range c.Slots {
				u.slots[k][slotID{slot.Direction, slot.Path}]++
				if slot.Stub == nil {
					u.ranks[len(slot.Tensors)]++
				}
			}
		}
	}
	return u
}

// devices is the number of tensors that most slots hold: the number of ranks.
func (u *usual) devices() int {
	best, all := 0, 0
	for n, k := range u.ranks {
		all += k
		if k > u.ranks[best] || k == u.ranks[best] && n > best {
			best = n
		}
	}
	if 2*u.ranks[best] <= all {
		return 0
	}
	return best
}

// most reports whether n of the calls of a kind are more than half of at least
// two others.
func (u *usual) most(kind string, n int) bool { return n >= 2 && 2*n > u.calls[kind] }

// slots holds every call against its side files, or, where there are none,
// against what calls of its kind usually hold.
func (l *linter) slots() {
	stubs := &stubCount{}
	for _, s := range l.steps {
		for _, c := range s.calls {
			stubs.add(l, c)
			if c.noDir || c.open || c.quirk {
				continue
			}
			l.halves(c)
			for _, n := range c.side {
				l.sideNote(c, n)
			}
			if !c.sides {
				l.usualSlots(c)
			}
			l.missingRanks(c)
		}
	}
	stubs.report(l)
}

// halves finds a call without inputs or outputs where others of its kind have
// them. self_attn has no inputs: vLLM calls it with keyword arguments.
func (l *linter) halves(c *callFacts) {
	must := c.sides && l.session.Variant == il.VariantA // it writes both side files of every call
	for _, d := range directions {
		if d == il.Inputs && l.session.Variant == il.VariantC {
			continue // the oldest logger overwrites those of a module that is called again
		}
		if c.has[d] || !l.usual.most(c.kindOf(), l.usual.sides[c.kindOf()][d]) && (!must || d == il.PostFwdInputs) {
			continue
		}
		l.add(Error, "missing-"+strings.ReplaceAll(string(d), "_", "-"), c, nil,
			"%s records no %s, as other calls of its kind do: the files have gone, or the forward failed; record again", c.name(), d)
	}
}

func (l *linter) sideNote(c *callFacts, n sideNote) {
	name := c.name() + " " + slotName(n.direction, n.path)
	at := &fact{slot: &il.Slot{Direction: n.direction, Path: n.path}}
	switch n.kind {
	case noteUnreadable:
		l.add(Error, "unreadable-side-file", c, at, "%v; remove it, or record again", n.err)
	case noteAbsent:
		id := slotID{n.direction, n.path}
		switch {
		case l.Checked.Tensors == 0:
		case l.usual.slots[c.kindOf()][id] > 0:
			l.add(Error, "missing-tensor", c, at, "%s: %s.json lists %s, but there is no .pt file of it: it has gone, or was not copied; record again", name, n.direction, n.said)
		default:
			l.add(Warning, "missing-tensor", c, at, "%s: %s.json lists %s, but no such tensor was saved anywhere: device_names may leave out its device", name, n.direction, n.said)
		}
	case noteOther:
		l.add(Error, "side-file-mismatch", c, at, "%s is %s%s, but %s.json says %s: files of two runs are mixed; record again into an empty directory",
			name, n.fact.dtype, tensor.ShapeString(n.fact.shape), n.direction, n.said)
	case noteUnlisted:
		l.add(Error, "side-file-mismatch", c, at, "%s has a tensor file that %s.json does not list: files of two runs are mixed; record again into an empty directory", name, n.direction)
	case noteNoSide:
		if l.session.Variant != il.VariantB {
			l.add(Warning, "missing-side-file", c, at, "%s has tensors, but no %s.json beside them as the rest of the session has: the file has gone; nothing depends on it", c.name(), n.direction)
		}
	}
}

// usualSlots finds a slot that is recorded for most calls of the kind, but not
// for this one.
func (l *linter) usualSlots(c *callFacts) {
	k := c.kindOf()
	var ids []slotID
	for id, n := range l.usual.slots[k] {
		if l.usual.most(k, n) && c.has[id.direction] && c.Slot(id.direction, id.path) == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b slotID) int {
		return strings.Compare(slotName(a.direction, a.path), slotName(b.direction, b.path))
	})
	for _, id := range ids {
		l.add(Warning, "missing-tensor", c, &fact{slot: &il.Slot{Direction: id.direction, Path: id.path}},
			"%s has no %s, which %d of %s of its kind record: the file has gone, or was not copied", c.name(), slotName(id.direction, id.path), l.usual.slots[k][id], plural.Count(l.usual.calls[k], "call"))
	}
}

// missingRanks finds slots with fewer ranks than the others.
func (l *linter) missingRanks(c *callFacts) {
	for _, s := range c.Slots {
		if n := len(s.Tensors); s.Stub == nil && n > 0 && n < l.devices {
			var have []string
			for _, f := range s.Tensors {
				have = append(have, f.Device)
			}
			l.add(Error, "missing-rank", c, &fact{slot: s}, "%s %s is there for %s alone, other tensors for %s: files of a rank have gone; copy or record them again",
				c.name(), slotName(s.Direction, s.Path), strings.Join(have, ", "), plural.Count(l.devices, "rank"))
		}
	}
}

// filterQuirks recognises the halves of calls that the GPU logger leaves with
// a filter "regex:k": its hook before the forward counts the call before it
// compares, the one after the forward behind that. With ":0" call 1 keeps its
// inputs, with ":k" call k its outputs and call k+1 its inputs.
func (l *linter) filterQuirks() {
	type half struct{ in, out bool }
	calls := map[string]map[int]half{} // whether any step has them
	first := map[string]*callFacts{}
	for _, s := range l.steps {
		for _, c := range s.calls {
			if calls[c.Module] == nil {
				calls[c.Module] = map[int]half{}
				first[c.Module] = c
			}
			h := calls[c.Module][c.Index]
			calls[c.Module][c.Index] = half{h.in || c.has[il.Inputs], h.out || c.has[il.Outputs]}
		}
	}
	quirk := map[string]int{}
	for m, hs := range calls {
		for k, h := range hs {
			next, ok := hs[k+1]
			switch {
			case len(hs) == 2 && ok && next.in && !next.out && h.out && h.in == (k == 0):
				quirk[m] = k
			case len(hs) == 1 && k > 0 && h.out && !h.in: // of the last call
				quirk[m] = k
			}
		}
	}
	for _, s := range l.steps {
		for _, c := range s.calls {
			k, ok := quirk[c.Module]
			if !ok {
				continue
			}
			c.quirk = k > 0 || c.Index > 0
			if c == first[c.Module] {
				l.addQuirk(c, k, len(calls[c.Module]) == 1)
			}
		}
	}
}

func (l *linter) addQuirk(c *callFacts, k int, last bool) {
	switch {
	case last:
		l.add(Info, "call-filter", c, nil, "%s has outputs alone: so the GPU logger does with the filter \":%d\"; give no \":%d\" to record whole calls", c.name(), k, k)
		return
	case k == 0:
		l.add(Info, "call-filter", c, nil, "%s is there without outputs: the filter \":0\" of the GPU logger keeps the inputs of call 1 too; give no \":0\" to record whole calls", il.CallName(c.Module, 1))
		return
	}
	l.add(Info, "call-filter", c, nil, "%s has outputs alone and %s inputs alone: so the GPU logger does with the filter \":%d\"; give no \":%d\" to record whole calls",
		il.CallName(c.Module, k), il.CallName(c.Module, k+1), k, k)
}

// stubCount gathers the tensors that were too large, for one line.
type stubCount struct {
	n       int
	example string
	reason  string
}

func (x *stubCount) add(l *linter, c *callFacts) {
	for _, s := range c.Slots {
		switch {
		case s.Stub == nil:
		case s.Stub.DType == tensor.Invalid:
			l.add(Error, "unreadable-stub", c, &fact{slot: s}, "%s; remove it, or record again", s.Stub.Reason)
		default:
			if x.n++; x.n == 1 {
				x.example = c.name() + " " + slotName(s.Direction, s.Path) + " " + tensor.ShapeString(s.Stub.Shape)
				x.reason = s.Stub.Reason
			}
		}
	}
}

func (x *stubCount) report(l *linter) {
	if x.n > 0 {
		l.addSession(Info, "skipped-tensors", "%s of %d were not saved (%s), for example %s; raise max_tensor_size to record them",
			plural.Count(x.n, "tensor"), x.n+l.Checked.Tensors, x.reason, x.example)
	}
}
