package report

import (
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/tensor"
)

// Bounds are explicit limits; nil ones are not asked for. Where any is set,
// every tensor must keep to all of them, and the default rule is not applied.
type Bounds struct {
	RTol      *float64 `json:"rtol,omitzero"` // no value may be off by more than ATol + RTol·|reference|; one alone takes the other from torch's default for the type
	ATol      *float64 `json:"atol,omitzero"`
	MaxAbs    *float64 `json:"max_abs,omitzero"`
	MinCosine *float64 `json:"min_cosine,omitzero"`
	MaxRelL2  *float64 `json:"max_rel_l2,omitzero"`
	// MaxMismatched is the share of the values, 0 to 1, that RTol and ATol allow
	// to be off by more; nil means none where one of them is set.
	MaxMismatched *float64 `json:"max_mismatched,omitzero"`

	// Default says, of the bounds of a policy's rule, that the default rule must
	// be kept as well.
	Default bool `json:"default,omitzero"`
}

// Alone reports whether bounds are given, and stand in the place of the default
// rule.
func (b *Bounds) Alone() bool { return b != nil && !b.Default }

// Set reports whether there is any.
func (b *Bounds) Set() bool {
	return b.RTol != nil || b.ATol != nil || b.MaxAbs != nil || b.MinCosine != nil || b.MaxRelL2 != nil || b.MaxMismatched != nil
}

// Tolerance is what counts as mismatched.
func (b *Bounds) Tolerance(x, y tensor.DType) metric.Tolerance {
	t := metric.DefaultTolerance(x, y)
	if b.RTol != nil {
		t.RTol = *b.RTol
	}
	if b.ATol != nil {
		t.ATol = *b.ATol
	}
	return t
}
