package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
)

const (
	// MarkdownLimit is the most bytes that Markdown writes: GitHub refuses a
	// comment of more than 65,536 characters, and callers add words of their own.
	MarkdownLimit = 60_000

	markdownFailing = 10     // calls that fail in the first table
	markdownWorst   = 5      // others, the worst first
	markdownNames   = 20     // in a list
	markdownLists   = 40_000 // bytes after which lists take no more
	markdownName    = 240    // bytes of a name as it is written
	markdownWhy     = 1200   // bytes of a sentence
)

// Markdown writes the report for a comment of a pull request or GitHub's step
// summary, in at most MarkdownLimit bytes: the verdict, the first divergence,
// the failing and the worst module calls, the coverage, and folded the table
// of all calls, as many rows as fit, with a count of the rest.
func Markdown(w io.Writer, r *report.Report, o Options) error {
	var b strings.Builder
	mark := map[report.Verdict]string{report.Pass: "✅", report.Fail: "❌"}[r.Verdict]
	fmt.Fprintf(&b, "## %s ildiff: %s\n\n", cmp.Or(mark, "⚠️"), title(r))
	fmt.Fprintf(&b, "%s\n\n", prose(conclusion(r), markdownWhy))
	if s := shortfall(r); s != "" {
		fmt.Fprintf(&b, "**%s**\n\n", prose(s, markdownWhy))
	}
	markdownFindings(&b, findings(r, o))
	markdownSummary(&b, r)
	markdownLogprobs(&b, r.Logprobs)
	fmt.Fprintf(&b, "**Coverage:** %s. **Rule:** %s.\n\n", prose(coverage(&r.Coverage), markdownWhy), prose(rule(r, o.Bounds), markdownWhy))
	fmt.Fprintf(&b, "| | session | steps | types |\n|---|---|---|---|\n")
	for _, s := range []struct {
		name string
		report.Side
	}{{"reference", r.Reference}, {"target", r.Target}} {
		fmt.Fprintf(&b, "| %s | %s | %d | %s |\n", s.name, name(s.Dir), len(s.Steps), prose(strings.Join(s.DTypes, ", "), markdownName))
	}
	b.WriteByte('\n')
	markdownLines(&b, "Made otherwise", report.SetupLines(r.Setup))
	markdownLines(&b, "Routing", report.RoutingLines(r))
	for _, f := range fates(&r.Coverage) {
		markdownList(&b, f)
	}
	markdownAll(&b, r)
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownFindings(b *strings.Builder, fs []Finding) {
	for i, f := range fs {
		if i == markdownNames || b.Len() > markdownLists {
			fmt.Fprintf(b, "* … and %d more\n", len(fs)-i)
			break
		}
		fmt.Fprintf(b, "* **%s:** %s\n", prose(f.Severity, markdownName), prose(f.Message, markdownWhy))
	}
	if len(fs) > 0 {
		b.WriteByte('\n')
	}
}

// markdownLines lists lines under a name.
func markdownLines(b *strings.Builder, name string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "**%s:**\n\n", name)
	for i, line := range lines {
		if i == markdownNames || b.Len() > markdownLists {
			fmt.Fprintf(b, "* … and %d more\n", len(lines)-i)
			break
		}
		fmt.Fprintf(b, "* %s\n", prose(line, markdownWhy))
	}
	b.WriteByte('\n')
}

// markdownSummary is the table of the calls that fail, in execution order, and
// of the worst others.
func markdownSummary(b *strings.Builder, r *report.Report) {
	var failing, others []*report.CallDiff
	for _, m := range r.Modules {
		switch {
		case m.Verdict == report.Fail:
			failing = append(failing, m)
		case max(size(m.Outputs), size(m.Inputs)) > 0:
			others = append(others, m)
		}
	}
	slices.SortStableFunc(others, func(x, y *report.CallDiff) int {
		return cmp.Compare(max(size(y.Outputs), size(y.Inputs)), max(size(x.Outputs), size(x.Inputs)))
	})
	if len(failing)+len(others) == 0 {
		return
	}
	x := measureOf(r)
	b.WriteString(markdownHead(&x))
	for _, m := range failing[:min(markdownFailing, len(failing))] {
		b.WriteString(markdownRow(m, &x))
	}
	for _, m := range others[:min(markdownWorst, len(others))] {
		b.WriteString(markdownRow(m, &x))
	}
	b.WriteByte('\n')
	if n := len(failing) - markdownFailing; n > 0 {
		fmt.Fprintf(b, "… and %d more failing.\n\n", n)
	}
}

