package render

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
)

// The whole of a short report, as a reader sees it.
func TestMarkdown(t *testing.T) {
	r, o := compared(t, "llama3-gqa-bf16", "llama3-gqa-bf16-fault-row_scale", compare.Options{Modules: []string{`layers\.0\.self_attn`}})
	o.Lint = []Finding{{"warning", "step 1 is incomplete"}}
	r.FirstDivergence.Hint = "the rows are 2 % too large"
	want, err := os.ReadFile("testdata/fault.md")
	require.NoError(t, err)
	require.Equal(t, string(want), written(t, Markdown, r, o))
}

func checkMarkdown(t *testing.T, r *report.Report, s string) {
	head := map[int]string{0: "## ✅ ildiff: PASS\n", 1: "## ❌ ildiff: FAIL\n", 3: "## ⚠️ ildiff: INCOMPARABLE\n"}[r.ExitCode()]
	require.True(t, strings.HasPrefix(s, head))
	require.Contains(t, s, "**Coverage:** "+report.Percent(r.Coverage.Percent()/100)+" (")
	require.Equal(t, strings.Count(s, "<details>"), strings.Count(s, "</details>"))
}

// Rows go, and are counted, where a table does not fit.
func TestMarkdownLimit(t *testing.T) {
	r := wideReport(40, 13, 8)
	s := written(t, Markdown, r, Options{})
	require.LessOrEqual(t, len(s), MarkdownLimit)
	require.Greater(t, len(s), MarkdownLimit-300)
	all := s[strings.Index(s, "All 4160 module calls"):]
	rows := strings.Count(all, "\n| ") - 1
	require.Contains(t, all, fmt.Sprintf("… and %d more, which the JSON report lists.", 4160-rows))
	require.True(t, strings.HasSuffix(s, "</details>\n"))

	// Lists of long lines stop as well.
	r = evilReport()
	long := strings.Repeat("|", 5000)
	for range 30 {
		r.Warnings = append(r.Warnings, long)
		r.Coverage.Skipped = append(r.Coverage.Skipped, report.Problem{Why: long})
		r.Coverage.Unreadable = append(r.Coverage.Unreadable, report.Problem{Why: long})
		r.Coverage.MissingInTarget = append(r.Coverage.MissingInTarget, report.Key{Module: long})
	}
	s = written(t, Markdown, r, Options{})
	require.LessOrEqual(t, len(s), MarkdownLimit)
	require.Equal(t, 4, strings.Count(s, "\n* … and "), "what is left out is counted")
}

// Whatever a session holds: the limit holds, no row breaks and no markup comes
// of it.
func TestMarkdownAnyText(t *testing.T) {
	any := rapid.Custom(func(t *rapid.T) string {
		return rapid.String().Draw(t, "s") + strings.Repeat(rapid.SampledFrom([]string{"", "<b>", "|", "`", "\n", "é", "\\", "_"}).Draw(t, "c"), rapid.IntRange(0, 3000).Draw(t, "n"))
	})
	rapid.Check(t, func(t *rapid.T) {
		r := evilReport()
		s := any.Draw(t, "text")
		r.Reference.Dir, r.FirstDivergence.Why, r.Modules[0].Module, r.Modules[0].Why = s, s, s, s
		r.FirstDivergence.Module = s
		for range rapid.IntRange(0, 300).Draw(t, "modules") {
			r.Modules = append(r.Modules, r.Modules[0])
			r.Warnings = append(r.Warnings, s)
			r.Coverage.MissingInTarget = append(r.Coverage.MissingInTarget, report.Key{Module: s})
		}
		var b strings.Builder
		if err := Markdown(&b, r, Options{}); err != nil {
			t.Fatal(err)
		}
		out := b.String()
		if len(out) > MarkdownLimit || !utf8.ValidString(out) {
			t.Fatalf("%d bytes, valid: %v", len(out), utf8.ValidString(out))
		}
		for _, tag := range []string{"<details><summary>", "</summary>", "</details>"} {
			out = strings.ReplaceAll(out, tag, "")
		}
		if strings.ContainsAny(out, "<>\x00\x1b") {
			t.Fatalf("markup in %q", out)
		}
		for _, line := range strings.Split(out, "\n") {
			if n := strings.Count(line, "|"); strings.HasPrefix(line, "|") && n != 8 && n != 5 {
				t.Fatalf("%d bars in %q", n, line)
			}
		}
	})
}

func TestName(t *testing.T) {
	require.Equal(t, "`model.layers.0.self_attn.qkv_proj`", name("model.layers.0.self_attn.qkv_proj"))
	require.Equal(t, `C:&#92;runs&#92;a b`, name(`C:\runs\a b`))
	require.Equal(t, "&#95;&#95;init&#95;&#95; a_b 1&#95;", prose("__init__ a_b 1_", 999))
	require.Equal(t, "a&#96;&#124;&#60;b", name("a`|<b"))
	require.Equal(t, "ab…", prose("abcdef", 5))
}
