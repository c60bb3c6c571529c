package normalize

import (
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// names gives a session of transformers the names of vLLM's modules where the
// other session has them, where both shall have them, or where two of transformers
// run their tokens in other forwards: rows are lined up under vLLM's names. Tensors that only one
// of the two schemes has leave both sessions; rows are sessions that still tell
// the tokens and positions, by which rows are lined up if lined says so.
func names(ref, target *il.Session, both, lined bool) (r, t *il.Session, rows [2]*il.Session, n Notes) {
	switch {
	case isHF(ref) && isVLLM(target):
		r, t, told, alone := renamed(ref, target, lined)
		n.NoPartner = alone
		n.Warnings = append(n.Warnings, "reference: "+hfNamed)
		return r, t, [2]*il.Session{told, target}, n
	case isHF(target) && isVLLM(ref):
		t, r, told, alone := renamed(target, ref, lined)
		n.NoPartner = alone
		n.Warnings = append(n.Warnings, "target: "+hfNamed)
		return r, t, [2]*il.Session{ref, told}, n
	case isHF(ref) && isHF(target):
		return bothTransformers(ref, target, both, lined)
	}
	return ref, target, [2]*il.Session{ref, target}, n
}

// bothTransformers is names of two sessions of transformers. All of their logits are
// kept where rows can be lined up.
func bothTransformers(ref, target *il.Session, both, lined bool) (r, t *il.Session, rows [2]*il.Session, n Notes) {
	raw := [2]*il.Session{ref, target}
	under := func(logits change) (s [2]*il.Session, m [2]*hfMapper) {
		for i := range raw {
			s[i], m[i] = underVLLMNames(raw[i], nil, known(raw[i], nil), logits)
		}
		return s, m
	}
	every, m := under(flat)
	if m[0].positions != m[1].positions {
		raw = [2]*il.Session{withHFPositions(ref), withHFPositions(target)}
		every, m = under(flat)
	}
	last, _ := under(lastRows)
	rows = [2]*il.Session{withPositions(last[0]), withPositions(last[1])}
	other, logits := sameTokens(every[0], every[1], rows)
	if !both && !(lined && other) && !otherForwards(ref, target) {
		r, a := withoutWeights(ref, target)
		t, b := withoutWeights(target, ref)
		return r, t, [2]*il.Session{r, t}, Notes{NoPartner: a + b, Logits: logits}
	}
	n.NoPartner = m[0].alone + m[1].alone
	n.Warnings = append(n.Warnings, hfNamed)
	if !lined || logits == nil {
		return last[0], last[1], rows, n
	}
	return every[0], every[1], rows, n
}

const hfNamed = "transformers' modules are compared under vLLM's names"

func isHF(s *il.Session) bool   { return s.Convention().IsTransformers() }
func isVLLM(s *il.Session) bool { return s.Convention().IsVLLM() }

// withoutWeights takes the weights from a session whose other one's attention
// returns none, and counts them.
func withoutWeights(s, other *il.Session) (*il.Session, int) {
	if !s.ReturnsWeights() || other.ReturnsWeights() {
		return s, 0
	}
	n := 0
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			if w := c.AttentionWeights(); w != nil {
				n++
				c = withSlots(c, slices.DeleteFunc(slices.Clone(c.Slots), func(x *il.Slot) bool { return x == w }))
			}
			out.Calls = append(out.Calls, c)
		}
		steps = append(steps, out)
	}
	return derive(s, steps), n
}

// otherForwards reports whether a forward that two sessions of transformers both
// have is one of another number of tokens: a prompt in chunks, other batches.
func otherForwards(a, b *il.Session) bool {
	for _, st := range a.Steps {
		x, y := b.Call(st.Number, topology.EmbedTokensName, 0), a.Call(st.Number, topology.EmbedTokensName, 0)
		if x != nil && y != nil && !slices.Equal(slotShape(x.Slot(il.Inputs, "0")), slotShape(y.Slot(il.Inputs, "0"))) {
			return true
		}
	}
	return false
}
