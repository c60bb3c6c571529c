package compare

import (
	"fmt"
	"slices"
)

// How a container's output relates to what its children returned.
type source int

const (
	sourceUnknown source = iota // it equals no child's output: computed, or not recorded
	sourceSame                  // it equals a child's output on both sides
	sourceBroken                // it does so on one side only
)

// source finds out whether an output of a container is one of its children's,
// handed on: in a Llama layer output 0 is that of mlp, which is that of
// down_proj, and output 1 the residual of post_attention_layernorm. Where only
// one side hands it on, the container itself is to blame.
func (j *noiseJudge) source(c *call, p *slotPair, children []*slotPair) (source, string) {
	for _, x := range children {
		if sameGap(p.result, x.result) { // equal bits give equal figures: no need to read them again
			return sourceSame, ""
		}
	}
	for i := len(children) - 1; i >= 0; i-- { // the last child's output comes first
		x := children[i]
		if x.result.DTypes != p.result.DTypes || len(x.result.Shape) != len(p.result.Shape) {
			continue
		}
		inRef, err1 := p.sameBits(x, 0)
		inTarget, err2 := p.sameBits(x, 1)
		for _, err := range []error{err1, err2} {
			if err != nil {
				j.Warnings = append(j.Warnings, fmt.Sprintf("%s: cannot be checked against its children: %v", c.module, err))
				return sourceUnknown, ""
			}
		}
		switch {
		case inRef && inTarget:
			return sourceSame, ""
		case inRef || inTarget:
			side, other := "reference", "target"
			if inTarget {
				side, other = other, side
			}
			return sourceBroken, fmt.Sprintf("its children agree %s, but its output equals that of %s in the %s only, not in the %s: %s",
				upTo(worstOf(children)), callName(x.Module, x.Call), side, other, describe(p.result))
		}
	}
	return sourceUnknown, ""
}

// sameGap reports whether two results are figure by figure the same.
func sameGap(a, b *Tensor) bool {
	x, y := a.Gap, b.Gap
	return a.DTypes == b.DTypes && slices.Equal(a.Shape, b.Shape) &&
		x.RelL2 == y.RelL2 && x.NormRatio == y.NormRatio && x.MaxAbs == y.MaxAbs && x.Equal == y.Equal && slices.Equal(x.MaxAbsAt, y.MaxAbsAt)
}

// comparedChildren are the compared outputs of the calls directly inside c.
func comparedChildren(c *call) []*slotPair {
	var out []*slotPair
	for _, k := range c.children {
		for _, p := range k.slots {
			if p.result != nil && p.Direction == outputs {
				out = append(out, p)
			}
		}
	}
	return out
}

func worstOf(ps []*slotPair) float64 {
	w := 0.0
	for _, p := range ps {
		w = max(w, gapOf(p.result))
	}
	return w
}

// lookBack is how many outputs before it an input is looked for among: a layer
// makes fewer, and its modules take what was made there or in the one before.
const lookBack = 24

// changedOnTheWay tells of an input that in one session is an earlier output to
// the bit, and in the other is not: what lies between the two modules, and is
// not recorded, has changed it.
func (j *noiseJudge) changedOnTheWay(p *slotPair) string {
	if p.result.Gap.Identical() || isInteger(p.result) || p.carried == nil && (p.ref == nil || p.target == nil) {
		return ""
	}
	made := j.made[max(0, len(j.made)-lookBack):]
	for _, x := range made {
		if sameGap(p.result, x.result) {
			return ""
		}
	}
	for i := len(made) - 1; i >= 0; i-- {
		x := made[i]
		if x.result.DTypes != p.result.DTypes || !slices.Equal(x.result.Shape, p.result.Shape) {
			continue
		}
		inRef, err1 := p.sameBits(x, 0)
		inTarget, err2 := p.sameBits(x, 1)
		switch {
		case err1 != nil || err2 != nil || inRef && inTarget:
			return ""
		case inRef || inTarget:
			side, other := "reference", "target"
			if inTarget {
				side, other = other, side
			}
			return fmt.Sprintf("this input is %s of %s to the bit in the %s, but not in the %s: %s", slotName(x.Key), callName(x.Module, x.Call), side, other, describe(p.result))
		}
	}
	return ""
}
