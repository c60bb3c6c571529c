package render

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/terminal"
	"github.com/ilref/ilref/internal/texttab"
)

// TextOptions says how a report is written for people.
type TextOptions struct {
	All   bool // a line for every tensor instead of every module call
	Color bool // SGR colours
	Width int  // of the terminal: columns are left out and sentences wrapped, names never cut; 0 is unlimited
}

// Text writes the report for people: the two sessions, a table in
// execution order, then what it means, what was not compared, and the verdict.
func Text(w io.Writer, r *report.Report, o TextOptions) error {
	b := bufio.NewWriter(w)
	t := &textWriter{Writer: b, report: r, opts: o}
	t.header()
	t.list("Made otherwise", report.SetupLines(r.Setup))
	t.list("Routing", report.RoutingLines(r))
	if len(r.Modules) > 0 {
		tab := moduleTable(r)
		if o.All {
			tab = tensorTable(r)
		}
		t.line("")
		if err := tab.Write(b, o.Width, o.Color); err != nil {
			return err
		}
	}
	t.line("")
	t.conclusion()
	t.rule()
	t.logprobs()
	t.workloads()
	t.nanOnBothSides()
	t.coverage()
	t.list("Warnings", r.Warnings)
	t.verdict()
	return b.Flush()
}

type textWriter struct {
	*bufio.Writer // keeps the first error until Flush
	report        *report.Report
	opts          TextOptions
}

func (t *textWriter) line(format string, args ...any) {
	fmt.Fprintln(t, texttab.Wrap(fmt.Sprintf(format, args...), t.opts.Width))
}

func (t *textWriter) paint(s string, style texttab.Style) string {
	if !t.opts.Color {
		return s
	}
	return texttab.Paint(s, style)
}

func (t *textWriter) header() {
	for _, s := range []struct {
		name string
		report.Side
	}{{"reference", t.report.Reference}, {"target", t.report.Target}} {
		types := ""
		if len(s.DTypes) > 0 {
			types = ", " + strings.Join(s.DTypes, " and ")
		}
		t.line("%-9s  %s  (%s%s)", s.name, terminal.Printable(s.Dir), report.FormatSteps(s.Steps), types)
	}
}

// conclusion is the sentence that a reader came for.
func (t *textWriter) conclusion() {
	r := t.report
	if d := r.FirstDivergence; d != nil {
		t.line("%s %s: %s.", t.paint("First divergence:", texttab.Bold), d.Location(), terminal.Printable(d.Why))
		t.detail(d)
		t.otherFailures()
		return
	}
	worst, equal := worstOutput(r)
	switch n := plural.Count(r.Coverage.Compared, "tensor"); {
	case r.Coverage.Compared == 0 && !shareStep(r):
		t.line("Nothing to compare: the reference holds %s, the target %s.", report.FormatSteps(r.Reference.Steps), report.FormatSteps(r.Target.Steps))
	case r.Coverage.Compared == 0:
		t.line("Nothing was compared.")
	case equal:
		t.line("No divergence: %s of %s compared, all equal to the bit.", n, plural.Count(comparedCalls(r), "module call"))
	case r.Rule == report.RulePolicy:
		t.line("No divergence: %s of %s compared, all within the policy; %s.", n, plural.Count(comparedCalls(r), "module call"), worst)
	case r.Rule == report.RuleBounds:
		t.line("No divergence: %s of %s compared, all within the bounds; %s.", n, plural.Count(comparedCalls(r), "module call"), worst)
	default:
		t.line("No divergence: %s of %s compared, no module adds more than rounding explains; %s.", n, plural.Count(comparedCalls(r), "module call"), worst)
	}
}

// detail is what more there is to the first divergence: its worst row and
// column, and the likely cause.
func (t *textWriter) detail(d *report.Divergence) {
	for _, x := range t.report.Tensors {
		if x.Key == d.Key {
			if s := report.Where(x); s != "" {
				t.line("  %s.", s)
			}
			break
		}
	}
	if d.Hint != "" {
		t.line("  Likely cause (a guess): %s.", d.Hint)
	}
}

// rule says what was judged otherwise than asked for, and what logits chose.
func (t *textWriter) rule() {
	r := t.report
	if len(r.Fallback) > 0 {
		what := map[report.Rule]string{report.RuleReplay: "replay", report.RuleFloor: "oracle or the floor"}[r.Rule]
		t.list(fmt.Sprintf("Judged between the two sessions, for the %s lacks them", what), r.Fallback)
	}
	rows, agree, ties := 0, 0, 0
	for _, x := range r.Tensors {
		if l := x.Logits; l != nil {
			rows, agree, ties = rows+l.Rows, agree+l.Agree, ties+l.NearTies
		}
	}
	near := ""
	if ties > 0 {
		near = fmt.Sprintf(", %d of them near ties (closer than the row's gap)", ties)
	}
	if n := rows - agree; n > 0 {
		t.line("Other token chosen: in %d of %s of logits%s.", n, plural.Count(rows, "row"), near)
	}
}

func shareStep(r *report.Report) bool {
	in := map[int]bool{}
	for _, n := range r.Reference.Steps {
		in[n] = true
	}
	for _, n := range r.Target.Steps {
		if in[n] {
			return true
		}
	}
	return false
}

// otherFailures names the other calls that fail although their inputs agree:
// the same fault in later steps, or a second one.
func (t *textWriter) otherFailures() {
	d := t.report.FirstDivergence
	var again []int
	var others []string
	for _, m := range t.report.Modules {
		switch {
		case m.Verdict != report.Fail || m.Module == d.Module && m.Call == d.Call && m.Step == d.Step:
		case m.Module == d.Module && m.Call == d.Call:
			again = append(again, m.Step)
		default:
			others = append(others, fmt.Sprintf("step %d, %s", m.Step, m.Name()))
		}
	}
	if len(again) > 0 {
		t.line("The same call fails again in %s.", report.FormatSteps(again))
	}
	t.list("Failing as well", others)
}

