package il

import (
	"path/filepath"
	"slices"
)

// The oldest logger (variant C) counts the calls of a module in a step from 1.
// Its names have the suffix _(count-1), where the count is above 1, and its
// hook for inputs looks at the count before it counts its own call: 0 at call
// 0, k at call k. The hook for outputs finds k+1. So of n calls, n above 1,
//
//	directory      holds inputs of   and outputs of
//	name           call 1            call 0
//	name_j         call j+1          call j, j from 1 to n-2
//	name_(n-1)     -                 call n-1
//
// and the inputs of call 0 are lost, because call 1 wrote over them. A module
// that was called once has its own inputs.
//
// A filter "regex:k" compares the same counts with k. k = 0 selects the inputs
// of call 0 and no outputs; k above 0 the inputs of call k and the outputs of
// call k-1, both in the directory of call k-1. For k = 1 that is the one
// without a suffix, and nothing there tells it from a module that was called
// once: its inputs stay with call 0.

// putInputsRight gives the inputs in a session of variant C to the calls that
// they belong to, and returns of how many calls. A call that has nothing else
// is made. Calls must be in natural order.
func (s *Session) putInputsRight() int {
	moved := 0
	for _, step := range s.Steps {
		again := map[string]bool{}
		for _, c := range step.Calls {
			again[c.Module] = again[c.Module] || c.Index > 0
		}
		for i, c := range slices.Backward(step.Calls) { // the later call has given its own away
			if !again[c.Module] || !c.hasInputs() {
				continue
			}
			key := callKey{step.Number, c.Module, c.Index + 1}
			next := s.calls[key]
			if next == nil {
				dir := filepath.Join(filepath.Dir(c.Dir), CallName(key.module, key.call))
				next = &Call{Module: key.module, Index: key.call, Dir: dir, side: map[Direction]string{}}
				step.Calls = slices.Insert(step.Calls, i+1, next)
				s.calls[key] = next
			}
			c.giveInputs(next)
			moved++
		}
	}
	return moved
}

// countsFromOne reports whether inputs lie as variant C leaves them. There the
// last directory of a module that was called again has none; with a later
// logger, whose lists were lost, it has.
func (s *Session) countsFromOne() bool {
	later := false
	for _, step := range s.Steps {
		last, earlier := map[string]*Call{}, map[string]bool{}
		for _, c := range step.Calls {
			if l := last[c.Module]; l != nil {
				earlier[c.Module] = earlier[c.Module] || l.hasInputs()
			}
			last[c.Module] = c
		}
		for module, has := range earlier {
			switch {
			case last[module].hasInputs():
				later = true
			case has:
				return true
			}
		}
	}
	return !later
}

func (c *Call) hasInputs() bool {
	return c.side[Inputs] != "" || len(c.Slots) > 0 && c.Slots[0].Direction == Inputs
}

// giveInputs moves the inputs to a call that has none.
func (c *Call) giveInputs(to *Call) {
	n := 0
	for n < len(c.Slots) && c.Slots[n].Direction == Inputs {
		n++
	}
	to.Slots = append(slices.Clone(c.Slots[:n]), to.Slots...)
	c.Slots = c.Slots[n:]
	if path, ok := c.side[Inputs]; ok {
		to.side[Inputs] = path
		delete(c.side, Inputs)
	}
}
