package judge

import (
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
)

// bounded judges a tensor that the policy holds to bounds: neither its inputs
// nor an earlier divergence excuse it.
func (j *noiseJudge) bounded(c *pairing.Call, p *pairing.Pair) {
	t := p.Result
	t.Verdict = report.Pass
	if why := Violated(p.Bounds, t); why != "" {
		j.blame(c, t, why)
	}
}
