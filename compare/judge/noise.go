package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/topology"
)

// fail marks a tensor as a divergence.
func fail(r *report.Report, c *pairing.Call, t *report.TensorDiff, why string) {
	t.Verdict = report.Fail
	if c.Report.Why == "" {
		c.Report.Why = why
	}
	diverge(r, t.Key, c.Layer, why)
}

func diverge(r *report.Report, k report.Key, layer int, why string) {
	r.Diverged = true
	if r.FirstDivergence == nil {
		r.FirstDivergence = &report.Divergence{Key: k, Layer: layer, Why: why}
	}
}

// judgeTokens judges a forward that did other work: its token ids, no more.
func judgeTokens(r *report.Report, f *pairing.Forward) {
	for _, c := range f.Calls {
		for _, p := range c.Slots {
			switch t := p.Result; {
			case t == nil:
			case t.Gap.Identical():
				t.Verdict = report.Pass
			case f.Work == pairing.OtherTokens && r.FirstDivergence == nil:
				fail(r, c, t, f.Why)
			default:
				t.Verdict = report.Inherited
			}
		}
	}
	if f.Work == pairing.OtherTokens && f.Selected() { // compared above, or of unequal shapes, or not selected
		c := f.Find(pairing.IsEmbedding)
		diverge(r, report.Key{Step: c.Step, Module: c.Module, Call: c.Index, Direction: report.Inputs, Slot: "0"}, c.Layer, f.Why)
	}
}

// noiseJudge applies the default rule: a module is at fault when its output
// has a gap that rounding and the gap of its inputs do not explain. It goes
// through the calls as they ran, so the first fault found is the first that
// happened; from then on a module is blamed only if its inputs agree, for a
// large gap may grow in any way.
type noiseJudge struct {
	*report.Report
	in         *Input
	ratioLimit float64                       // beyond which a tensor leaves the floor
	tests      float64                       // blocks that are looked at for noise
	failed     bool                          // a divergence was found
	history    map[string]pairing.Propagated // by module: the keys and values it has stored
	reported   bool                          // that the reference is suspect
	rounds     bool                          // that a module rounds elsewhere
	residual   bool                          // that the sides keep the residual stream in other types
	alone      bool                          // of a part: what failed excuses nothing, for another part may tell that it did not

	// Of the forward at hand:
	seen      pairing.Propagated // the worst so far
	lastLayer int                // of the latest call; -1 before the first layer
	sawNorm   bool               // the final norm is recorded
	rerouted  float64            // the worst row of those that are left out for their experts
}

func newNoiseJudge(r *report.Report, m *Input) *noiseJudge {
	j := &noiseJudge{Report: r, in: m, ratioLimit: m.RatioLimit, history: map[string]pairing.Propagated{}}
	if j.ratioLimit <= 0 {
		j.ratioLimit = rounding.DefaultRatioLimit
	}
	return j
}

// slack is how many times what rounding explains the target may be from the
// emulation: who allows more of the ratio allows more of this.
func (j *noiseJudge) slack() float64 { return max(1, j.ratioLimit/rounding.DefaultRatioLimit) }

func (j *noiseJudge) judge(fs []*pairing.Forward) {
	j.tests = countTests(fs)
	for _, f := range fs {
		if f.Work != pairing.SameWork {
			judgeTokens(j.Report, f)
			j.failed = !j.alone && (j.failed || f.Work == pairing.OtherTokens)
			continue
		}
		j.seen, j.lastLayer, j.sawNorm, j.rerouted = pairing.Propagated{}, -1, false, 0
		pairing.Walk(f.Top, j.inputs, j.outputs)
	}
}

// inputs looks for a gap that appears before the module runs: unequal
// positions, or a fault in modules that are not recorded.
func (j *noiseJudge) inputs(c *pairing.Call) {
	floor := coarsest(c)
	for _, p := range c.Slots {
		t := p.Result
		switch {
		case p.Direction != report.Inputs || p.Status == pairing.Keyword:
			continue
		case t == nil:
			c.InputsMissing = true
			continue
		}
		g := report.GapOf(t)
		if why := cmp.Or(otherRows(p), j.changedOnTheWay(p)); why != "" && !j.failed && !p.Bounds.Alone() {
			j.blame(c, t, why)
			c.In.Add(j.handedBy(c, t))
			c.HasInputs = true
			continue
		}
		seen := j.seen.Gap
		if t.LeftOut == 0 {
			seen = max(seen, j.rerouted) // of other rows than the tokens': one of them may be a token that went elsewhere
		}
		switch lim := j.inputLimit(c, floor, seen); {
		case allLeftOut(t):
			t.Verdict = report.Inherited
		case p.Bounds.Alone():
			j.bounded(c, p)
		case t.NoiseRatio != nil:
			j.inputRatio(c, p, floor)
		case j.failed:
			t.Verdict = inheritedIf(g > floor)
		case report.IsInteger(t) && g > 0:
			j.blame(c, t, report.IntegersDiffer(t))
		case g > lim:
			j.blame(c, t, fmt.Sprintf("this input already differs: %s, where %s; %s", report.Describe(t), report.Explained(t, lim, seen), madeBy(p)))
		default:
			t.Verdict = report.Pass
		}
		j.boundedToo(c, p)
		c.In.Add(j.handedBy(c, t))
		c.HasInputs = true
	}
	if !c.HasInputs {
		c.In = j.seen
	}
	j.see(c, report.Inputs)
}

