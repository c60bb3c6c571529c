package compare

import (
	"fmt"

	"github.com/ilref/ilref/il"
)

// handedOn judges a container's output by its origin: where both sides hand on
// what a child returned there is nothing to judge, where only one does the
// container itself is to blame.
func (j *noiseJudge) handedOn(c *call, p *slotPair, children []*slotPair) (same bool, why string) {
	switch o := p.origin; {
	case o == nil:
		return false, ""
	case o.err != nil:
		j.Warnings = append(j.Warnings, fmt.Sprintf("%s: cannot be checked against its children: %v", c.module, o.err))
		return false, ""
	case o.onBothSides():
		return true, ""
	default:
		side, other := o.sides()
		return false, fmt.Sprintf("its children agree %s, but its output equals that of %s in the %s only, not in the %s: %s",
			upTo(worstOf(children)), il.CallName(o.of.Module, o.of.Call), side, other, describe(p.result))
	}
}

// changedOnTheWay tells of an input that in one session is an earlier output to
// the bit, and in the other is not: what lies between the two modules, and is
// not recorded, has changed it.
func (j *noiseJudge) changedOnTheWay(p *slotPair) string {
	switch o := p.origin; {
	case o == nil || o.onBothSides():
		return ""
	case o.err != nil:
		j.Warnings = append(j.Warnings, fmt.Sprintf("%s: cannot be checked against what was made before: %v", p.Key, o.err))
		return ""
	default:
		side, other := o.sides()
		return fmt.Sprintf("this input is %s of %s to the bit in the %s, but not in the %s: %s", slotName(o.of.Key), il.CallName(o.of.Module, o.of.Call), side, other, describe(p.result))
	}
}

// sides names the side on which the origin holds, and the other one.
func (o *origin) sides() (holds, other string) {
	if o.inTarget {
		return "target", "reference"
	}
	return "reference", "target"
}

func worstOf(ps []*slotPair) float64 {
	w := 0.0
	for _, p := range ps {
		w = max(w, gapOf(p.result))
	}
	return w
}
