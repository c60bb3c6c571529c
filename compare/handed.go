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
	h := handed{gap: typical(t.Gap, gapOf(t))}
	if f := t.Floor; f != nil {
		h.apart, h.row, h.excess = f.apart(), f.row(), f.worstExcess()
		h.left, h.scaled = f.leaves(j.evidence.limit(), coarsest(c)), f.wrongScale()
	}
	return h
}

// typical is a gap in which a row of huge values, as the first token's, does not
// hide what most others hand on.
func typical(g *metric.Gap, gap float64) float64 {
	if gap == 0 || g.Rows() < 2 {
		return gap
	}
	return max(gap, g.TokenMedian)
}
