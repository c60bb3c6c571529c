package report

import (
	"math"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/rounding"
)

// GapOf is the figure that is judged: rel_l2, or infinity where integers or
// NaNs and infinities differ.
func GapOf(t *TensorDiff) float64 {
	if IsInteger(t) && !t.Gap.Identical() {
		return math.Inf(1)
	}
	return rounding.SizeOf(t.Gap)
}

// IsInteger reports whether both sides hold integers.
func IsInteger(t *TensorDiff) bool { return t.DTypes[0].IsInt() && t.DTypes[1].IsInt() }

// AllNaN reports whether every value is NaN on both sides.
func AllNaN(g *metric.Gap) bool { return g.Values > 0 && g.NaN == [2]int{g.Values, g.Values} }
