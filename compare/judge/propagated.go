package judge

import (
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/topology"
)

// handedBy is what a tensor of a call hands on.
// An attention hands on rows that are left out too: later tokens look at them.
func (j *noiseJudge) handedBy(c *pairing.Call, t *report.TensorDiff) pairing.Propagated {
	h := pairing.Propagated{Gap: max(report.GapOf(t), rounding.Typical(t.Gap))}
	if t.Whole != nil && c.Of.Kind == topology.Attention {
		h.Gap = max(h.Gap, rounding.SizeOf(t.Whole))
	}
	if f := t.NoiseRatio; f != nil {
		h.Apart, h.Row, h.Excess = f.TypicalEmulationGap(), f.WorstRow(), f.WorstExcess()
		h.Left, h.Scaled = f.Leaves(j.ratioLimit, coarsest(c)), f.WrongScale()
		if c.Of.Kind == topology.Attention {
			h.Apart, h.Row, h.Excess = max(h.Apart, f.Whole), max(h.Row, f.Whole), max(h.Excess, f.Whole)
			h.Scaled = h.Scaled || f.Whole > 0
		}
	}
	return h
}
