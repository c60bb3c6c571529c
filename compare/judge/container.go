package judge

import (
	"fmt"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
)

// handedOn judges a container's output by its origin: where both sides hand on
// what a child returned there is nothing to judge, where only one does the
// container itself is to blame.
func (j *noiseJudge) handedOn(c *pairing.Call, p *pairing.Pair, children []*pairing.Pair) (same bool, why string) {
	switch o := p.Origin; {
	case o == nil:
		return false, ""
	case o.Err != nil:
		j.Warnings = append(j.Warnings, fmt.Sprintf("%s: cannot be checked against its children: %v", c.Module, o.Err))
		return false, ""
	case o.OnBothSides():
		return true, ""
	default:
		side, other := sidesOf(o)
		return false, fmt.Sprintf("its children agree %s, but its output equals that of %s in the %s only, not in the %s: %s",
			upTo(worstOf(children)), il.CallName(o.Of.Module, o.Of.Call), side, other, report.Describe(p.Result))
	}
}

// changedOnTheWay tells of an input that in one session is an earlier output to
// the bit, and in the other is not: what lies between the two modules, and is
// not recorded, has changed it.
func (j *noiseJudge) changedOnTheWay(p *pairing.Pair) string {
	switch o := p.Origin; {
	case o == nil || o.OnBothSides():
		return ""
	case o.Err != nil:
		j.Warnings = append(j.Warnings, fmt.Sprintf("%s: cannot be checked against what was made before: %v", p.Key, o.Err))
		return ""
	default:
		side, other := sidesOf(o)
		return fmt.Sprintf("this input is %s of %s to the bit in the %s, but not in the %s: %s", report.SlotName(o.Of.Key), il.CallName(o.Of.Module, o.Of.Call), side, other, report.Describe(p.Result))
	}
}

// otherRows tells of logits that are computed of other rows than the reference's;
// "" where they are not.
func otherRows(p *pairing.Pair) string {
	other := p.Rows.Other()
	if other == "" {
		return ""
	}
	return fmt.Sprintf("logits are computed of other rows of what %s returned: %s (%s)", p.Rows.Of, other, report.Describe(p.Result))
}

// madeBy says where to look for what made an input that differs.
func madeBy(p *pairing.Pair) string {
	if p.Rows != nil {
		return fmt.Sprintf("its rows are those of what %s returned", p.Rows.Of)
	}
	return "the modules that made it are not among the compared ones, so look there"
}

// sidesOf names the side on which the origin holds, and the other one.
func sidesOf(o *pairing.Origin) (holds, other string) {
	if o.InTarget {
		return "target", "reference"
	}
	return "reference", "target"
}

func worstOf(ps []*pairing.Pair) float64 {
	w := 0.0
	for _, p := range ps {
		w = max(w, report.GapOf(p.Result))
	}
	return w
}
