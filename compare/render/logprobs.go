package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/internal/terminal"
)

// logprobRequests is how many requests a text shows, the worst first.
const logprobRequests = 5

// logprobs is a line for all tokens, the worst of them, and a line a request where
// there are several.
func (t *textWriter) logprobs() {
	for _, s := range logprobLines(t.report.Logprobs) {
		t.line("%s", terminal.Printable(s))
	}
}

// logprobLines say what the logits tell of the tokens that were run; nothing where
// they tell nothing and nobody has asked.
func logprobLines(l *report.Logprobs) []string {
	switch {
	case l == nil || len(l.Tokens) == 0 && l.Bounds == nil:
		return nil
	case len(l.Tokens) == 0:
		return []string{fmt.Sprintf("Logprobs: none, though the policy bounds them: %s.", l.Why)}
	}
	f := &l.LogprobFigures
	head := fmt.Sprintf("Logprobs of %s", plural.Count(f.Tokens, "run token"))
	if f.Worst == nil && f.MaxKL == [2]float64{} {
		return append([]string{head + ": equal." + leftOut(l)}, brokenLines(l)...)
	}
	out := []string{head + ": " + logprobFigures(f, l.Clip) + "." + leftOut(l)}
	if w := f.Worst; w != nil {
		s := fmt.Sprintf("  Largest |log ratio|: %s at %s (log p %s in the reference, %s in the target)", report.Nats(f.MaxAbs), w, report.Nats(w.Log[0]), report.Nats(w.Log[1]))
		if w.Parts != nil {
			s += "; " + w.Parts.String()
		}
		out = append(out, s+".")
	}
	if len(l.Requests) > 1 {
		for i, q := range worstRequests(l) {
			if i == logprobRequests {
				out = append(out, fmt.Sprintf("  … and %s more (the JSON report lists all)", plural.Count(len(l.Requests)-i, "request")))
				break
			}
			out = append(out, fmt.Sprintf("  request %d, %s: %s", q.Request, plural.Count(q.Tokens, "token"), logprobFigures(&q.LogprobFigures, l.Clip)))
		}
	}
	return append(out, brokenLines(l)...)
}

func brokenLines(l *report.Logprobs) []string {
	if len(l.Broken) == 0 {
		return nil
	}
	return []string{"  Beyond the policy: " + strings.Join(l.Broken, "; ") + "."}
}

// logprobFigures writes the figures in one line.
func logprobFigures(f *report.LogprobFigures, clip float64) string {
	s := fmt.Sprintf("|log ratio| mean %s, max %s; KL %s; ESS %.4g; %s outside [%.3g, %.3g]",
		report.Nats(f.MeanAbs), report.Nats(f.MaxAbs), report.Nats(f.KL[1]), f.ESS, report.Percent(f.Clipped), 1-clip, 1+clip)
	if f.Infinite > 0 {
		s += fmt.Sprintf("; %d of probability 0 on one side", f.Infinite)
	}
	return s
}

