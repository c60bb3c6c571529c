package judge

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/topology"
)

// local judges an output by the replay: the inputs are the same to the bit, so
// the gap is the module's own, whatever has reached it from before.
func (j *noiseJudge) local(c *pairing.Call, t *report.TensorDiff, noise float64) {
	if anyFailed(c) {
		t.Verdict = report.Inherited // the replay of a container runs right children
		return
	}
	g := t.ReplayGap
	switch {
	case g.Identical():
		j.suspectReference(c, t, noise)
	case g.NonFinite > 0:
		j.blame(c, t, fmt.Sprintf("the right model gives other values for the same inputs: %s where NaN or an infinity meets another value (NaN: %d by the replay, %d in the target; infinities: %d and %d)",
			plural.Count(g.NonFinite, "place"), g.NaN[0], g.NaN[1], g.Inf[0], g.Inf[1]))
	case c.Of.Kind == topology.Embedding && movedRows(t):
		j.blame(c, t, fmt.Sprintf("the right model looks up other rows for the same token ids: %s (other weights?)", describeLocal(t)))
	case t.Noise != nil && j.unlikely(t.Noise):
		j.blame(c, t, "the right model gives another output for the same inputs: "+report.DescribeNoise(t))
	case t.Noise == nil && g.RelL2 > noise:
		j.blame(c, t, fmt.Sprintf("the right model gives another output for the same inputs: %s, where rounding in %s explains %s", describeLocal(t), t.DTypes[1], report.Num(noise)))
	case t.Noise == nil && hidden(g, noise):
		j.blame(c, t, fmt.Sprintf("the right model gives another output for the same inputs: %s", describeHidden(g)))
	case t.Noise != nil && j.drifts(c, t.Noise):
		j.blame(c, t, "the right model gives another output for the same inputs: "+report.DescribeDrift(t))
	case j.movesBits(t, g) && t.Noise == nil:
		j.blame(c, t, fmt.Sprintf("for the same inputs only %s of the values are those of the right model, and a module that rounds once keeps %s: %s",
			report.Percent(equalOf(g)), report.Percent(rounding.EqualShare), describeLocal(t)))
	default:
		j.suspectReference(c, t, noise)
	}
}

// falseAlarms is the probability that rounding alone fails a comparison by replay.
const falseAlarms = 1e-3

// unlikely reports a block that is further off than the noise of correct kernels
// explains, of all blocks of all tensors of the comparison.
func (j *noiseJudge) unlikely(n *metric.Noise) bool {
	return n.Worst.Unlikely > math.Log(j.tests/falseAlarms)
}

// drifts reports a result that is too large or too small on the whole, or in rows
// of their own, by more than rounding explains. Where the errors of a row's values hang
// together, as attention's and a rope's do, and those of a sum's rows beside one huge
// value, their sums tell nothing.
func (j *noiseJudge) drifts(c *pairing.Call, n *metric.Noise) bool {
	k := c.Of.Kind
	switch limit := math.Log(j.tests / falseAlarms); {
	case !k.IsNorm() && !k.IsLinear() && !k.IsHead() && k != topology.Activation:
		return false
	case n.Drift.Unlikely() > limit:
		return true
	case k.IsNorm():
		return n.Drift.RowsUnlikely(n.Rows) > limit
	}
	return false
}

// countTests is how many blocks are looked at for noise.
func countTests(fs []*pairing.Forward) float64 {
	n := 0.
	for _, f := range fs {
		for _, c := range f.Calls {
			for _, p := range c.Slots {
				if p.Result != nil && p.Result.Noise != nil {
					n += metric.Tests(p.Result.Noise.Values)
				}
			}
		}
	}
	return max(n, 1)
}

// movedRows reports whether an embedding is no copy of its rows.
func movedRows(t *report.TensorDiff) bool {
	return t.DTypes[0] == t.DTypes[1] && !t.ReplayGap.Identical()
}

// describeLocal writes the figures of a module's own gap.
func describeLocal(t *report.TensorDiff) string {
	s := fmt.Sprintf("local rel_l2 %s, 1-cos %s, max_abs %s", report.Num(t.ReplayGap.RelL2), report.Num(t.ReplayGap.OneMinus), report.Amount(t.ReplayGap.MaxAbs))
	return s + fmt.Sprintf(" (to the reference: rel_l2 %s)", report.Num(t.Gap.RelL2))
}

// suspectReference tells once of a gap that rounding and the inputs do not
// explain, although the target's module is right: the reference's is not.
func (j *noiseJudge) suspectReference(c *pairing.Call, t *report.TensorDiff, noise float64) {
	lim := rounding.Far * coarsest(c)
	if c.HasInputs && !c.InputsMissing {
		lim = rounding.Limit(noise, coarsest(c), rounding.Gain(c.Of.Kind, t.Gap.Rows())*c.In.Gap)
	}
	if j.failed || j.reported || report.GapOf(t) <= lim {
		return
	}
	j.reported = true
	j.Warnings = append(j.Warnings, fmt.Sprintf("%s: %s, but the target's modules give what the right model gives for their inputs: the reference may be wrong", t.Key, report.Describe(t)))
}

