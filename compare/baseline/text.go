package baseline

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/ilref/ilref/compare/report"
)

// listed is how many names a list shows.
const listed = 10

// WriteText writes the result for people.
func (r *Result) WriteText(w io.Writer, path string, b *Baseline) error {
	t := bufio.NewWriter(w)
	last := b.History[len(b.History)-1]
	fmt.Fprintf(t, "baseline  %s  (%s of %s", path, last.Action, last.Session)
	for _, x := range []string{last.Time, last.Note, last.Reason} {
		if x != "" {
			fmt.Fprintf(t, "; %s", x)
		}
	}
	fmt.Fprintf(t, ")\nsession   %s\n\n", r.Session)
	switch {
	case r.First != "":
		fmt.Fprintf(t, "First divergence: %s.\n", r.First)
		if r.Failed > 1 {
			fmt.Fprintf(t, "Failing as well: %d tensors.\n", r.Failed-1)
		}
	case r.Compared == 0:
		fmt.Fprintf(t, "Nothing was compared.\n")
	case r.Identical == r.Compared:
		fmt.Fprintf(t, "No divergence: %d tensors compared, all equal to the bit.\n", r.Compared)
	default:
		fmt.Fprintf(t, "No divergence: %d tensors compared, %d equal to the bit, the others within what rounding explains; the largest gap is rel_l2 %s in %s.\n",
			r.Compared, r.Identical, estimate(r.Worst), r.WorstAt)
	}
	if r.Identical < r.Compared {
		fmt.Fprintf(t, "Gaps are estimates from %d random projections: ildiff on two sessions measures them.\n", Projections)
	}
	union := r.Compared + len(r.Missing) + len(r.Extra) + len(r.Skipped) + len(r.Unreadable)
	parts := []string{fmt.Sprintf("%d of %d tensors compared", r.Compared, union)}
	lists := []struct {
		what  string
		names []string
	}{{"missing in the session", r.Missing}, {"missing in the baseline", r.Extra}, {"skipped", r.Skipped}, {"unreadable", r.Unreadable}}
	for _, l := range lists {
		if len(l.names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", len(l.names), l.what))
		}
	}
	fmt.Fprintf(t, "Coverage: %s.\n", strings.Join(parts, ", "))
	for _, l := range lists {
		list(t, strings.ToUpper(l.what[:1])+l.what[1:], l.names)
	}
	if r.Unfinished != "" {
		fmt.Fprintf(t, "Unfinished: %s.\n", r.Unfinished)
	}
	fmt.Fprintf(t, "Verdict: %s\n", map[report.Verdict]string{report.Pass: "PASS", report.Fail: "FAIL", report.Incomparable: "INCOMPARABLE"}[r.Verdict])
	return t.Flush()
}

func list(w io.Writer, title string, names []string) {
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(w, "%s:\n", title)
	for i, n := range names {
		if i == listed {
			fmt.Fprintf(w, "  … and %d more\n", len(names)-i)
			return
		}
		fmt.Fprintf(w, "  %s\n", n)
	}
}
