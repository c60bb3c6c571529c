package compare

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// local judges an output by the replay: the inputs are the same to the bit, so
// the gap is the module's own, whatever has reached it from before.
func (j *noiseJudge) local(c *call, t *Tensor, noise float64) {
	if anyFailed(c) {
		t.Verdict = Inherited // the replay of a container runs right children
		return
	}
	g := t.Local
	size := g.RelL2
	switch {
	case g.Identical():
	case g.NonFinite > 0:
		j.blame(c, t, fmt.Sprintf("the right model gives other values for the same inputs: %s where NaN or an infinity meets another value (NaN: %d by the replay, %d in the target; infinities: %d and %d)",
			count(g.NonFinite, "place"), g.NaN[0], g.NaN[1], g.Inf[0], g.Inf[1]))
	case (c.of.Kind == topology.Embedding) && movedRows(t):
		j.blame(c, t, fmt.Sprintf("the right model looks up other rows for the same token ids: %s (other weights?)", describeLocal(t)))
	case size > noise:
		j.blame(c, t, fmt.Sprintf("the right model gives another output for the same inputs: %s, where rounding in %s explains %s", describeLocal(t), t.DTypes[1], num(noise)))
	case j.movesBits(c, t, g):
		j.blame(c, t, fmt.Sprintf("for the same inputs only %s of the values are those of the right model, and a module that rounds once keeps %s: %s",
			percent(equalOf(g)), percent(equalShare), describeLocal(t)))
	default:
		j.suspectReference(c, t)
	}
}

// movedRows reports whether an embedding is no copy of its rows.
func movedRows(t *Tensor) bool { return t.DTypes[0] == t.DTypes[1] && !t.Local.Identical() }

// describeLocal writes the figures of a module's own gap.
func describeLocal(t *Tensor) string {
	s := fmt.Sprintf("local rel_l2 %s, 1-cos %s, max_abs %s", num(t.Local.RelL2), num(t.Local.OneMinus), amount(t.Local.MaxAbs))
	return s + fmt.Sprintf(" (to the reference: rel_l2 %s)", num(t.Gap.RelL2))
}

// suspectReference tells once of a gap that rounding does not explain although
// every module of the target is right.
func (j *noiseJudge) suspectReference(c *call, t *Tensor) {
	if g := gapOf(t); j.failed || j.reported || g <= farNoise*coarsest(c) {
		return
	}
	j.reported = true
	j.Warnings = append(j.Warnings, fmt.Sprintf("%s: %s, but the target's modules give what the right model gives for their inputs: the reference may be wrong", t.Key, describe(t)))
}

// anyFailed reports whether a call inside c, at any depth, is at fault.
func anyFailed(c *call) bool {
	for _, k := range c.children {
		for _, p := range k.slots {
			if p.result.verdict() == Fail {
				return true
			}
		}
		if anyFailed(k) {
			return true
		}
	}
	return false
}

// inputRatio judges an input by the floor. Before any fault it can leave the
// floor, and the emulation, only through modules that are not recorded.
func (j *noiseJudge) inputRatio(c *call, t *Tensor, floor float64) {
	f, ratio := t.Floor, j.ratioLimit
	floor = max(floor, f.noise)
	out := f.typicalApart() > j.slack()*j.inputLimit(c, floor, j.seen.apart) || f.tensorLeaves(ratio, j.inputLimit(c, floor, j.seen.excess))
	switch {
	case out && !j.failed:
		j.blame(c, t, fmt.Sprintf("this input has already left the floor: %s; the modules that made it are not among the compared ones, so look there", describeFloor(f, ratio)))
	default:
		t.Verdict = inheritedIf(out || j.failed && f.leaves(ratio, floor))
	}
}

// ratio judges an output by the floor. It fails where it is off from the
// emulation, which rounds as the target does, by more than rounding and the
// inputs explain, or where it has left the floor although the inputs, and the
// outputs of the calls inside, have not. A worst token that has left it, one
// row, must be off from the emulation as well.
func (j *noiseJudge) ratio(c *call, t *Tensor, noise, floor float64) {
	f, ratio := t.Floor, j.ratioLimit
	if f.noise > floor {
		noise, floor = noise*f.noise/floor, f.noise
	}
	in, gain := c.in, gain(c.of.Kind, t.Gap.Rows())
	for _, p := range comparedChildren(c) {
		in.add(j.handedBy(c, p.result))
	}
	t.Verdict = inheritedIf(j.failed && f.leaves(ratio, floor))
	passed := math.Hypot(noise, gain*in.excess)
	switch lim := j.slack() * limit(noise, floor, gain*in.apart); {
	case anyFailed(c):
		t.Verdict = Inherited
	case j.failed && (in.left || in.apart > floor):
	case f.Apart.RelL2 > lim:
		j.blame(c, t, fmt.Sprintf("the output is off from the emulation, which rounds as the target does, by rel_l2 %s, where rounding%s: %s",
			num(f.Apart.RelL2), explain(lim, in.apart), describeFloor(f, ratio)))
	case f.tensorLeaves(ratio, passed), f.tokenLeaves(ratio, passed) && f.worstRow() > math.Hypot(rowNoise*noise, gain*in.row):
		j.blame(c, t, fmt.Sprintf("the output leaves the floor that rounding sets, and the inputs do not: %s", describeFloor(f, ratio)))
	case f.wrongScale() && !in.scaled:
		j.blame(c, t, fmt.Sprintf("the size of the output is off, and that of the inputs is not: best-fit scale 1%+.1e (± %.0e) to the emulation, where at most %.0e is rounding",
			f.Scale.MinusOne, f.Scale.StdErr, max(f.least, scaleErrors*f.Scale.StdErr)))
	case c.hasInputs && !c.inputsMissing && in.apart == 0 && j.movesBits(c, t, f.Apart):
		j.blame(c, t, fmt.Sprintf("its inputs are those of the emulation to the bit, but only %s of the output values are, and a module that rounds once keeps %s: %s",
			percent(equalOf(f.Apart)), percent(equalShare), describeFloor(f, ratio)))
	}
}

// describe writes the ratios and what they are made of.
func describeFloor(f *Floor, limit float64) string {
	s := fmt.Sprintf("ratio %.3g", f.Ratio)
	if !math.IsNaN(f.Token) {
		s += fmt.Sprintf(", %.3g on the worst token", f.Token)
	}
	return s + fmt.Sprintf(", limit %g (rel_l2 %s to the oracle, that of the emulation is %s)", limit, num(f.Target.RelL2), num(f.Emulation.RelL2))
}

// noteFallback lists a call that the evidence lacks.
func (j *noiseJudge) noteFallback(c *call) {
	if j.in.rule == RuleNoise {
		return
	}
	for _, p := range c.slots {
		t := p.result
		if t == nil || p.Direction != outputs || t.Local != nil || t.Floor != nil || isInteger(t) {
			continue
		}
		j.Fallback = append(j.Fallback, fmt.Sprintf("step_%d/%s", c.step, il.CallName(c.module, c.index)))
		return
	}
}
