package render

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/topology"
)

// amount writes a value or a difference in the tensor's own unit.
func amount(v float64, digits int) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	return strconv.FormatFloat(v, 'g', digits, 64)
}

// cut shortens what a session may have made long.
func cut(s string, runes int) string {
	n := 0
	for i := range s {
		if n == runes {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// word is the word for a verdict.
func word(v report.Verdict) string {
	switch v {
	case report.Pass:
		return "ok"
	case report.Fail:
		return "FAIL"
	case report.NotCompared:
		return "not compared"
	}
	return string(v)
}

// title is the word for the verdict of the whole.
func title(r *report.Report) string {
	if r.Verdict == report.Pass {
		return "PASS"
	}
	return strings.ToUpper(string(r.Verdict))
}

// location writes where a tensor is, with the layer where the name tells
// another one or none.
func location(k report.Key, layer int) string {
	s := fmt.Sprintf("step %d, %s, %s", k.Step, il.CallName(k.Module, k.Call), report.SlotName(k))
	if layer >= 0 && topology.Locate(k.Module).Layer != layer {
		s += fmt.Sprintf(" (layer %d)", layer)
	}
	return s
}

// conclusion is the sentence that a reader came for.
func conclusion(r *report.Report) string {
	c := &r.Coverage
	if d := r.FirstDivergence; d != nil {
		s := fmt.Sprintf("First divergence: %s: %s.", location(d.Key, d.Layer), d.Why)
		if d.Hint != "" {
			s += " " + guess(d.Hint)
		}
		return s
	}
	if c.Compared == 0 {
		return "Nothing was compared."
	}
	s := fmt.Sprintf("No divergence: %s compared", plural.Count(c.Compared, "tensor"))
	switch w := worstTensor(r); {
	case w == nil || w.Gap.Identical():
		s += ", all equal to the bit."
	case r.Rule == report.RuleBounds:
		s += fmt.Sprintf(", all within the bounds; the largest gap is rel_l2 %s in %s.", report.Num(w.Gap.RelL2), location(w.Key, -1))
	default:
		s += fmt.Sprintf(", no module adds more than rounding explains; the largest gap is rel_l2 %s in %s.", report.Num(w.Gap.RelL2), location(w.Key, -1))
	}
	return s
}

// guess writes a hint, which has its evidence and is yet none.
func guess(hint string) string { return "A guess: " + strings.TrimSuffix(hint, ".") + "." }

// shortfall says that too little was compared; "" where enough was.
func shortfall(r *report.Report) string {
	switch {
	case enough(r) && r.Logprobs.Missing():
		return "The policy bounds logprobs, and none could be computed: " + r.Logprobs.Why
	case enough(r):
		return ""
	}
	return fmt.Sprintf("%s of the tensors were compared, %s are asked for", report.Percent(r.Coverage.Percent()/100), report.Percent(r.MinCoverage/100))
}

// enough reports whether as many tensors were compared as were asked for.
func enough(r *report.Report) bool {
	return r.Coverage.Compared > 0 && r.Coverage.Percent() >= r.MinCoverage
}

func worstTensor(r *report.Report) *report.TensorDiff {
	var w *report.TensorDiff
	for _, t := range r.Tensors {
		if w == nil || size(t) > size(w) {
			w = t
		}
	}
	return w
}

// size orders tensors by their gap, no tensor before all.
func size(t *report.TensorDiff) float64 {
	if t == nil {
		return -1
	}
	return sizeOf(t.Gap)
}

// sizeOf is rel_l2; a NaN that meets a number is beyond all.
func sizeOf(g *metric.Gap) float64 {
	if g.NonFinite > 0 || math.IsNaN(g.RelL2) {
		return math.Inf(1)
	}
	return g.RelL2
}

// coverage writes what became of the tensors.
func coverage(c *report.Coverage) string {
	parts := []string{fmt.Sprintf("%d of %s compared", c.Compared, plural.Count(c.Union(), "tensor"))}
	for _, f := range fates(c) {
		if f.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", f.n, f.what))
		}
	}
	s := fmt.Sprintf("%s (%s)", report.Percent(c.Percent()/100), strings.Join(parts, ", "))
	if c.UnmatchedByNature > 0 {
		s += fmt.Sprintf("; %s without a partner by nature (padding, logits of unfinished chunks)", plural.Count(c.UnmatchedByNature, "row"))
	}
	if c.NoPartner > 0 {
		s += fmt.Sprintf("; %s for which the other side's modules have no place", plural.Count(c.NoPartner, "tensor"))
	}
	return s
}

// Tensors that stand outside coverage.
const (
	excluded = "left out by the policy"
	keywords = "given by keyword and recorded on one side alone"
)

// fate is one way not to be compared.
type fate struct {
	what  string
	n     int
	names []string // with the reason where there is one
}

func fates(c *report.Coverage) []fate {
	keys := func(ks []report.Key) (out []string) {
		for _, k := range ks {
			out = append(out, k.String())
		}
		return out
	}
	problems := func(ps []report.Problem) (out []string) {
		for _, p := range ps {
			out = append(out, p.Key.String()+": "+p.Why)
		}
		return out
	}
	what := "skipped"
	if c.OtherWorkload > 0 {
		what = fmt.Sprintf("skipped (%d of another workload)", c.OtherWorkload)
	}
	return []fate{
		{"missing in the reference", len(c.MissingInReference), keys(c.MissingInReference)},
		{"missing in the target", len(c.MissingInTarget), keys(c.MissingInTarget)},
		{what, len(c.Skipped), problems(c.Skipped)},
		{"unreadable", len(c.Unreadable), problems(c.Unreadable)},
		{excluded, len(c.Excluded), problems(c.Excluded)},
		{keywords, len(c.Keywords), problems(c.Keywords)},
	}
}

// rule describes how the report was judged.
func rule(r *report.Report, b report.Bounds) string {
	switch r.Rule {
	case report.RuleNoise:
		return "noise: a module fails when rounding and the gap of its inputs do not explain that of its output"
	case report.RuleReplay:
		return "replay: a module fails when its output is not what the right module returns for the same inputs"
	case report.RuleFloor:
		return "floor: a module fails when it is farther from the exact values than rounding explains"
	case report.RulePolicy:
		return "policy: the bounds of its rules, and what rounding explains for the rest"
	}
	var parts []string
	for _, x := range tolerances(b) {
		parts = append(parts, x[0]+" "+x[1])
	}
	return strings.TrimSuffix(string(r.Rule)+": "+strings.Join(parts, ", "), ": ")
}

// tolerances are the bounds that were given, by name.
func tolerances(b report.Bounds) (out [][2]string) {
	for _, x := range []struct {
		name string
		v    *float64
	}{{"rtol", b.RTol}, {"atol", b.ATol}, {"max_abs", b.MaxAbs}, {"min_cosine", b.MinCosine}, {"max_rel_l2", b.MaxRelL2}} {
		if x.v != nil {
			out = append(out, [2]string{x.name, strconv.FormatFloat(*x.v, 'g', -1, 64)})
		}
	}
	return out
}
