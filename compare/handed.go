package compare

import "github.com/ilref/ilref/compare/metric"

// handed is the worst that tensors hand on to what is computed from them.
type handed struct {
	gap float64 // between the sessions

	// With an oracle and a floor:
	apart  float64 // from the emulation
	row    float64 // the same of the worst row
	excess float64 // over the emulation's gap to the oracle
	left   bool    // a tensor has left the floor
	scaled bool    // a scale is wrong
}

func (h *handed) add(x handed) {
	h.gap, h.apart, h.row, h.excess = max(h.gap, x.gap), max(h.apart, x.apart), max(h.row, x.row), max(h.excess, x.excess)
	h.left, h.scaled = h.left || x.left, h.scaled || x.scaled
}

// handedBy is what a tensor of a call hands on.
func (j *noiseJudge) handedBy(c *call, t *Tensor) handed {
	h := handed{gap: max(gapOf(t), typical(t.Gap))}
	if f := t.Floor; f != nil {
		h.apart, h.row, h.excess = f.typicalApart(), f.worstRow(), f.worstExcess()
		h.left, h.scaled = f.leaves(j.ratioLimit, coarsest(c)), f.wrongScale()
	}
	return h
}

// typical is the size of a gap in which a row of huge values, as the first
// token's, does not hide what most others hand on.
func typical(g *metric.Gap) float64 {
	if g.Identical() || g.Rows() < 2 {
		return sizeOf(g)
	}
	return max(sizeOf(g), g.TokenMedian)
}
