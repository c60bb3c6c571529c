package pairing

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// Forward is one forward pass: the calls of a step without the logits calls
// that open it, which belong to the forward before, and with those that open
// the next step.
type Forward struct {
	Number int     // the step of its calls, logits apart
	Calls  []*Call // in execution order; parents before their children
	Top    []*Call // those that no other call contains
	Work   BatchMatch
	Why    string  // work is not the same
	Rows   *Tokens // nil where they cannot be told

	OtherLength bool // the two sides embed unequal numbers of tokens
}

// Call is one call of a module, in either session or both.
type Call struct {
	Step        int
	Module      string
	Of          topology.Module // what the module is
	Index       int
	Ref, Target *il.Call
	Slots       []*Pair // selected ones
	Others      []*Pair // selected ones that another part measures
	Unlike      string  // that the module computes something else on either side: nothing of it is compared
	parent      *Call
	Children    []*Call
	Layer       int // the layer it works for, -1 outside layers
	Report      *report.CallDiff

	// What the judge found of the inputs:
	In            Propagated
	HasInputs     bool // some were compared
	InputsMissing bool // some were not
}

// Order pairs the calls of two sessions and puts them in execution order.
func Order(ref, target *il.Session, sel *Selection) []*Forward {
	var out []*Forward
	get := func(n int) *Forward {
		i, ok := slices.BinarySearchFunc(out, n, func(f *Forward, n int) int { return f.Number - n })
		if !ok {
			out = slices.Insert(out, i, &Forward{Number: n})
		}
		return out[i]
	}
	arch := architecture(ref, target)
	trees := [2]*topology.Architecture{ref.Architecture(), target.Architecture()}
	for _, st := range mergeSteps(ref, target) {
		calls := mergeCalls(st, arch)
		for _, c := range calls {
			c.Unlike = unlike(trees, c)
		}
		n := 0
		for n < len(calls) && isLogits(calls[n]) {
			n++
		}
		if n > 0 {
			f := get(st.number - 1)
			f.Calls = append(f.Calls, calls[:n]...)
		}
		if n < len(calls) {
			f := get(st.number)
			f.Calls = append(f.Calls, calls[n:]...)
		}
	}
	for _, f := range out {
		f.Link()
		for _, c := range f.Calls {
			if sel.has(c.Step, c.Module) {
				c.Slots = pairSlots(c.Step, c, sel.commonOnly)
				if len(c.Slots) == 0 && !sel.commonOnly {
					c.Slots = unrecorded(c)
				}
			}
		}
	}
	return out
}

// Parent is the call that a call was made in, nil for none.
func (c *Call) Parent() *Call { return c.parent }

// unlike tells of a module that is another function in the sides' trees, though it has one
// name: an activation with the product behind it or without (SmolLM-3's act_fn in vLLM's two
// eras).
func unlike(trees [2]*topology.Architecture, c *Call) string {
	if trees[0] == trees[1] || trees[0] == nil || trees[1] == nil || c.Ref == nil || c.Target == nil {
		return ""
	}
	a, b := trees[0].Of(c.Module), trees[1].Of(c.Module)
	width := func(m topology.Module) (d topology.Dim) {
		if len(m.In) > 0 && len(m.In[0].Shape) > 0 {
			d = m.In[0].Shape[len(m.In[0].Shape)-1]
		}
		return d
	}
	if a.Kind != topology.Activation || b.Kind != topology.Activation || width(a) == width(b) {
		return ""
	}
	return fmt.Sprintf("it is another function on either side: %s in the reference, %s in the target", a.Class, b.Class)
}

// isLogits recognises the one module that vLLM calls after the forward.
func isLogits(c *Call) bool { return c.Of.Kind == topology.Logits }

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
func mergeCalls(st stepPair, arch *topology.Architecture) []*Call {
	type id struct {
		module string
		index  int
	}
	byID := map[id]*Call{}
	var out []*Call
	if st.ref != nil {
		for _, c := range st.ref.Calls {
			p := &Call{Step: st.number, Module: c.Module, Of: arch.Of(c.Module), Index: c.Index, Ref: c}
			byID[id{module: c.Module, index: c.Index}] = p
			out = append(out, p)
		}
	}
	if st.target == nil {
		return out
	}
	after := map[*Call][]*Call{} // nil: before the first
	var prev *Call
	for _, c := range st.target.Calls {
		if p := byID[id{module: c.Module, index: c.Index}]; p != nil {
			p.Target = c
			prev = p
			continue
		}
		after[prev] = append(after[prev], &Call{Step: st.number, Module: c.Module, Of: arch.Of(c.Module), Index: c.Index, Target: c})
	}
	merged := after[nil]
	for _, p := range out {
		merged = append(append(merged, p), after[p]...)
	}
	return merged
}

// Link finds which call contains which. Names tell it, but for a module that
// several parents share: vLLM's rotary_emb is registered under layer 0 and
// called by every layer, so a call of a module whose parent by name is over
// belongs to the innermost module that is still open; and for modules that call what is
// registered elsewhere, as their class says.
func (f *Forward) Link() {
	containers := map[string]bool{}
	for _, c := range f.Calls {
		for name := topology.Parent(c.Module); name != ""; name = topology.Parent(name) {
			containers[name] = true
		}
		if len(c.Of.Calls) > 0 {
			containers[c.Module] = true
		}
	}
	logged := map[string]bool{}
	var open []*Call
	for _, c := range f.Calls {
		for len(open) > 0 && !containers[open[len(open)-1].Module] {
			open = open[:len(open)-1] // a leaf: it was over before this call
		}
		i := len(open) - 1
		for i >= 0 && !open[i].calls(c) {
			i--
		}
		if i < 0 && logged[topology.Parent(c.Module)] { // shared
			i = len(open) - 1
		}
		open = open[:i+1]
		if i >= 0 {
			c.parent = open[i]
			c.parent.Children = append(c.parent.Children, c)
		} else {
			f.Top = append(f.Top, c)
		}
		c.Layer = layerOf(c)
		open = append(open, c)
		logged[c.Module] = true
	}
}

// calls reports whether a call contains another by its name, or by what its class says.
func (c *Call) calls(other *Call) bool {
	return strings.HasPrefix(other.Module, c.Module+".") ||
		slices.Contains(c.Of.Calls, other.Of.Rel) && (other.Of.Shared || other.Of.Layer == c.Of.Layer)
}

// layerOf is the layer number in the name; for the rope that all layers share,
// that of the layer that called it, or, where that is not recorded, the
// layer it is registered under plus its call index.
func layerOf(c *Call) int {
	n := c.Of.Layer
	if n < 0 || !c.Of.Shared {
		return n
	}
	if c.parent != nil && c.parent.Of.Layer >= 0 {
		return c.parent.Of.Layer
	}
	return n + c.Index
}

// unrecorded stands for the tensors of a call that neither session holds,
// although it has some: nothing of it can be compared.
func unrecorded(c *Call) []*Pair {
	for _, side := range []*il.Call{c.Ref, c.Target} {
		if side == nil {
			continue
		}
		if why := side.Unrecorded(); why != "" {
			return []*Pair{{Key: report.Key{Step: c.Step, Module: c.Module, Call: c.Index, Direction: report.Outputs}, Status: Unreadable, Why: why}}
		}
	}
	return nil
}