// markdownHead has a column more where the report is judged by another figure
// than rel_l2.
func markdownHead(x *measure) string {
	title, rule := "", ""
	if x.Name != gapMeasure.Name {
		title, rule = " "+x.Name+" |", "---:|"
	}
	return "| step | module | rel_l2 in | rel_l2 out |" + title + " max_abs | 1-cos | verdict |\n|---:|---|---:|---:|" + rule + "---:|---:|---|\n"
}

func markdownRow(m *report.CallDiff, x *measure) string {
	var in, out, special, maxAbs, cosine string
	if t := m.Inputs; t != nil {
		in = report.RelL2(t)
	}
	if t := m.Outputs; t != nil {
		out, maxAbs, cosine = report.RelL2(t), amount(t.Gap.MaxAbs, 3), report.Angle(t)
		if v := x.out(t); v >= 0 {
			special = x.write(v)
		}
	}
	cells := []string{in, out, special, maxAbs, cosine}
	if x.Name == gapMeasure.Name {
		cells = slices.Delete(cells, 2, 3)
	}
	v := word(m.Verdict)
	if m.Verdict == report.Fail {
		v = "**FAIL**"
	}
	if m.Compared < m.Tensors {
		v += fmt.Sprintf(" (%d of %d)", m.Compared, m.Tensors)
	}
	return fmt.Sprintf("| %d | %s | %s | %s |\n", m.Step, name(m.Name()), strings.Join(cells, " | "), v)
}

func markdownList(b *strings.Builder, f fate) {
	if f.n == 0 {
		return
	}
	fmt.Fprintf(b, "<details><summary>%s %s</summary>\n\n", plural.Count(f.n, "tensor"), prose(f.what, markdownName))
	for i, s := range f.names {
		if i == markdownNames || b.Len() > markdownLists {
			fmt.Fprintf(b, "* … and %d more\n", f.n-i)
			break
		}
		fmt.Fprintf(b, "* %s\n", prose(s, markdownWhy))
	}
	b.WriteString("\n</details>\n\n")
}

// markdownAll is the folded table, cut where the limit comes.
func markdownAll(b *strings.Builder, r *report.Report) {
	if len(r.Modules) == 0 {
		return
	}
	const end, rest = "\n</details>\n", "\n… and %d more, which the JSON report lists.\n"
	x := measureOf(r)
	fmt.Fprintf(b, "<details><summary>All %s</summary>\n\n%s", plural.Count(len(r.Modules), "module call"), markdownHead(&x))
	room := MarkdownLimit - len(end) - len(rest) - 20 // digits of the count
	for i, m := range r.Modules {
		row := markdownRow(m, &x)
		if b.Len()+len(row) > room {
			fmt.Fprintf(b, rest, len(r.Modules)-i)
			break
		}
		b.WriteString(row)
	}
	b.WriteString(end)
}

// name writes a module or a path as code. Inside a code span nothing can be
// escaped, so what holds more than harmless characters becomes prose.
func name(s string) string {
	const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/:-"
	if s != "" && len(s) < markdownName && strings.Trim(s, harmless) == "" {
		return "`" + s + "`"
	}
	return prose(s, markdownName)
}

// prose writes text in which nothing is markup, in at most some bytes: what
// GitHub would read as markup is a numeric character reference, but for
// underscores inside a word, which are none and of which names are full.
func prose(s string, limit int) string {
	var b strings.Builder
	last := ' '
	for i, c := range s {
		text := string(c)
		switch {
		case c < ' ' || c == 0x7f:
			text = " "
		case c == '_' && isWord(last) && i+1 < len(s) && isWord(rune(s[i+1])):
		case strings.ContainsRune("|`<>&*_[]\\~#@$!", c):
			text = fmt.Sprintf("&#%d;", c)
		}
		if b.Len()+len(text) > limit-len("…") {
			return b.String() + "…"
		}
		b.WriteString(text)
		last = c
	}
	return b.String()
}

func isWord(c rune) bool {
	return c == '.' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
