package setup

import (
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
)

// hashed is how much of a parameter a digest is of.
const hashed = 64 << 10

// weights compares the parameters that both sides have, in the type that both compute
// with.
func (f *finder) weights(r, t []provenance.Weight) {
	compared := 0
	var other []provenance.Weight // the reference's
	for _, a := range r {
		i := slices.IndexFunc(t, func(b provenance.Weight) bool { return b.Name == a.Name })
		if i < 0 || !comparable(a, t[i]) {
			continue
		}
		if compared++; !strings.EqualFold(a.SHA256, t[i].SHA256) {
			other = append(other, a)
		}
	}
	if len(other) == 0 {
		return
	}
	first := other[0]
	b := t[slices.IndexFunc(t, func(b provenance.Weight) bool { return b.Name == first.Name })]
	f.add(report.SetupWeights, "weights."+first.Name, first.SHA256, b.SHA256,
		"other weights: %s differs in its first 64 KiB: another checkpoint or another step of training (%d of the %s that both sides tell)",
		short(first.Name), len(other), plural.Count(compared, "parameter"))
}

// comparable reports whether the digests are of the same elements: those of one shape
// or, where ranks hold rows of it, of one that is as long in the first 64 KiB.
func comparable(a, b provenance.Weight) bool {
	if a.SHA256 == "" || b.SHA256 == "" || a.DType != b.DType || len(a.Shape) == 0 || len(a.Shape) != len(b.Shape) {
		return false
	}
	if slices.Equal(a.Shape, b.Shape) {
		return true
	}
	return slices.Equal(a.Shape[1:], b.Shape[1:]) && fills(a) && fills(b)
}

// fills reports whether a parameter has as many bytes as are hashed.
func fills(w provenance.Weight) bool {
	d, ok := tensor.ParseDType(w.DType)
	if !ok {
		return false
	}
	left := float64(hashed) / float64(max(d.Size(), 1)) // shapes may say anything
	for _, n := range w.Shape {
		left /= float64(max(n, 0))
	}
	return left <= 1
}

// OtherWeights tells that two lists are of other weights, "" where nothing says so.
func OtherWeights(r, t []provenance.Weight) string {
	f := &finder{}
	f.weights(r, t)
	if len(f.out) == 0 {
		return ""
	}
	return f.out[0].Text
}