// inputLimit is the gap that an input may have: what was seen before it may
// have grown through the modules that are not recorded.
func (j *noiseJudge) inputLimit(c *pairing.Call, floor, seen float64) float64 {
	before := max(j.lastLayer, 0)
	layers := 1
	switch {
	case c.Layer >= 0:
		layers = max(1, c.Layer-before+1)
	case j.sawNorm:
	case j.in.Layers > 0:
		layers = max(1, j.in.Layers-before)
	default:
		return rounding.Far * floor
	}
	return rounding.Limit(rounding.Composite*floor*float64(layers), floor, rounding.Gain(topology.Unknown, 0)*seen)
}

func (j *noiseJudge) outputs(c *pairing.Call) {
	floor := coarsest(c)
	if c.Of.Kind == topology.Attention {
		c.In.Add(j.history[c.Module])
	}
	if c.InputsMissing {
		c.In.Add(j.seen)
	}
	for _, p := range c.Slots {
		if p.Result != nil && p.Direction != report.Inputs {
			j.output(c, p, floor)
			j.boundedToo(c, p)
			j.misrouted(c, p)
		}
	}
	j.noteFallback(c)
	j.noteResidual(c)
	j.remember(c)
}

// output judges one output by the first rule that applies.
func (j *noiseJudge) output(c *pairing.Call, p *pairing.Pair, floor float64) {
	t := p.Result
	g, in, noise := gapOf(c, t), c.In.Gap, floor
	if p.Bounds.Alone() {
		j.bounded(c, p)
		return
	}
	if allLeftOut(t) {
		t.Verdict = report.Inherited
		return
	}
	t.Verdict = inheritedIf(j.failed && g > floor)
	children := pairing.ComparedChildren(c)
	if len(children) > 0 {
		in = max(in, worstOf(children))
		switch same, why := j.handedOn(c, p, children); {
		case same:
			return
		case why != "" && (!j.failed || in <= floor):
			j.blame(c, t, why)
			return
		}
	}
	if len(children) > 0 || c.Of.Kind.IsBlock() {
		noise *= rounding.Composite // what else it holds is not recorded
	}
	switch {
	case t.ReplayGap != nil:
		j.local(c, t, noise)
		return
	case t.NoiseRatio != nil:
		j.ratio(c, t, noise, floor)
		return
	case j.failed && in > floor:
		return
	}
	lim := rounding.Limit(noise, floor, gainOf(c, t)*in)
	slice := ""
	if exact(c) && len(children) == 0 {
		slice = sliceBeyond(c, t, noise)
	}
	switch {
	case g == 0:
	case report.IsInteger(t):
		j.blame(c, t, report.IntegersDiffer(t))
	case t.Gap.NonFinite > 0:
		j.blame(c, t, "its inputs are finite where they should be, its output is not: "+report.Describe(t))
	case exact(c) && t.DTypes[0] == t.DTypes[1] && c.Of.Kind == topology.Embedding:
		j.blame(c, t, fmt.Sprintf("token ids are equal, but the rows looked up are not: %s (other weights?)", report.Describe(t)))
	case g > lim && in < floor*rounding.Far && lim == rounding.Far*floor:
		j.blame(c, t, fmt.Sprintf("gaps have grown to %s here, beyond the %s that rounding in %s accumulates to", report.Describe(t), report.Num(lim), report.TypeNames(t)))
	case g > lim:
		j.blame(c, t, fmt.Sprintf("%s, outputs do not: %s, where %s", inputsAgree(c), report.Describe(t), report.Explained(t, lim, in)))
	case slice != "":
		j.blame(c, t, "inputs agree to the bit, outputs do not: "+slice)
	case hidden(t.Gap, floor) && in <= floor*rounding.Far/2:
		j.blame(c, t, fmt.Sprintf("%s, outputs do not: %s", inputsAgree(c), describeHidden(t.Gap)))
	case exact(c) && wideResidual(c, 0) == wideResidual(c, 1) && j.movesBits(t, t.Gap):
		j.blame(c, t, fmt.Sprintf("inputs are equal to the bit, but only %s of the output values are, and a module that rounds once keeps %s: %s",
			report.Percent(equalOf(t.Gap)), report.Percent(rounding.EqualShare), report.Describe(t)))
	}
}

