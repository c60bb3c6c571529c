package judge

import (
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
)

// bounded judges a tensor that the policy holds to bounds: neither its inputs
// nor an earlier divergence excuse it.
func (j *noiseJudge) bounded(c *pairing.Call, p *pairing.Pair) {
	p.Result.Verdict = report.Pass
	j.hold(c, p)
}

// boundedToo holds a tensor that passes the default rule to the bounds that
// stand beside it.
func (j *noiseJudge) boundedToo(c *pairing.Call, p *pairing.Pair) {
	if p.Bounds != nil && p.Bounds.Default && p.Result.Verdict == report.Pass {
		j.hold(c, p)
	}
}

func (j *noiseJudge) hold(c *pairing.Call, p *pairing.Pair) {
	t := p.Result
	if why := Violated(p.Bounds, t); why != "" {
		j.blame(c, t, why)
	}
}
