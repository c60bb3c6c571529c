package judge

import (
	"github.com/ilref/ilref/compare/report"
)

// conclude reaches the verdict. A gap that was found stands whatever was not
// compared; without one, only a comparison that covers enough is a pass.
func conclude(r *report.Report, minCoverage *float64) {
	r.MinCoverage = 100
	if minCoverage != nil {
		r.MinCoverage = *minCoverage
	}
	switch {
	case r.Diverged:
		r.Verdict = report.Fail
	case r.Coverage.Compared == 0 || r.Coverage.Percent() < r.MinCoverage || len(r.Unfinished) > 0 || r.Logprobs.Missing():
		r.Verdict = report.Incomparable
	default:
		r.Verdict = report.Pass
	}
}
