package normalize

import (
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// sameResults gives a result that one side holds under a number and the other
// without one the same slot, where the form of a recording does not tell a tuple of
// one tensor from a tensor, or holds the first result alone.
func sameResults(forms [2]*il.Session, ref, target *il.Session) (r, t *il.Session) {
	a, b := forms[0].Lacks(), forms[1].Lacks()
	switch {
	case b != nil && (b.Later || a == nil || !a.Later):
		return ref, withResultsOf(ref, target, b.Later)
	case a != nil:
		return withResultsOf(target, ref, a.Later), target
	}
	return ref, target
}

// withResultsOf gives the single results of s the slots that those of other have;
// with first, that of the first of several, of which s has no more.
func withResultsOf(other, s *il.Session, first bool) *il.Session {
	single := map[string]string{} // by module
	for _, st := range other.Steps {
		for _, c := range st.Calls {
			if slot := onlyResult(c); slot != nil {
				single[c.Module] = slot.Path
			} else if first && c.Slot(il.Outputs, "0") != nil {
				single[c.Module] = "0"
			}
		}
	}
	changed := false
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			slot := onlyResult(c)
			if path, ok := single[c.Module]; slot != nil && ok && path != slot.Path {
				slots := slices.Clone(c.Slots)
				d := *slot
				d.Path = path
				slots[slices.Index(slots, slot)] = &d
				c, changed = withSlots(c, slots), true
			}
			out.Calls = append(out.Calls, c)
		}
		steps = append(steps, out)
	}
	if !changed {
		return s
	}
	return derive(s, steps)
}

// onlyResult is what a call returned, where that is one tensor.
func onlyResult(c *il.Call) *il.Slot {
	var only *il.Slot
	for _, s := range c.Slots {
		switch {
		case s.Direction != il.Outputs:
		case only != nil || s.Path != "" && s.Path != "0":
			return nil
		default:
			only = s
		}
	}
	return only
}

// heldByBoth takes from each side what the form of the other has no place for, and
// counts the tensors. forms are the sessions as they were recorded.
func heldByBoth(forms [2]*il.Session, ref, target *il.Session) (r, t *il.Session, gone int) {
	if forms[0].Lacks() == nil && forms[1].Lacks() == nil {
		return ref, target, 0
	}
	r, n := without(ref, forms[1], target)
	t, m := without(target, forms[0], ref)
	return r, t, n + m
}

// without takes from s what the form of other cannot hold, and arguments by keyword
// that other does not: hooks that see positional arguments alone are the rule.
// held is what is compared of other.
func without(s, form, held *il.Session) (*il.Session, int) {
	cannot, absent := form.CannotHold(), absentFrom(form.Lacks(), held)
	gone := 0
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		steps = append(steps, out)
		for _, c := range st.Calls {
			n := len(c.Slots)
			if absent(st.Number, c) {
				gone += n
				continue
			}
			other := held.Call(st.Number, c.Module, c.Index)
			slots := slices.DeleteFunc(slices.Clone(c.Slots), func(x *il.Slot) bool {
				if other != nil && other.Slot(x.Direction, x.Path) != nil {
					return false
				}
				return x.Keyword() || cannot != nil && cannot(c.Module, x.Direction, x.Path)
			})
			if gone += n - len(slots); len(slots) == n {
				out.Calls = append(out.Calls, c)
			} else if len(slots) > 0 {
				out.Calls = append(out.Calls, withSlots(c, slots))
			}
		}
	}
	if gone == 0 {
		return s, 0
	}
	return derive(s, steps), gone
}

// absentFrom reports whether a call is one of a forward that the form of held leaves
// out: those that it names nothing of, and the last logits.
func absentFrom(lacks *il.Lacks, held *il.Session) func(step int, c *il.Call) bool {
	if lacks == nil || !lacks.Steps && !lacks.Logits {
		return func(int, *il.Call) bool { return false }
	}
	ran, last := map[int]bool{}, -1
	for _, st := range held.Steps {
		if len(st.Calls) > 0 {
			ran[st.Number], last = true, max(last, st.Number)
		}
	}
	return func(step int, c *il.Call) bool {
		if topology.Of(c.Module).Kind == topology.Logits {
			return lacks.Steps && !ran[step-1] || lacks.Logits && step > last
		}
		return lacks.Steps && !ran[step]
	}
}
