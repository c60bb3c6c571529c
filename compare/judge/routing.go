package judge

import (
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
)

// misrouted blames a router whose scores send tokens to other experts by more than
// rounding and its inputs explain, which the gap of all tokens hides.
func (j *noiseJudge) misrouted(c *pairing.Call, p *pairing.Pair) {
	if x := p.Result.Routing; x != nil && x.Wrong != nil && !j.failed && p.Result.Verdict == report.Pass && !p.Bounds.Alone() {
		j.blame(c, p.Result, x.MisroutedWhy())
	}
}

// oneNumber reports an output of one number a token, as a gate's: a sum that may be small
// beside its terms, whose rounding is then large beside it.
func oneNumber(c *pairing.Call, t *report.TensorDiff) bool {
	return c.Of.Kind.IsLinear() && len(t.Shape) > 1 && t.Shape[len(t.Shape)-1] == 1
}

// share is by how much a gap of an output counts: of numbers that a sigmoid is taken of,
// in which what is less than 1 is absolute, by their size.
func share(c *pairing.Call, t *report.TensorDiff, g *metric.Gap) float64 {
	if !oneNumber(c, t) || !(g.RelL2 > 0) {
		return 1
	}
	return min(1, g.RMSE/g.RelL2)
}

// gainOf is how much of its inputs' gap an output may pass on.
func gainOf(c *pairing.Call, t *report.TensorDiff) float64 {
	switch few := t.Gap.Rows() < metric.ChannelRows; {
	case oneNumber(c, t) && few:
		return 8 // 4.6
	case oneNumber(c, t):
		return 4 // 2
	}
	gain := rounding.Gain(c.Of.Kind, t.Gap.Rows())
	if t.Gap.Values < fewValues {
		gain *= 2 // 6.6 of an activation of 8 values: nothing averages
	}
	return gain
}

// fewValues is the size below which single values decide what a tensor passes on.
const fewValues = 64

// gapOf is the gap of an output as it counts.
func gapOf(c *pairing.Call, t *report.TensorDiff) float64 {
	return report.GapOf(t) * share(c, t, t.Gap)
}

// allLeftOut reports a tensor of tokens that all went to other experts: nothing of it
// is judged.
func allLeftOut(t *report.TensorDiff) bool { return t.Whole != nil && t.LeftOut == t.Whole.Rows() }
