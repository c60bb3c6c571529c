package rounding

import (
	"math"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// MovesBits reports a gap that a module which only rounds does not have for
// equal inputs: hardly any of its bits may differ.
func MovesBits(module string, types [2]tensor.DType, g *metric.Gap) bool {
	return topology.Of(module).Kind.RoundsOnce() && types[0] == types[1] && types[0].Size() <= 2 && types[0].IsFloat() &&
		g.Values-g.Equal > Handful && float64(g.Equal) < EqualShare*float64(g.Values)
}

// sides is how unlikely (metric.Unlikely) the sides of values may be, of which a
// comparison has at most some 10^5: once in 10^10.
var sides = math.Log(1e10)

// Elsewhere tells another rounding from a wrong value of the same size: every
// value is at most one last place off, and as many to either side, as a wrong eps
// does not have it, in every row, as a norm computed in too few bits does not.
func Elsewhere(g *metric.Gap) bool {
	s := g.Sides
	return s != nil && g.ULP != nil && g.ULP.Max <= 1 &&
		metric.Unlikely(s.Drift(), 1) <= sides && metric.Unlikely(s.Rows, max(s.Counted, 1)) <= sides
}
