package rounding

import (
	"github.com/ilref/ilref/compare/metric"
)

// Typical is the size of a gap in which a row of huge values, as the first
// token's, does not hide what most others hand on.
func Typical(g *metric.Gap) float64 {
	if g.Identical() || g.Rows() < 2 {
		return SizeOf(g)
	}
	return max(SizeOf(g), g.TokenMedian)
}
