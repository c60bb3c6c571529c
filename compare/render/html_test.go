package render

import (
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/tensor"
)

var (
	idPattern   = regexp.MustCompile(` id="([^"]*)"`)
	hrefPattern = regexp.MustCompile(` href="([^"]*)"`)
	urlPattern  = regexp.MustCompile(`(?i)https?:|<(script|link|img|iframe|object|embed|form|base|style )|\bon\w+=|url\(|@import|srcset|\bsrc=`)
)

// checkHTML: one file without scripts and requests, whose links all lead
// somewhere in it.
func checkHTML(t *testing.T, r *report.Report, s string) {
	require.True(t, utf8.ValidString(s))
	require.Contains(t, s, `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">`)
	require.Empty(t, urlPattern.FindAllString(s, -1))
	require.NotContains(t, s, "ZgotmplZ", "what html/template found unsafe")
	ids := map[string]bool{}
	for _, m := range idPattern.FindAllStringSubmatch(s, -1) {
		require.False(t, ids[m[1]], "twice: %s", m[1])
		ids[m[1]] = true
	}
	for _, m := range hrefPattern.FindAllStringSubmatch(s, -1) {
		require.True(t, strings.HasPrefix(m[1], "#") && ids[m[1][1:]], m[1])
	}
	text := html.UnescapeString(s)
	require.Contains(t, text, "<h1>"+title(r)+"</h1><p>"+conclusion(r)+"</p>")
	require.Contains(t, text, coverage(&r.Coverage))
	for i, m := range r.Modules {
		require.Contains(t, s, fmt.Sprintf(`id="c%d"`, i+1))
		require.Contains(t, s, fmt.Sprintf(`href="#c%d"`, i+1), "%s is on no heat map", m.Name())
	}
	wellFormed(t, s)
}

// wellFormed checks what HTML shares with XML once the tags that HTML may leave
// out are taken away.
func wellFormed(t *testing.T, s string) {
	s = regexp.MustCompile(`</?(meta|wbr|td|th|tr|li|tbody|thead)( [^>]*)?>|<!doctype html>`).ReplaceAllString(s, "")
	s = regexp.MustCompile(`<details class="(\w+)" open>|<details open>`).ReplaceAllString(s, "<details>")
	d := xml.NewDecoder(strings.NewReader(s))
	d.Entity = xml.HTMLEntity
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else {
			require.NoError(t, err)
		}
	}
}

// Names and reasons that are markup stay text.
func TestHTMLEscapes(t *testing.T) {
	s := written(t, HTML, evilReport(), Options{Lint: []Finding{{"error", evil}}, Reread: func(*report.TensorDiff, func(_, _ *tensor.Tensor) error) error {
		return fmt.Errorf("gone: %s", evil)
	}})
	require.Empty(t, urlPattern.FindAllString(strings.ReplaceAll(s, "javascript:f", ""), -1))
	require.NotContains(t, s, "<script")
	require.Contains(t, s, "No histogram: gone: a&lt;script&gt;")
	wellFormed(t, s)
}

// What a reader finds in the page of a fault: where it is in the map and the
// plot, and what it is made of.
func TestHTMLFault(t *testing.T) {
	r, o := compared(t, "llama3-gqa-bf16", "llama3-gqa-bf16-fault-row_scale", compare.Options{})
	o.Lint = []Finding{{"error", "step 9 is cut short"}}
	s := written(t, HTML, r, o)
	require.Equal(t, 3, strings.Count(s, `<details class="look"`), "a look at each failing tensor")
	require.Equal(t, 3, strings.Count(s, "✗</a>"), "a mark at each on the maps")
	require.Equal(t, 3, strings.Count(s, `r="5"><title>`), "and on the plots")
	require.Contains(t, s, `<td class="h6 hf"><a href="#c8">2.0e-02 ✗</a>`)
	require.Contains(t, s, "704 of 704 values differ")
	require.Contains(t, s, "<tr><td>[5,20]<td>-3.60938<td>-3.6875<td>0.07812")
	require.Contains(t, s, `<span class="h6">row 8: 2.1e-02</span>`)
	require.Contains(t, s, "step 9 is cut short")
	require.Equal(t, 3, strings.Count(s, `<details class="forward"`), "the last step holds logits of the one before alone")
	require.Equal(t, 1, strings.Count(s, `<details class="forward" open`))
	for _, left := range []string{"worst row", "ulp p99 / max", "scale−1"} {
		require.Contains(t, s, left)
	}
	require.NotContains(t, s, ">local<", "no column without figures")
	require.Equal(t, 3, strings.Count(s, `in nats">KL`), "in the tables that have logits alone")
	require.NotContains(t, written(t, HTML, r, Options{}), "How large the differences are", "nothing to read again")
}

// Sessions that are gone by then take the histograms with them, no more.
func TestHTMLSessionsGone(t *testing.T) {
	r, o := compared(t, "llama3-gqa-bf16", "llama3-gqa-bf16-fault-row_scale", compare.Options{})
	o.Reread = func(x *report.TensorDiff, _ func(_, _ *tensor.Tensor) error) error {
		_, err := os.Open("no/such/" + x.Slot)
		return err
	}
	s := written(t, HTML, r, o)
	require.Contains(t, s, "No histogram: open no/such/0: no such file or directory")
	checkHTML(t, r, s)
}

// A report judged by replay or by a floor is drawn by that figure.
func TestHTMLMeasures(t *testing.T) {
	r := wideReport(2, 3, 1)
	r.Rule = report.RuleReplay
	last := r.Modules[len(r.Modules)-1]
	local := *last.Outputs.Gap
	local.RelL2 = 0.25
	last.Outputs.ReplayGap = &local
	last.Outputs.Token = &report.Token{Request: 2, Position: 7, Text: "<s>"}
	r.Fallback = []string{"step 0, lm_head"}
	s := written(t, HTML, r, Options{})
	require.Contains(t, s, ">2.5e-01</a>")
	require.Contains(t, s, ">–</a>", "the others have no local gap")
	require.Contains(t, s, ">local<")
	require.Contains(t, s, "1000: 4.0e-03 (request 2, position 7, &#34;&lt;s&gt;&#34;)")
	require.Contains(t, s, "the rule has no evidence for 1 call, judged between the two sessions instead; the first is step 0, lm_head")
	require.Contains(t, written(t, Markdown, r, Options{}), "| rel_l2 out | local rel_l2 | max_abs |")

	r.Rule = report.RuleFloor
	last.Outputs.NoiseRatio = &rounding.NoiseRatio{Target: &local, Emulation: &local, Ratio: 1.7}
	s = written(t, HTML, r, Options{})
	require.Contains(t, s, `<td class="h5"><a href="#c6">1.7</a>`)
	require.Contains(t, s, "&lt;1.5")
}

// The page of a large model stays within what a browser and a mail take, and
// beyond that tensors of passing calls go, not the calls.
func TestHTMLSize(t *testing.T) {
	r := wideReport(40, 13, 8)
	started := time.Now()
	s := written(t, HTML, r, Options{})
	t.Logf("%d bytes in %v", len(s), time.Since(started))
	require.Less(t, len(s), 5<<20)
	checkHTML(t, r, s)

	r = wideReport(40, 13, 13)
	r.Modules[7].Verdict, r.Modules[7].Outputs.Verdict = report.Fail, report.Fail
	s = written(t, HTML, r, Options{})
	require.Less(t, len(s), 5<<20)
	require.Contains(t, s, "There are too many tensors for one page")
	require.Equal(t, 3, strings.Count(s, "<td>1000,5000"), "the tensors of the failing call")
	checkHTML(t, r, s)
}
