package report

import (
	"github.com/ilref/ilref/compare/metric"
)

// CompareGaps orders gaps by how bad they are.
func CompareGaps(a, b *metric.Gap) int {
	switch {
	case (a.NonFinite > 0) != (b.NonFinite > 0):
		if a.NonFinite > 0 {
			return 1
		}
		return -1
	case a.RelL2 != b.RelL2:
		if a.RelL2 > b.RelL2 {
			return 1
		}
		return -1
	case a.MaxAbs > b.MaxAbs:
		return 1
	case a.MaxAbs < b.MaxAbs:
		return -1
	}
	return 0
}
