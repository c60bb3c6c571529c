package judge

import (
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/rounding"
)

// coarsest is the floor of a call: the noise of the coarsest floating-point
// type among its compared tensors, for a finer output keeps the noise of what
// it was computed from. 0 where there is none.
func coarsest(c *pairing.Call) float64 {
	n := 0.0
	for _, p := range c.Slots {
		if p.Result != nil {
			n = max(n, rounding.Noise(p.Result.DTypes[0]), rounding.Noise(p.Result.DTypes[1]))
		}
	}
	return n
}

// floorOf is what gaps at a call are held against: the noise of the coarsest type that its
// forward has met so far. A tensor in a finer one, as a router's scores in float32, is
// made of what was rounded to that.
func (j *noiseJudge) floorOf(c *pairing.Call) float64 {
	j.coarse = max(j.coarse, coarsest(c))
	return j.coarse
}
