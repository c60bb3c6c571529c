package shard

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ilref/ilref/il"
)

// Join puts sessions together that hold parts of the calls of one, in the
// order in which like made them. A part may repeat the inputs of a call of
// another one, as they tell the tokens; results are in one part alone. dir is
// what messages call the whole.
func Join(dir string, like *il.Session, parts []*il.Session) (*il.Session, error) {
	steps := map[int]*il.Step{}
	calls := map[int]map[Unit]*il.Call{} // by step
	for _, s := range parts {
		for _, st := range s.Steps {
			if steps[st.Number] == nil {
				steps[st.Number], calls[st.Number] = &il.Step{Number: st.Number}, map[Unit]*il.Call{}
			}
			for _, c := range st.Calls {
				have := calls[st.Number][Unit{c.Module, c.Index}]
				if have == nil {
					d := *c
					calls[st.Number][Unit{c.Module, c.Index}] = &d
					steps[st.Number].Calls = append(steps[st.Number].Calls, &d)
					continue
				}
				if returned(have) && returned(c) {
					return nil, fmt.Errorf("%s and %s both hold what a call returned: give each part once", have.Dir, c.Dir)
				}
				have.Slots = bothSlots(have.Slots, c.Slots)
			}
		}
	}
	out := make([]*il.Step, 0, len(steps))
	for _, st := range steps {
		inOrder(st, like)
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b *il.Step) int { return cmp.Compare(a.Number, b.Number) })
	variant := il.VariantA
	if len(parts) > 0 {
		variant = parts[0].Variant
	}
	return il.NewSession(dir, variant, out), nil
}

func returned(c *il.Call) bool {
	return slices.ContainsFunc(c.Slots, func(s *il.Slot) bool { return s.Direction != il.Inputs })
}

// bothSlots are the slots of a call that two parts hold; inputs that both have
// are the same.
func bothSlots(a, b []*il.Slot) []*il.Slot {
	if slices.ContainsFunc(b, func(s *il.Slot) bool { return s.Direction != il.Inputs }) {
		a, b = b, a // the part that made the call has all of it
	}
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.ContainsFunc(a, func(x *il.Slot) bool { return x.Direction == s.Direction && x.Path == s.Path }) {
			out = append(out, s)
		}
	}
	return out
}

// inOrder sorts the calls of a step as like made them; others stay behind.
func inOrder(st *il.Step, like *il.Session) {
	at := map[Unit]int{}
	for _, s := range like.Steps {
		if s.Number == st.Number {
			for i, c := range s.Calls {
				at[Unit{c.Module, c.Index}] = i - len(s.Calls)
			}
		}
	}
	slices.SortStableFunc(st.Calls, func(a, b *il.Call) int {
		return cmp.Compare(at[Unit{a.Module, a.Index}], at[Unit{b.Module, b.Index}])
	})
}
