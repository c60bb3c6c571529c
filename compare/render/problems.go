package render

import (
	"github.com/ilref/ilref/compare/report"
)

func namesOf(ps []report.Problem) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.Key.String() + ": " + p.Why
	}
	return out
}
