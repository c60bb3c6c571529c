package report

import (
	"cmp"
	"slices"
)

// Worse prefers the worse verdict, then the larger gap, then the first.
func Worse(a, b *TensorDiff) *TensorDiff {
	if a == nil {
		return b
	}
	rank := func(t *TensorDiff) int { return slices.Index([]Verdict{Pass, Inherited, Fail}, t.Verdict) }
	if cmp.Or(cmp.Compare(rank(b), rank(a)), CompareGaps(b.Gap, a.Gap)) > 0 {
		return b
	}
	return a
}
