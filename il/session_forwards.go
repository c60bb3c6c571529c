package il

import (
	"slices"

	"github.com/ilref/ilref/topology"
)

// A logger whose steps are ended by the root module's forward hook never ends one where
// vLLM runs a root that is decorated with @support_torch_compile: the class's __call__ goes
// straight to forward (compilation/decorators.py). All forwards then lie in step_0, the
// calls of each after those of the one before, and each with its own logits behind it.
// Whoever reads such a session finds steps of one forward each, as of any other, and the
// logits of a forward in the step after it.

// splitForwards makes a step of every forward of a step, where the lists of calls tell them
// apart and the numbers that follow are free.
func (s *Session) splitForwards() {
	var steps []*Step
	split := false
	for i, st := range s.Steps {
		forwards := forwardsOf(st.Calls)
		if n := len(forwards); n > 1 && (i+1 == len(s.Steps) || st.Number+n <= s.Steps[i+1].Number) {
			split = true
			for k, calls := range forwards {
				steps = append(steps, &Step{Number: st.Number + k, Calls: calls})
			}
			continue
		}
		steps = append(steps, st)
	}
	if !split {
		return
	}
	s.Steps, s.calls = withLaterLogits(steps), map[callKey]*Call{}
	s.LogitsMoved()
	for _, st := range s.Steps {
		counts := map[string]int{}
		for _, c := range st.Calls {
			c.Index = counts[c.Module]
			counts[c.Module]++
			s.calls[callKey{st.Number, c.Module, c.Index}] = c
		}
	}
}

// forwardsOf parts the calls of a step at each call of the module that a forward begins
// with; nil where they are one forward, or what is called again is not a whole one.
func forwardsOf(calls []*Call) [][]*Call {
	first := opening(calls)
	if first == "" {
		return nil
	}
	var out [][]*Call
	var seen map[string]bool
	for i, c := range calls {
		switch {
		case !c.listed:
			return nil // its place among the others is not known
		case c.Module == first:
			out, seen = append(out, nil), map[string]bool{}
		case i == 0:
			out, seen = [][]*Call{nil}, map[string]bool{}
		}
		if once(c.Module) && seen[c.Module] {
			return nil
		}
		seen[c.Module] = true
		out[len(out)-1] = append(out[len(out)-1], c)
	}
	if calls[0].Module != first && len(out) > 1 { // what is logged before the first such module
		out = append([][]*Call{append(out[0], out[1]...)}, out[2:]...)
	}
	return out
}

// opening is the module that every forward begins with: the model, the embedding, a layer, or the
// first that a forward calls once; "" where the step has none of them.
func opening(calls []*Call) string {
	for _, fits := range []func(topology.Module) bool{
		func(m topology.Module) bool { return m.Kind == topology.Model },
		func(m topology.Module) bool { return m.Kind == topology.Embedding },
		func(m topology.Module) bool { return m.Kind == topology.Layer },
		func(m topology.Module) bool { return once(m.Name) },
	} {
		if i := slices.IndexFunc(calls, func(c *Call) bool { return fits(topology.Of(c.Module)) }); i >= 0 {
			return calls[i].Module
		}
	}
	return ""
}

// once reports whether a forward calls a module at most once, by its name: no object that
// layers share, and none that is called again with other rows.
func once(module string) bool {
	switch m := topology.Of(module); m.Kind {
	case topology.Model, topology.Embedding, topology.Layer, topology.AttentionBlock, topology.MLP, topology.Norm, topology.Attention,
		topology.QKVLinear, topology.MergedLinear, topology.RowLinear, topology.ColumnLinear:
		return true
	}
	return false
}