// leftOut counts the rows of logits that are of no use.
func leftOut(l *report.Logprobs) string {
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{l.NoNext, "whose next token was not run"}, {l.OtherNext, "behind which the sides ran other tokens"}, {l.Undefined, "without a distribution or of probability 0 on both sides"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	if parts == nil {
		return ""
	}
	return " Rows left out: " + strings.Join(parts, ", ") + "."
}

// worstRequests orders requests by their largest |log ratio|.
func worstRequests(l *report.Logprobs) []report.RequestLogprobs {
	return slices.SortedStableFunc(slices.Values(l.Requests), func(a, b report.RequestLogprobs) int { return cmp.Compare(b.MaxAbs, a.MaxAbs) })
}

// logprobRow is a line of a table: the figures of all tokens or of a request.
type logprobRow struct {
	Name  string
	Cells []string // as logprobColumns
	Parts string   // of the worst token
}

// logprobColumns are the figures with what they are.
var logprobColumns = [][2]string{
	{"tokens", "tokens that both sides ran and whose logits both recorded"},
	{"mean |log r|", "mean |log p(target) - log p(reference)|"},
	{"max |log r|", "the largest"},
	{"mean log r", "k1 of KL(target ‖ reference) where the target has sampled"},
	{"k3", "mean of w - 1 - log w, w = p(reference)/p(target)"},
	{"KL(t‖r)", "mean KL(target ‖ reference) of the whole rows"},
	{"KL(r‖t)", "mean KL(reference ‖ target) of the whole rows"},
	{"mean exp|log r|", "1 for equal sides"},
	{"ESS", "(Σw)² / (n Σw²)"},
	{"clipped", "share of w outside the clip range"},
	{"max |Δp|", "the largest |p(target) - p(reference)|"},
	{"worst token", "that with the largest |log r|"},
}

// logprobTable has a row for all tokens and, where there are several, one a request,
// the worst first, limit at most; left counts the others.
func logprobTable(l *report.Logprobs, limit int) (rows []logprobRow, left int) {
	if l == nil || len(l.Tokens) == 0 {
		return nil, 0
	}
	rows = append(rows, newLogprobRow("all", &l.LogprobFigures))
	if len(l.Requests) < 2 {
		return rows, 0
	}
	for i, q := range worstRequests(l) {
		if i == limit {
			return rows, len(l.Requests) - i
		}
		rows = append(rows, newLogprobRow(fmt.Sprintf("request %d", q.Request), &q.LogprobFigures))
	}
	return rows, 0
}

func newLogprobRow(name string, f *report.LogprobFigures) logprobRow {
	n := report.Nats
	r := logprobRow{Name: name, Cells: []string{
		fmt.Sprint(f.Tokens), n(f.MeanAbs), n(f.MaxAbs), n(f.Mean), n(f.K3), n(f.KL[1]), n(f.KL[0]), n(f.MeanExpAbs), fmt.Sprintf("%.4g", f.ESS), report.Percent(f.Clipped), n(f.MaxProbDiff), "",
	}}
	if f.Worst != nil {
		r.Cells[len(r.Cells)-1] = f.Worst.String()
		if f.Worst.Parts != nil {
			r.Parts = f.Worst.Parts.String()
		}
	}
	return r
}

// markdownColumns are the figures of logprobColumns that a comment shows.
var markdownColumns = []int{0, 1, 2, 5, 8, 9}

// markdownLogprobs is the line for all tokens and the worst of them, and a table
// where there are several requests.
func markdownLogprobs(b *strings.Builder, l *report.Logprobs) {
	lines := logprobLines(l)
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "**%s**\n\n", prose(lines[0], markdownWhy))
	if l.Worst != nil {
		fmt.Fprintf(b, "%s\n\n", prose(strings.TrimSpace(lines[1]), markdownWhy))
	}
	if rows, left := logprobTable(l, logprobRequests); len(rows) > 1 && l.Worst != nil {
		row := func(name string, cell func(int) string) {
			b.WriteString("| " + name)
			for _, i := range markdownColumns {
				b.WriteString(" | " + prose(cell(i), markdownName))
			}
			b.WriteString(" |\n")
		}
		row("", func(i int) string { return logprobColumns[i][0] })
		b.WriteString("|---|" + strings.Repeat("---:|", len(markdownColumns)) + "\n")
		for _, r := range rows {
			row(r.Name, func(i int) string { return r.Cells[i] })
		}
		if left > 0 {
			fmt.Fprintf(b, "\n… and %s more.\n", plural.Count(left, "request"))
		}
		b.WriteByte('\n')
	}
	for _, s := range l.Broken {
		fmt.Fprintf(b, "* **beyond the policy:** %s\n", prose(s, markdownWhy))
	}
	if len(l.Broken) > 0 {
		b.WriteByte('\n')
	}
}

// junitLogprobs is a case of its own where logprobs were computed or asked for.
func junitLogprobs(r *report.Report) []*junitCase {
	lines := logprobLines(r.Logprobs)
	if len(lines) == 0 {
		return nil
	}
	c := &junitCase{Class: "ildiff", Name: "logprobs", Out: strings.Join(lines, "\n")}
	switch why := r.Logprobs.WhyBroken(); {
	case why != "":
		c.Failure = &junitProblem{why, "logprobs", c.Out}
	case r.Logprobs.Missing():
		c.Failure = &junitProblem{lines[0], "not compared", c.Out}
	}
	return []*junitCase{c}
}

// logprobView is the block of the page.
type logprobView struct {
	Lines   []string
	Columns [][2]string
	Rows    []logprobRow
	Left    int
	Broken  []string
	Tokens  [][]string // the worst, as a list
	More    int
}

const (
	pageRequests = 200
	pageTokens   = 100
)

func newLogprobView(l *report.Logprobs) *logprobView {
	lines := logprobLines(l)
	if len(lines) == 0 {
		return nil
	}
	v := &logprobView{Lines: lines[:1], Columns: logprobColumns, Broken: l.Broken}
	if l.Worst == nil {
		return v
	}
	v.Rows, v.Left = logprobTable(l, pageRequests)
	var order []*report.TokenLogprob
	for i := range l.Tokens {
		order = append(order, &l.Tokens[i])
	}
	size := func(t *report.TokenLogprob) float64 { return max(t.LogRatio(), -t.LogRatio()) }
	slices.SortStableFunc(order, func(a, b *report.TokenLogprob) int { return cmp.Compare(size(b), size(a)) })
	for i, t := range order {
		if i == pageTokens {
			v.More = len(order) - i
			break
		}
		v.Tokens = append(v.Tokens, []string{t.String(), amount(t.Log[0], 5), amount(t.Log[1], 5), amount(t.LogRatio(), 3), amount(t.KL[1], 3)})
	}
	return v
}
