package judge

import (
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
)

// misrouted blames a router whose scores send tokens to other experts by more than
// rounding and its inputs explain, which the gap of all tokens hides.
func (j *noiseJudge) misrouted(c *pairing.Call, p *pairing.Pair) {
	if x := p.Result.Routing; x != nil && x.Wrong != nil && !j.failed && p.Result.Verdict == report.Pass && !p.Bounds.Alone() {
		j.blame(c, p.Result, x.MisroutedWhy())
	}
}

// allLeftOut reports a tensor of tokens that all went to other experts: nothing of it
// is judged.
func allLeftOut(t *report.TensorDiff) bool { return t.Whole != nil && t.LeftOut == t.Whole.Rows() }
