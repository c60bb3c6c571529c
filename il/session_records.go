package il

import "slices"

// Records reports whether the session recorded the inputs or the outputs of a
// call of a module. A GPU logger's filter may have taken one of them alone; of a
// call that was made in memory nothing is known to be left out.
func (s *Session) Records(step int, module string, call int, d Direction) bool {
	c := s.calls[callKey{step, module, call}]
	switch {
	case c == nil:
		return false
	case s.lacks != nil: // a call is listed by its inputs, whether it had any that a dump holds
		return d == Inputs || slices.ContainsFunc(c.Slots, func(s *Slot) bool { return s.Direction == d })
	case c.side == nil, c.side[d] != "",
		slices.ContainsFunc(c.Slots, func(s *Slot) bool { return s.Direction == d }):
		return true
	}
	// Without side files a call that was given no tensors leaves no trace but
	// its directory.
	return d == Inputs && s.Variant != VariantA
}

// RecordsPostFwdInputs reports whether the session recorded any inputs again
// after the call (log_post_fwd_inputs).
func (s *Session) RecordsPostFwdInputs() bool {
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if slices.ContainsFunc(c.Slots, func(s *Slot) bool { return s.Direction == PostFwdInputs }) {
				return true
			}
		}
	}
	return false
}
