package rounding

import (
	"math"

	"github.com/ilref/ilref/compare/metric"
)

// SizeOf is the rel_l2 of a gap, infinity where NaN or infinities meet others.
func SizeOf(g *metric.Gap) float64 {
	switch {
	case g.Identical():
		return 0
	case g.NonFinite > 0:
		return math.Inf(1)
	}
	return g.RelL2
}

// WorstRow is the rel_l2 of the worst row, that of all where there are no rows.
func WorstRow(g *metric.Gap) float64 {
	if g.WorstToken == nil {
		return g.RelL2
	}
	return g.WorstToken.RelL2
}
