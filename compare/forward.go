package compare

import (
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// forward is one forward pass: the calls of a step without the logits calls
// that open it, which belong to the forward before, and with those that open
// the next step.
type forward struct {
	number int     // the step of its calls, logits apart
	calls  []*call // in execution order; parents before their children
	top    []*call // those that no other call contains
	work   work
	why    string // work is not the same

	otherLength bool // the two sides embed unequal numbers of tokens
}

// call is one call of a module, in either session or both.
type call struct {
	step        int
	module      string
	of          topology.Module // what the module is
	index       int
	ref, target *il.Call
	slots       []*slotPair // selected ones
	parent      *call
	children    []*call
	layer       int // the layer it works for, -1 outside layers
	report      *Module

	// What the judge found of the inputs:
	in            handed
	hasInputs     bool // some were compared
	inputsMissing bool // some were not
}

// order pairs the calls of two sessions and puts them in execution order.
func order(ref, target *il.Session, sel *selection) []*forward {
	var out []*forward
	get := func(n int) *forward {
		i, ok := slices.BinarySearchFunc(out, n, func(f *forward, n int) int { return f.number - n })
		if !ok {
			out = slices.Insert(out, i, &forward{number: n})
		}
		return out[i]
	}
	arch := architecture(ref, target)
	for _, st := range mergeSteps(ref, target) {
		calls := mergeCalls(st, arch)
		n := 0
		for n < len(calls) && isLogits(calls[n]) {
			n++
		}
		if n > 0 {
			f := get(st.number - 1)
			f.calls = append(f.calls, calls[:n]...)
		}
		if n < len(calls) {
			f := get(st.number)
			f.calls = append(f.calls, calls[n:]...)
		}
	}
	for _, f := range out {
		f.link()
		for _, c := range f.calls {
			if sel.has(c.step, c.module) {
				c.slots = pairSlots(c.step, c, sel.commonOnly)
			}
		}
	}
	return out
}

// isLogits recognises the one module that vLLM calls after the forward.
func isLogits(c *call) bool { return c.of.Kind == topology.Logits }

// architecture is one that has all modules of both sessions, nil where none has.
func architecture(ref, target *il.Session) *topology.Architecture {
	return topology.Recognise(func(yield func(string) bool) {
		for _, s := range []*il.Session{ref, target} {
			for m := range s.Modules() {
				if !yield(m) {
					return
				}
			}
		}
	})
}

type stepPair struct {
	number      int
	ref, target *il.Step
}

func mergeSteps(ref, target *il.Session) []stepPair {
	m := map[int]*stepPair{}
	get := func(n int) *stepPair {
		if m[n] == nil {
			m[n] = &stepPair{number: n}
		}
		return m[n]
	}
	for _, s := range ref.Steps {
		get(s.Number).ref = s
	}
	for _, s := range target.Steps {
		get(s.Number).target = s
	}
	out := make([]stepPair, 0, len(m))
	for _, p := range m {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b stepPair) int { return a.number - b.number })
	return out
}

// mergeCalls gives the reference's calls in their order, each followed by those
// that only the target made after it.
func mergeCalls(st stepPair, arch *topology.Architecture) []*call {
	type id struct {
		module string
		index  int
	}
	byID := map[id]*call{}
	var out []*call
	if st.ref != nil {
		for _, c := range st.ref.Calls {
			p := &call{step: st.number, module: c.Module, of: arch.Of(c.Module), index: c.Index, ref: c}
			byID[id{c.Module, c.Index}] = p
			out = append(out, p)
		}
	}
	if st.target == nil {
		return out
	}
	after := map[*call][]*call{} // nil: before the first
	var prev *call
	for _, c := range st.target.Calls {
		if p := byID[id{c.Module, c.Index}]; p != nil {
			p.target = c
			prev = p
			continue
		}
		after[prev] = append(after[prev], &call{step: st.number, module: c.Module, of: arch.Of(c.Module), index: c.Index, target: c})
	}
	merged := after[nil]
	for _, p := range out {
		merged = append(append(merged, p), after[p]...)
	}
	return merged
}

// link finds which call contains which. Names tell it, but for a module that
// several parents share: vLLM's rotary_emb is registered under layer 0 and
// called by every layer, so a call of a module whose parent by name is over
// belongs to the innermost module that is still open.
func (f *forward) link() {
	containers := map[string]bool{}
	for _, c := range f.calls {
		for name := topology.Parent(c.module); name != ""; name = topology.Parent(name) {
			containers[name] = true
		}
	}
	logged := map[string]bool{}
	var open []*call
	for _, c := range f.calls {
		for len(open) > 0 && !containers[open[len(open)-1].module] {
			open = open[:len(open)-1] // a leaf: it was over before this call
		}
		i := len(open) - 1
		for i >= 0 && !strings.HasPrefix(c.module, open[i].module+".") {
			i--
		}
		if i < 0 && logged[topology.Parent(c.module)] { // shared
			i = len(open) - 1
		}
		open = open[:i+1]
		if i >= 0 {
			c.parent = open[i]
			c.parent.children = append(c.parent.children, c)
		} else {
			f.top = append(f.top, c)
		}
		c.layer = layerOf(c)
		open = append(open, c)
		logged[c.module] = true
	}
}

// layerOf is the layer number in the name; for the rope that all layers share,
// that of the layer that called it, or, where that is not recorded, the
// layer it is registered under plus its call index.
func layerOf(c *call) int {
	n := c.of.Layer
	if n < 0 || c.of.Kind != topology.Rope {
		return n
	}
	if c.parent != nil && c.parent.of.Layer >= 0 {
		return c.parent.of.Layer
	}
	return n + c.index
}