// sliceBeyond tells of a row or a column that is off by more than rounding
// explains, which the others hide in the tensor's gap; "" for none. Where a module
// rounds once, its bits tell more.
func sliceBeyond(c *pairing.Call, t *report.TensorDiff, noise float64) string {
	if c.Of.Kind.RoundsOnce() || c.Of.Kind.IsBlock() || oneNumber(c, t) {
		return ""
	}
	for _, s := range []struct {
		what string
		*metric.Worst
	}{{"row", t.Gap.WorstToken}, {"column", t.Gap.WorstChannel}} {
		if s.Worst != nil && s.RelL2 > rounding.SliceNoise*noise {
			return fmt.Sprintf("%s %d is off by rel_l2 %s, where rounding in %s explains %s and the whole tensor is off by %s",
				s.what, s.Index, report.Num(s.RelL2), report.TypeNames(t), report.Num(rounding.SliceNoise*noise), report.Num(t.Gap.RelL2))
		}
	}
	return ""
}

// hidden reports a gap of most rows that a few huge ones, as the first token's in
// trained models, hide in the tensor's: beyond Far two rows are not the same
// computation. Fewer than 4 rows have no typical one.
func hidden(g *metric.Gap, floor float64) bool {
	return g.Rows() >= 4 && g.TokenMedian > rounding.Far*floor
}

func describeHidden(g *metric.Gap) string {
	return fmt.Sprintf("half of the %d rows are off by rel_l2 %s or more, which a few huge values hide in the tensor's %s", g.Rows(), report.Num(g.TokenMedian), report.Num(g.RelL2))
}

// movesBits applies the rule for modules that only round: with equal inputs
// hardly any output bit may differ. Where each value is off by no more than its
// last place, and to either side, the two sides round at other points, which is
// no fault, but said.
func (j *noiseJudge) movesBits(t *report.TensorDiff, g *metric.Gap) bool {
	if !rounding.MovesBits(t.Module, t.DTypes, g) {
		return false
	}
	if !rounding.Elsewhere(g) {
		return true
	}
	if !j.rounds {
		j.rounds = true
		j.Warnings = append(j.Warnings, fmt.Sprintf("%s: %s of the values are those of equal inputs, and the others one last place off to either side: the two sides round at other points (other versions of a kernel; see ilref's --rounding), which is no fault",
			t.Key, report.Percent(equalOf(g))))
	}
	return false
}

// exact reports whether all inputs were compared and are equal to the bit.
func exact(c *pairing.Call) bool { return c.HasInputs && !c.InputsMissing && c.In.Gap == 0 }

func inputsAgree(c *pairing.Call) string {
	switch {
	case exact(c):
		return "inputs agree to the bit"
	case c.HasInputs && !c.InputsMissing:
		return "inputs agree " + upTo(c.In.Gap)
	case len(pairing.ComparedChildren(c)) > 0:
		return "its children agree " + upTo(worstOf(pairing.ComparedChildren(c)))
	}
	return "its inputs are not all compared, but what is compared before it agrees " + upTo(c.In.Gap)
}

// upTo says how well tensors agree.
func upTo(gap float64) string {
	if gap == 0 {
		return "to the bit"
	}
	return "to rel_l2 " + report.Num(gap)
}

func (j *noiseJudge) blame(c *pairing.Call, t *report.TensorDiff, why string) {
	j.failed = !j.alone
	fail(j.Report, c, t, why)
}

func anyCompared(c *pairing.Call) bool {
	return slices.ContainsFunc(c.Slots, func(p *pairing.Pair) bool { return p.Result != nil })
}

// see keeps the worst of the forward.
func (j *noiseJudge) see(c *pairing.Call, direction string) {
	for _, p := range c.Slots {
		if p.Result != nil && p.Direction == direction && p.Result.Whole != nil {
			j.rerouted = max(j.rerouted, rounding.WorstRow(p.Result.Whole))
		}
		if p.Result != nil && p.Direction == direction && !math.IsInf(report.GapOf(p.Result), 1) {
			j.seen.Add(j.handedBy(c, p.Result))
		}
	}
}

// remember keeps what later calls are judged by.
func (j *noiseJudge) remember(c *pairing.Call) {
	j.see(c, report.Outputs)
	switch {
	case !anyCompared(c):
	case c.Layer >= 0:
		j.lastLayer = c.Layer
	case c.Of.Kind.IsNorm():
		j.sawNorm = true
	}
	if c.Of.Kind != topology.Attention {
		return
	}
	stored := j.history[c.Module]
	for _, p := range c.Slots {
		if p.Result != nil && p.Direction == report.Inputs && p.Slot != "0" {
			stored.Add(j.handedBy(c, p.Result))
		}
	}
	j.history[c.Module] = stored
}

func inheritedIf(b bool) report.Verdict {
	if b {
		return report.Inherited
	}
	return report.Pass
}

func equalOf(g *metric.Gap) float64 { return float64(g.Equal) / float64(max(g.Values, 1)) }
