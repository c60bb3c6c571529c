// Package render writes a comparison's report for other programs and other
// people: Markdown for a pull request, JUnit XML for a CI server, and one HTML
// page that needs no network. It only reads the report.
//
// Equal reports give equal bytes. Whatever a report holds, names included, is
// escaped: sessions come from elsewhere.
package render

import (
	"fmt"
	"io"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
)

// Options says what the report itself does not tell. The zero value is enough.
type Options struct {
	Bounds report.Bounds // that the report was judged by
	Lint   []Finding     // what is odd about the recordings, shown first

	// Reread calls f with the two tensors that gave t, as long as the sessions
	// can be read; see Sessions. The page shows the histogram, the rows and the
	// worst elements of failing tensors by it. nil leaves them out.
	Reread func(t *report.TensorDiff, f func(reference, target *tensor.Tensor) error) error
}

// Finding is a line about the recordings, not about the gap between them.
type Finding struct {
	Severity string // error, warning or info
	Message  string
}

// Writer writes a report in one format.
type Writer func(io.Writer, *report.Report, Options) error

// Formats are the writers by the name of their format.
var Formats = map[string]Writer{
	"html":     HTML,
	"junit":    JUnit,
	"markdown": Markdown,
}

// findings are the lint lines and the report's own warnings.
func findings(r *report.Report, o Options) []Finding {
	out := append([]Finding(nil), o.Lint...)
	for _, w := range r.Warnings {
		out = append(out, Finding{"warning", w})
	}
	if n := len(r.Fallback); n > 0 {
		out = append(out, Finding{"info", fmt.Sprintf("the rule has no evidence for %s, judged between the two sessions instead; the first is %s", plural.Count(n, "call"), r.Fallback[0])})
	}
	return out
}