// anyFailed reports whether a call inside c, at any depth, is at fault.
func anyFailed(c *pairing.Call) bool {
	for _, k := range c.Children {
		for _, p := range k.Slots {
			if p.Result.VerdictOrNone() == report.Fail {
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
func (j *noiseJudge) inputRatio(c *pairing.Call, p *pairing.Pair, floor float64) {
	t := p.Result
	f, ratio := t.NoiseRatio, j.ratioLimit
	floor = max(floor, f.Noise)
	out := f.TypicalEmulationGap() > j.slack()*j.inputLimit(c, floor, j.seen.Apart) || f.TensorLeaves(ratio, j.inputLimit(c, floor, j.seen.Excess))
	switch {
	case out && !j.failed:
		j.blame(c, t, fmt.Sprintf("this input has already left the floor: %s; %s", describeRatio(f, ratio), madeBy(p)))
	default:
		t.Verdict = inheritedIf(out || j.failed && f.Leaves(ratio, floor))
	}
}

// ratio judges an output by the floor. It fails where it is off from the
// emulation, which rounds as the target does, by more than rounding and the
// inputs explain, or where it has left the floor although the inputs, and the
// outputs of the calls inside, have not. A worst token that has left it, one
// row, must be off from the emulation as well.
func (j *noiseJudge) ratio(c *pairing.Call, t *report.TensorDiff, noise, floor float64) {
	f, ratio := t.NoiseRatio, j.ratioLimit
	if f.Noise > floor {
		noise, floor = noise*f.Noise/floor, f.Noise
	}
	in, gain := c.In, gainOf(c, t)
	for _, p := range pairing.ComparedChildren(c) {
		in.Add(j.handedBy(c, p.Result))
	}
	t.Verdict = inheritedIf(j.failed && f.Leaves(ratio, floor))
	passed := math.Hypot(noise, gain*in.Excess)
	switch lim := j.slack() * rounding.Limit(noise, floor, gain*in.Apart); {
	case anyFailed(c):
		t.Verdict = report.Inherited
	case j.failed && (in.Left || in.Apart > floor):
	case f.EmulationGap.RelL2*share(c, t, f.EmulationGap) > lim:
		j.blame(c, t, fmt.Sprintf("the output is off from the emulation, which rounds as the target does, by rel_l2 %s, where rounding%s: %s",
			report.Num(f.EmulationGap.RelL2), report.Explain(lim, in.Apart), describeRatio(f, ratio)))
	case f.TensorLeaves(ratio, passed), f.TokenLeaves(ratio, passed) && !oneNumber(c, t) && f.WorstRow() > math.Hypot(rounding.RowNoise*noise, max(gain, rounding.Gain(c.Of.Kind, 1))*in.Row):
		j.blame(c, t, fmt.Sprintf("the output leaves the floor that rounding sets, and the inputs do not: %s", describeRatio(f, ratio)))
	case f.WrongScale() && !in.Scaled:
		j.blame(c, t, fmt.Sprintf("the size of the output is off, and that of the inputs is not: best-fit scale 1%+.1e (± %.0e) to the emulation, where at most %.0e is rounding",
			f.Scale.MinusOne, f.Scale.StdErr, max(f.Least, rounding.ScaleErrors*f.Scale.StdErr)))
	case c.HasInputs && !c.InputsMissing && in.Apart == 0 && !wideResidual(c, 1) && j.movesBits(t, f.EmulationGap):
		j.blame(c, t, fmt.Sprintf("its inputs are those of the emulation to the bit, but only %s of the output values are, and a module that rounds once keeps %s: %s",
			report.Percent(equalOf(f.EmulationGap)), report.Percent(rounding.EqualShare), describeRatio(f, ratio)))
	}
}

// describeRatio writes the ratios and what they are made of.
func describeRatio(f *rounding.NoiseRatio, limit float64) string {
	s := fmt.Sprintf("ratio %.3g", f.Ratio)
	if !math.IsNaN(f.Token) {
		s += fmt.Sprintf(", %.3g on the worst token", f.Token)
	}
	return s + fmt.Sprintf(", limit %g (rel_l2 %s to the oracle, that of the emulation is %s)", limit, report.Num(f.Target.RelL2), report.Num(f.Emulation.RelL2))
}

// noteFallback lists a call that the evidence lacks.
func (j *noiseJudge) noteFallback(c *pairing.Call) {
	if j.in.Rule == report.RuleNoise {
		return
	}
	for _, p := range c.Slots {
		t := p.Result
		if t == nil || p.Direction != report.Outputs || t.ReplayGap != nil || t.NoiseRatio != nil || report.IsInteger(t) {
			continue
		}
		j.Fallback = append(j.Fallback, fmt.Sprintf("step_%d/%s", c.Step, il.CallName(c.Module, c.Index)))
		return
	}
}