func comparedCalls(r *report.Report) int {
	n := 0
	for _, m := range r.Modules {
		if m.Inputs != nil || m.Outputs != nil {
			n++
		}
	}
	return n
}

// worstOutput describes the largest gap, and tells whether there is any.
func worstOutput(r *report.Report) (text string, equal bool) {
	var w *report.TensorDiff
	for _, x := range r.Tensors {
		if w == nil || report.CompareGaps(x.Gap, w.Gap) > 0 {
			w = x
		}
	}
	if w == nil || w.Gap.Identical() {
		return "", true
	}
	return fmt.Sprintf("the largest gap is rel_l2 %s in step %d, %s, %s", report.Num(w.Gap.RelL2), w.Step, il.CallName(w.Module, w.Call), report.SlotName(w.Key)), false
}

// workloads lists the forwards that were not judged, equal reasons together.
func (t *textWriter) workloads() {
	ws := t.report.Workloads
	if len(ws) == 0 {
		return
	}
	t.line("Another workload, not judged:")
	for i, w := range ws {
		if i == report.Listed {
			t.line("  … and %s more", plural.Count(len(ws)-i, "step"))
			break
		}
		t.line("  step %d: %s", w.Forward, terminal.Printable(w.Why))
	}
}

// nanOnBothSides reports what is no gap and yet worth a look.
func (t *textWriter) nanOnBothSides() {
	n, first := 0, ""
	for _, x := range t.report.Tensors {
		if x.Gap.NaN[0] > 0 && x.Gap.NaN[1] > 0 {
			if n++; n == 1 {
				first = x.String()
			}
		}
	}
	if n > 0 {
		t.line("NaN on both sides in %s, first in %s.", plural.Count(n, "tensor"), first)
	}
}

func (t *textWriter) coverage() {
	c := &t.report.Coverage
	parts := []string{fmt.Sprintf("%d of %s compared", c.Compared, plural.Count(c.Union(), "tensor"))}
	for _, p := range []struct {
		n    int
		what string
	}{
		{len(c.MissingInReference), "missing in the reference"},
		{len(c.MissingInTarget), "missing in the target"},
		{c.OtherWorkload, "of another workload"},
		{len(c.Skipped) - c.OtherWorkload, "skipped"},
		{len(c.Unreadable), "unreadable"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	t.line("Coverage: %s (%s).", report.Percent(c.Percent()/100), strings.Join(parts, ", "))
	t.outside(c)
	t.list("Missing in the reference", keyNames(c.MissingInReference))
	t.list("Missing in the target", keyNames(c.MissingInTarget))
	var skippedNames []string
	for _, p := range c.Skipped {
		if !p.OtherTokens {
			skippedNames = append(skippedNames, p.Key.String()+": "+p.Why)
		}
	}
	t.list("Skipped", skippedNames)
	var broken []string
	for _, p := range c.Unreadable {
		broken = append(broken, p.Key.String()+": "+p.Why)
	}
	t.list("Unreadable", broken)
}

// outside counts what no comparison could cover.
func (t *textWriter) outside(c *report.Coverage) {
	if n := c.UnmatchedByNature; n > 0 {
		t.line("Outside coverage: %s of padding or of logits after unfinished chunks.", plural.Count(n, "row"))
	}
	if n := c.NoPartner; n > 0 {
		t.line("Outside coverage: %s that the other side's modules do not have.", plural.Count(n, "tensor"))
	}
	if n := len(c.Excluded); n > 0 {
		t.line("Outside coverage: %s that the policy skips.", plural.Count(n, "tensor"))
		t.list("Skipped by the policy", namesOf(c.Excluded))
	}
	if n := len(c.Keywords); n > 0 {
		t.line("Outside coverage: %s by keyword, which one side alone recorded.", plural.Count(n, "argument"))
		t.list("Arguments by keyword of one side alone", namesOf(c.Keywords))
	}
}

func keyNames(keys []report.Key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.String()
	}
	return out
}

func (t *textWriter) list(title string, names []string) {
	if len(names) == 0 {
		return
	}
	t.line("%s:", title)
	for i, n := range names {
		if i == report.Listed {
			t.line("  … and %d more (the JSON report lists all)", len(names)-i)
			break
		}
		t.line("  %s", terminal.Printable(n))
	}
}

func (t *textWriter) verdict() {
	r := t.report
	switch r.Verdict {
	case report.Pass:
		t.line("Verdict: %s", t.paint("PASS", texttab.Green))
	case report.Fail:
		t.line("Verdict: %s", t.paint("FAIL", texttab.Red))
	case report.Incomparable:
		if len(r.Unfinished) > 0 {
			t.line("Verdict: %s (%s)", t.paint("INCOMPARABLE", texttab.Yellow), terminal.Printable(r.Unfinished[0]))
			return
		}
		if r.Logprobs.Missing() && enough(r) {
			t.line("Verdict: %s (the policy bounds logprobs, and none could be computed)", t.paint("INCOMPARABLE", texttab.Yellow))
			return
		}
		t.line("Verdict: %s (%s of the tensors were compared, %s are asked for)", t.paint("INCOMPARABLE", texttab.Yellow),
			report.Percent(r.Coverage.Percent()/100), report.Percent(r.MinCoverage/100))
	}
}
