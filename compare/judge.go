package compare

import (
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// walk visits calls as they ran: before runs when a module is entered, after
// when it has returned.
func walk(cs []*call, before, after func(*call)) {
	for _, c := range cs {
		before(c)
		walk(c.children, before, after)
		after(c)
	}
}

// fail marks a tensor as a divergence.
func (r *Report) fail(c *call, t *Tensor, why string) {
	t.Verdict = Fail
	if c.report.Why == "" {
		c.report.Why = why
	}
	r.diverge(t.Key, c.layer, why)
}

func (r *Report) diverge(k Key, layer int, why string) {
	r.gap = true
	if r.FirstDivergence == nil {
		r.FirstDivergence = &Divergence{Key: k, Layer: layer, Why: why}
	}
}

// judgeTokens judges a forward that did other work: its token ids, no more.
func (r *Report) judgeTokens(f *forward) {
	for _, c := range f.calls {
		for _, p := range c.slots {
			switch t := p.result; {
			case t == nil:
			case t.Gap.Identical():
				t.Verdict = Pass
			case f.work == otherTokens && r.FirstDivergence == nil:
				r.fail(c, t, f.why)
			default:
				t.Verdict = Inherited
			}
		}
	}
	if f.work == otherTokens && f.selected() { // compared above, or of unequal shapes, or not selected
		c := f.find(isEmbedding)
		r.diverge(Key{c.step, c.module, c.index, inputs, "0"}, c.layer, f.why)
	}
}

// noiseJudge applies the default rule: a module is at fault when its output
// has a gap that rounding and the gap of its inputs do not explain. It goes
// through the calls as they ran, so the first fault found is the first that
// happened; from then on a module is blamed only if its inputs agree, for a
// large gap may grow in any way.
type noiseJudge struct {
	*Report
	in         *measured
	ratioLimit float64           // beyond which a tensor leaves the floor
	failed     bool              // a divergence was found
	history    map[string]handed // by module: the keys and values it has stored
	reported   bool              // that the reference is suspect
	rounds     bool              // that a module rounds elsewhere
	alone      bool              // of a part: what failed excuses nothing, for another part may tell that it did not

	// Of the forward at hand:
	seen      handed // the worst so far
	lastLayer int    // of the latest call; -1 before the first layer
	sawNorm   bool   // the final norm is recorded
}

func newNoiseJudge(r *Report, m *measured) *noiseJudge {
	j := &noiseJudge{Report: r, in: m, ratioLimit: m.ratioLimit, history: map[string]handed{}}
	if j.ratioLimit <= 0 {
		j.ratioLimit = DefaultRatioLimit
	}
	return j
}

// slack is how many times what rounding explains the target may be from the
// emulation: who allows more of the ratio allows more of this.
func (j *noiseJudge) slack() float64 { return max(1, j.ratioLimit/DefaultRatioLimit) }

func (j *noiseJudge) judge(fs []*forward) {
	for _, f := range fs {
		if f.work != sameWork {
			j.judgeTokens(f)
			j.failed = !j.alone && (j.failed || f.work == otherTokens)
			continue
		}
		j.seen, j.lastLayer, j.sawNorm = handed{}, -1, false
		walk(f.top, j.inputs, j.outputs)
	}
}

// gapOf is the figure that is judged: rel_l2, or infinity where integers or
// NaNs and infinities differ.
func gapOf(t *Tensor) float64 {
	if isInteger(t) && !t.Gap.Identical() {
		return math.Inf(1)
	}
	return sizeOf(t.Gap)
}

// sizeOf is the rel_l2 of a gap, infinity where NaN or infinities meet others.
func sizeOf(g *metric.Gap) float64 {
	switch {
	case g.Identical():
		return 0
	case g.NonFinite > 0:
		return math.Inf(1)
	}
	return g.RelL2
}

func isInteger(t *Tensor) bool { return t.DTypes[0].IsInt() && t.DTypes[1].IsInt() }

// inputs looks for a gap that appears before the module runs: unequal
// positions, or a fault in modules that are not recorded.
func (j *noiseJudge) inputs(c *call) {
	floor := coarsest(c)
	for _, p := range c.slots {
		t := p.result
		switch {
		case p.Direction != inputs:
			continue
		case t == nil:
			c.inputsMissing = true
			continue
		}
		g := gapOf(t)
		if why := j.changedOnTheWay(p); why != "" && !j.failed && p.bounds == nil {
			j.blame(c, t, why)
			c.in.add(j.handedBy(c, t))
			c.hasInputs = true
			continue
		}
		switch lim := j.inputLimit(c, floor, j.seen.gap); {
		case p.bounds != nil:
			j.bounded(c, p)
		case t.Floor != nil:
			j.inputRatio(c, t, floor)
		case j.failed:
			t.Verdict = inheritedIf(g > floor)
		case isInteger(t) && g > 0:
			j.blame(c, t, integersDiffer(t))
		case g > lim:
			j.blame(c, t, fmt.Sprintf("this input already differs: %s, where %s; the modules that made it are not among the compared ones, so look there", describe(t), explained(t, lim, j.seen.gap)))
		default:
			t.Verdict = Pass
		}
		c.in.add(j.handedBy(c, t))
		c.hasInputs = true
	}
	if !c.hasInputs {
		c.in = j.seen
	}
	j.see(c, inputs)
}

// inputLimit is the gap that an input may have: what was seen before it may
// have grown through the modules that are not recorded.
func (j *noiseJudge) inputLimit(c *call, floor, seen float64) float64 {
	before := max(j.lastLayer, 0)
	layers := 1
	switch {
	case c.layer >= 0:
		layers = max(1, c.layer-before+1)
	case j.sawNorm:
	case j.in.layers > 0:
		layers = max(1, j.in.layers-before)
	default:
		return farNoise * floor
	}
	return limit(compositeNoise*floor*float64(layers), floor, gain(topology.Unknown, 0)*seen)
}

func (j *noiseJudge) outputs(c *call) {
	floor := coarsest(c)
	if c.of.Kind == topology.Attention {
		c.in.add(j.history[c.module])
	}
	if c.inputsMissing {
		c.in.add(j.seen)
	}
	for _, p := range c.slots {
		if p.result != nil && p.Direction != inputs {
			j.output(c, p, floor)
		}
	}
	j.noteFallback(c)
	j.remember(c)
}

// output judges one output by the first rule that applies.
func (j *noiseJudge) output(c *call, p *slotPair, floor float64) {
	t := p.result
	g, in, noise := gapOf(t), c.in.gap, floor
	if p.bounds != nil {
		j.bounded(c, p)
		return
	}
	t.Verdict = inheritedIf(j.failed && g > floor)
	children := comparedChildren(c)
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
	if len(children) > 0 || c.of.Kind.IsBlock() {
		noise *= compositeNoise // what else it holds is not recorded
	}
	switch {
	case t.Local != nil:
		j.local(c, t, noise)
		return
	case t.Floor != nil:
		j.ratio(c, t, noise, floor)
		return
	case j.failed && in > floor:
		return
	}
	lim := limit(noise, floor, gain(c.of.Kind, t.Gap.Rows())*in)
	switch {
	case g == 0:
	case isInteger(t):
		j.blame(c, t, integersDiffer(t))
	case t.Gap.NonFinite > 0:
		j.blame(c, t, "its inputs are finite where they should be, its output is not: "+describe(t))
	case c.exact() && t.DTypes[0] == t.DTypes[1] && (c.of.Kind == topology.Embedding):
		j.blame(c, t, fmt.Sprintf("token ids are equal, but the rows looked up are not: %s (other weights?)", describe(t)))
	case g > lim && in < floor*farNoise && lim == farNoise*floor:
		j.blame(c, t, fmt.Sprintf("gaps have grown to %s here, beyond the %s that rounding in %s accumulates to", describe(t), num(lim), typeNames(t)))
	case g > lim:
		j.blame(c, t, fmt.Sprintf("%s, outputs do not: %s, where %s", c.inputsAgree(), describe(t), explained(t, lim, in)))
	case c.exact() && j.movesBits(c, t, t.Gap):
		j.blame(c, t, fmt.Sprintf("inputs are equal to the bit, but only %s of the output values are, and a module that rounds once keeps %s: %s",
			percent(equalOf(t.Gap)), percent(equalShare), describe(t)))
	}
}

// movesBits applies the rule for modules that only round: with equal inputs
// hardly any output bit may differ. Where each value is off by no more than its
// last place, and to either side, the two sides round at other points, which is
// no fault, but said.
func (j *noiseJudge) movesBits(c *call, t *Tensor, g *metric.Gap) bool {
	differ := g.Values - g.Equal
	if !c.of.Kind.RoundsOnce() || t.DTypes[0] != t.DTypes[1] || t.DTypes[0].Size() > 2 || differ <= handful || equalOf(g) >= equalShare {
		return false
	}
	if !roundsElsewhere(t.DTypes[0], g) {
		return true
	}
	if !j.rounds {
		j.rounds = true
		j.Warnings = append(j.Warnings, fmt.Sprintf("%s: %s of the values are those of equal inputs, and the others one last place off to either side: the two sides round at other points (other versions of a kernel; see ilref's --rounding), which is no fault",
			t.Key, percent(equalOf(g))))
	}
	return false
}

// roundsElsewhere tells another rounding from a wrong value of the same size: it
// has no bias, as a wrong eps has, and no factor of each row's own, as a norm
// computed in too few bits.
func roundsElsewhere(d tensor.DType, g *metric.Gap) bool {
	s := g.Scale
	return g.ULP != nil && g.ULP.Max <= 1 && s != nil && math.Abs(s.MinusOne) <= max(leastScale(d), scaleErrors*s.StdErr) && s.Rows <= rowScales
}

// exact reports whether all inputs were compared and are equal to the bit.
func (c *call) exact() bool { return c.hasInputs && !c.inputsMissing && c.in.gap == 0 }

func (c *call) inputsAgree() string {
	switch {
	case c.exact():
		return "inputs agree to the bit"
	case c.hasInputs && !c.inputsMissing:
		return "inputs agree " + upTo(c.in.gap)
	case len(comparedChildren(c)) > 0:
		return "its children agree " + upTo(worstOf(comparedChildren(c)))
	}
	return "its inputs are not all compared, but what is compared before it agrees " + upTo(c.in.gap)
}

// upTo says how well tensors agree.
func upTo(gap float64) string {
	if gap == 0 {
		return "to the bit"
	}
	return "to rel_l2 " + num(gap)
}

func (j *noiseJudge) blame(c *call, t *Tensor, why string) {
	j.failed = !j.alone
	j.fail(c, t, why)
}

func (c *call) anyCompared() bool {
	return slices.ContainsFunc(c.slots, func(p *slotPair) bool { return p.result != nil })
}

// see keeps the worst of the forward.
func (j *noiseJudge) see(c *call, direction string) {
	for _, p := range c.slots {
		if p.result != nil && p.Direction == direction && !math.IsInf(gapOf(p.result), 1) {
			j.seen.add(j.handedBy(c, p.result))
		}
	}
}

// remember keeps what later calls are judged by.
func (j *noiseJudge) remember(c *call) {
	j.see(c, outputs)
	switch {
	case !c.anyCompared():
	case c.layer >= 0:
		j.lastLayer = c.layer
	case c.of.Kind.IsNorm():
		j.sawNorm = true
	}
	if c.of.Kind != topology.Attention {
		return
	}
	stored := j.history[c.module]
	for _, p := range c.slots {
		if p.result != nil && p.Direction == inputs && p.Slot != "0" {
			stored.add(j.handedBy(c, p.result))
		}
	}
	j.history[c.module] = stored
}

func inheritedIf(b bool) Verdict {
	if b {
		return Inherited
	}
	return Pass
}

func equalOf(g *metric.Gap) float64 { return float64(g.Equal) / float64(max(g.Values, 1)) }
