package diagnose

import "github.com/ilref/ilref/compare/report"

// blameWeights tells of a divergence that the two sides ran other weights: that
// explains any, and the shape of the error tells what the weights are, not what a
// module does.
func blameWeights(r *report.Report) {
	d, why := r.FirstDivergence, r.OtherWeights()
	if d == nil || why == "" {
		return
	}
	if d.Hint != "" {
		why += "; otherwise, " + d.Hint
	}
	d.Hint = why
	for _, m := range r.Modules {
		if m.Step == d.Step && m.Module == d.Module && m.Call == d.Call {
			m.Hint = why
		}
	}
}
