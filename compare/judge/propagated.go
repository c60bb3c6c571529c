package judge

import (
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
)

// handedBy is what a tensor of a call hands on.
func (j *noiseJudge) handedBy(c *pairing.Call, t *report.TensorDiff) pairing.Propagated {
	h := pairing.Propagated{Gap: max(report.GapOf(t), rounding.Typical(t.Gap))}
	if f := t.NoiseRatio; f != nil {
		h.Apart, h.Row, h.Excess = f.TypicalEmulationGap(), f.WorstRow(), f.WorstExcess()
		h.Left, h.Scaled = f.Leaves(j.ratioLimit, coarsest(c)), f.WrongScale()
	}
	return h
}
