package compare

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/compare/partial"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
)

// Merge puts the parts of one comparison together and judges it: the report is
// that of the whole, made without the sessions. It refuses parts that are not
// all there, are there twice, or are of different comparisons.
func Merge(parts []*partial.Report) (*report.Report, error) {
	m, look, warnings, err := partial.Assemble(parts)
	if err != nil {
		return nil, err
	}
	r := verdict(m, look)
	r.Warnings = append(slices.Clone(warnings), r.Warnings...)
	if n := len(r.Unhinted); n > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s failed without a hint: the part that measured it expected other inputs; first %s", plural.Count(n, "call"), r.Unhinted[0]))
	}
	return r, nil
}
