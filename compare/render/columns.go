package render

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/tensor"
)

// column is a figure of a tensor. Those that no tensor of a report has are left
// out.
type column struct {
	Title, Help string
	of          func(*report.TensorDiff) string
}

var columns = []column{
	{"type", "of the reference, and of the target where it is another", func(t *report.TensorDiff) string {
		if t.DTypes[0] == t.DTypes[1] {
			return t.DTypes[0].String()
		}
		return t.DTypes[0].String() + " / " + t.DTypes[1].String()
	}},
	{"shape", "", func(t *report.TensorDiff) string { return tensor.ShapeString(t.Shape) }},
	{"rank", "the device whose gap this is, the worst of all", func(t *report.TensorDiff) string { return t.Rank }},
	{"rel_l2", "‖target − reference‖ / ‖reference‖", func(t *report.TensorDiff) string { return report.RelL2(t) }},
	{"local", "rel_l2 against what the right module returns for the same inputs", func(t *report.TensorDiff) string {
		if t.ReplayGap == nil {
			return ""
		}
		return report.Num(t.ReplayGap.RelL2)
	}},
	{"× noise", "how many times what rounding explains that is; of a failure in its worst place", func(t *report.TensorDiff) string {
		if t.Noise == nil {
			return ""
		}
		return amount(report.TimesNoise(t), 3)
	}},
	{"ratio", "rel_l2 against the exact values, over that of correct rounding", func(t *report.TensorDiff) string {
		if t.NoiseRatio == nil {
			return ""
		}
		return amount(t.NoiseRatio.Ratio, 3)
	}},
	{"row ratio", "the same of the worst row", func(t *report.TensorDiff) string {
		if t.NoiseRatio == nil || math.IsNaN(t.NoiseRatio.Token) {
			return ""
		}
		return amount(t.NoiseRatio.Token, 3)
	}},
	{"same token", "rows of logits with the same largest value; near ties among the others", func(t *report.TensorDiff) string {
		l := t.Logits
		if l == nil {
			return ""
		}
		s := fmt.Sprintf("%d of %d", l.Agree, l.Rows)
		if l.NearTies > 0 {
			s += fmt.Sprintf(", %d near ties", l.NearTies)
		}
		return s
	}},
	{"KL", "mean divergence of the rows of logits, in nats", func(t *report.TensorDiff) string {
		if t.Logits == nil {
			return ""
		}
		return report.Num(t.Logits.KL)
	}},
	{"max_abs", "the largest |target − reference|", func(t *report.TensorDiff) string { return amount(t.Gap.MaxAbs, 3) }},
	{"at", "where that is", func(t *report.TensorDiff) string {
		if t.Gap.MaxAbsAt == nil {
			return ""
		}
		return strings.Trim(tensor.ShapeString(t.Gap.MaxAbsAt), "[]")
	}},
	{"reference", "the value there", func(t *report.TensorDiff) string {
		if t.Gap.MaxAbsAt == nil {
			return ""
		}
		return amount(t.Gap.Reference, 4)
	}},
	{"target", "the value there", func(t *report.TensorDiff) string {
		if t.Gap.MaxAbsAt == nil {
			return ""
		}
		return amount(t.Gap.Target, 4)
	}},
	{"1−cos", "1 − cosine similarity", func(t *report.TensorDiff) string { return report.Angle(t) }},
	{"norm ratio", "‖target‖ / ‖reference‖", func(t *report.TensorDiff) string { return amount(t.Gap.NormRatio, 6) }},
	{"scale−1", "of the factor that brings the reference nearest to the target", func(t *report.TensorDiff) string {
		if t.Gap.Scale == nil {
			return ""
		}
		return fmt.Sprintf("%.1e", t.Gap.Scale.MinusOne)
	}},
	{"worst row", "the row with the largest rel_l2, and that", func(t *report.TensorDiff) string {
		if w := t.Gap.WorstToken; w != nil && w.RelL2 > 0 {
			return fmt.Sprintf("%d: %s", w.Index, report.Num(w.RelL2)) + tokenName(t.Token)
		}
		return ""
	}},
	{"worst column", "the column with the largest rel_l2, and that", func(t *report.TensorDiff) string {
		if w := t.Gap.WorstChannel; w != nil && w.RelL2 > 0 {
			return fmt.Sprintf("%d: %s", w.Index, report.Num(w.RelL2))
		}
		return ""
	}},
	{"ulp p99 / max", "|target − reference| in units of the last place", func(t *report.TensorDiff) string {
		if u := t.Gap.ULP; u != nil && u.Max > 0 {
			return fmt.Sprintf("%.3g / %.3g", u.P99, u.Max)
		}
		return ""
	}},
	{"mismatched", "values outside the tolerance", func(t *report.TensorDiff) string { return report.Percent(report.MismatchedShare(t.Gap)) }},
	{"NaN", "in the reference / in the target", func(t *report.TensorDiff) string { return sides(t.Gap.NaN) }},
	{"Inf", "in the reference / in the target", func(t *report.TensorDiff) string { return sides(t.Gap.Inf) }},
}

// tokenName says which token a row is, where the session tells.
func tokenName(t *report.Token) string {
	if t == nil {
		return ""
	}
	s := fmt.Sprintf(" (request %d, position %d", t.Request, t.Position)
	if t.Text != "" {
		s += fmt.Sprintf(", %q", cut(t.Text, 24))
	}
	return s + ")"
}

func sides(n [2]int) string {
	if n == [2]int{} {
		return ""
	}
	return fmt.Sprintf("%d / %d", n[0], n[1])
}

// columnsOf are the columns in which some tensor has a figure.
func columnsOf(r *report.Report) []column {
	return slices.DeleteFunc(slices.Clone(columns), func(c column) bool {
		return !slices.ContainsFunc(r.Tensors, func(t *report.TensorDiff) bool { return c.of(t) != "" })
	})
}

// trim leaves the table of a group the columns in which one of its tensors has
// a figure: most layers have no logits.
func (g *groupView) trim(all []column) {
	used := make([]bool, len(all))
	for i, c := range all {
		used[i] = c.Title == "rel_l2"
	}
	for _, c := range g.Calls {
		for _, r := range c.Rows {
			for i, cell := range r.Cells {
				used[i] = used[i] || cell != ""
			}
		}
	}
	for i, c := range all {
		if used[i] {
			g.Columns = append(g.Columns, c)
		}
	}
	for _, c := range g.Calls {
		for n, r := range c.Rows {
			var cells []string
			for i, cell := range r.Cells {
				if used[i] {
					cells = append(cells, cell)
				}
			}
			c.Rows[n].Cells = cells
		}
	}
}

// Width is how many columns the table has.
func (g *groupView) Width() int { return len(g.Columns) + 2 }

// Rest is how many columns the words "equal to the bit" span.
func (g *groupView) Rest(v rowView) int { return len(g.Columns) - len(v.Cells) }
