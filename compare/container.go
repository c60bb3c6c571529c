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
		inRef, err1 := sameBits(p.ref.Tensors[0], x.ref.Tensors[0])
		inTarget, err2 := sameBits(p.target.Tensors[0], x.target.Tensors[0])
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
