package lint

import (
	"fmt"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// unreadable reports files that hold no tensor.
func (l *linter) unreadable() {
	for f := range l.each {
		switch {
		case f.err != nil:
			l.add(Error, "unreadable-tensor", f.call, f, "%s; copy or record it again", oneLine(f.err.Error()))
		case f.whole || l.opts.NoValues:
		default:
			l.add(Warning, "unread-tensor", f.call, f, "%s (%s%s) was not looked at: it has no values of its own, or billions that share a few bytes", f.name(), f.dtype, tensor.ShapeString(f.shape))
		}
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// state is whether something is wrong before a call and after it.
type state struct{ in, out *fact }

// origins picks the calls where something begins: bad outputs although no
// input is, and not already at a call inside.
func origins(calls []*callFacts, of map[*callFacts]state) []*callFacts {
	around := map[string]bool{} // what holds a call with bad outputs
	for _, c := range calls {
		if of[c].out == nil {
			continue
		}
		for p := c.path(); strings.Contains(p, ".") && !around[p]; {
			p = p[:strings.LastIndexByte(p, '.')]
			around[p] = true
		}
	}
	var out []*callFacts
	for _, c := range calls {
		if s := of[c]; s.out != nil && s.in == nil && !around[c.path()] {
			out = append(out, c)
		}
	}
	return out
}

// nonFinite names the module that first gives NaN or infinities in each step.
// What is computed from them is counted, not listed.
func (l *linter) nonFinite() {
	tainted := map[string]bool{} // layers whose keys and values of an earlier step are bad
	for _, s := range l.steps {
		of, n := map[*callFacts]state{}, 0
		for _, c := range s.calls {
			st := state{}
			for _, f := range c.facts {
				switch {
				case !f.bad() || f.isMask():
				case f.slot.Direction == il.Outputs:
					st.out = f
					n++
				case f.slot.Direction == il.Inputs:
					st.in = f
					n++
				}
			}
			of[c] = st
		}
		if n == 0 {
			continue
		}
		l.originsOfNonFinite(s, of, tainted, n)
		for _, c := range s.calls {
			if st := of[c]; c.Layer >= 0 && (st.in != nil || st.out != nil) {
				tainted[c.layerKey()] = true
			}
		}
	}
}

func (l *linter) originsOfNonFinite(s *stepFacts, of map[*callFacts]state, tainted map[string]bool, n int) {
	found := false
	for _, c := range origins(s.calls, of) {
		if attends(c) && tainted[c.layerKey()] {
			continue // the keys and values of an earlier step hold them
		}
		if found {
			break // what comes later may come from here by a way that was not recorded
		}
		f := of[c].out
		inputs := "its inputs are finite"
		if !c.has[il.Inputs] {
			inputs = "it records no inputs"
		}
		hint := ""
		if f.nan == 0 && f.dtype == tensor.Float16 {
			hint = ", beyond the largest float16, 65504"
		}
		l.add(Error, "non-finite", c, f, "%s has %s%s, and %s: the model fails here; %s of step %d hold NaN or infinities in all",
			f.name(), f.describeBad(), hint, inputs, plural.Count(n, "tensor"), s.number)
		found = true
	}
	if found {
		return
	}
	for _, c := range s.calls {
		if f := of[c].in; f != nil {
			if attends(c) || !tainted[c.layerKey()] {
				l.add(Error, "non-finite", c, f, "%s has %s: they come from a module that is not recorded; %s of step %d hold NaN or infinities in all", f.name(), f.describeBad(), plural.Count(n, "tensor"), s.number)
			}
			return
		}
	}
}

func (c *callFacts) layerKey() string { return fmt.Sprint(c.Prefix, c.Layer) }

// attends: modules that see keys and values of earlier steps.
func attends(c *callFacts) bool {
	return c.Layer >= 0 && c.spec.Kind.Attends()
}

// isMask reports -Inf alone, as in masks and in logits of tokens that are not
// allowed.
func (f *fact) isMask() bool {
	maskable := f.slot.Direction != il.Outputs || f.call.spec.Kind.IsHead()
	return maskable && f.nan == 0 && f.posInf == 0
}

// describeBad counts what is not finite, and names the rows where the tensor
// has more than one.
func (f *fact) describeBad() string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{f.nan, "NaN"}, {f.posInf, "+Inf"}, {f.negInf, "-Inf"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	s := strings.Join(parts, " and ")
	if len(f.shape) < 2 || f.shape[0] < 2 {
		return s
	}
	row := f.numel() / f.shape[0] * f.dtype.ValuesPerElement()
	lo, hi := f.badFirst/row, f.badLast/row
	if lo == hi {
		return fmt.Sprintf("%s in row %d of %d", s, lo, f.shape[0])
	}
	return fmt.Sprintf("%s in rows %d-%d of %d", s, lo, hi, f.shape[0])
}

// constants names modules whose output is one value over and over although
// their inputs are not.
func (l *linter) constants() {
	for _, s := range l.steps {
		of := map[*callFacts]state{}
		for _, c := range s.calls {
			st := state{}
			varied := false
			for _, f := range c.facts {
				if !f.whole || !f.isFloat() || f.numel() < fewValues || f.bad() {
					continue
				}
				switch {
				case f.slot.Direction == il.Outputs && f.constant:
					st.out = f
				case f.slot.Direction == il.Inputs && f.constant:
					st.in = f
				case f.slot.Direction == il.Inputs:
					varied = true
				}
			}
			if varied && st.out != nil && c.spec.Kind != topology.Attention { // of attn constant values suffice
				st.in = nil
			}
			of[c] = st
		}
		for _, c := range origins(s.calls, of) {
			f := of[c].out
			what := fmt.Sprintf("%g", f.first)
			if f.zero {
				what = "zero"
			}
			l.add(Warning, "constant-output", c, f, "%s is %s in all %d values: a buffer that was never written, or weights that were not loaded; look at the module in the run", f.name(), what, f.numel())
		}
	}
}
