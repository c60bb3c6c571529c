package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Listed is how many names a list in the text shows.
const Listed = 10

// Num writes a figure in two digits, 0 as it is.
func Num(v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 0):
		return "inf"
	case v == 0:
		return "0"
	}
	return fmt.Sprintf("%.1e", v)
}

// RelL2 writes the relative gap of a tensor. Integers have none: ids are names,
// and 300 is no nearer to 301 than to 7; how many differ is what there is.
func RelL2(t *TensorDiff) string {
	if n := t.Gap.Values - t.Gap.Equal; IsInteger(t) && n > 0 {
		return fmt.Sprintf("%d differ", n)
	}
	return Num(t.Gap.RelL2)
}

// Angle writes 1 - cosine, "–" of integers that differ.
func Angle(t *TensorDiff) string {
	if IsInteger(t) && !t.Gap.Identical() {
		return "–"
	}
	return Num(t.Gap.OneMinus)
}

// Amount writes a difference in three digits, in the tensor's own unit.
func Amount(v float64) string {
	if math.IsInf(v, 0) {
		return "inf"
	}
	return fmt.Sprintf("%.3g", v)
}

// Percent writes a share in three digits; only all is 100 %, and only nothing 0 %.
func Percent(share float64) string {
	switch p := 100 * share; {
	case p == 0 || p == 100:
		return fmt.Sprintf("%.0f %%", p)
	case p > 99.9:
		return "over 99.9 %"
	case p < 0.1:
		return "under 0.1 %"
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// MismatchedShare is the share of values outside the tolerance.
func MismatchedShare(g *metric.Gap) float64 {
	if g.Values == 0 {
		return 0
	}
	return float64(g.Mismatched) / float64(g.Values)
}

// Describe writes the figures of a gap.
func Describe(t *TensorDiff) string {
	g := t.Gap
	if g.NonFinite > 0 {
		return fmt.Sprintf("%s where NaN or an infinity meets another value, the first%s (NaN: %d in the reference, %d in the target; infinities: %d and %d)",
			plural.Count(g.NonFinite, "place"), Place(t), g.NaN[0], g.NaN[1], g.Inf[0], g.Inf[1])
	}
	s := fmt.Sprintf("rel_l2 %s, 1-cos %s, max_abs %s%s", Num(g.RelL2), Num(g.OneMinus), Amount(g.MaxAbs), Place(t))
	if t.Rank != "" {
		s += " on " + t.Rank
	}
	return s
}

// Place writes where the largest difference is, and the two values.
func Place(t *TensorDiff) string {
	g := t.Gap
	if g.MaxAbsAt == nil {
		return ""
	}
	return fmt.Sprintf(" at %s (%s in the reference, %s in the target)", tensor.ShapeString(g.MaxAbsAt), Shown(g.Reference), Shown(g.Target))
}

// Shown writes one value of a tensor: bfloat16 and float16 in full, others in
// six digits.
func Shown(v float64) string { return fmt.Sprintf("%.6g", v) }

// IntegersDiffer says in words how many integers differ, and where most.
func IntegersDiffer(t *TensorDiff) string {
	what := "integers"
	if m := topology.Of(t.Module); t.Direction == Inputs && (m.IsLayer() || t.Slot == "0" && m.TakesPositions()) {
		what = "positions"
	}
	g := t.Gap
	return fmt.Sprintf("%s differ: %d of %d, most at %s (%s in the reference, %s in the target)", what, g.Values-g.Equal, g.Values,
		tensor.ShapeString(g.MaxAbsAt), exactInt(g.Reference), exactInt(g.Target))
}

func exactInt(v float64) string { return fmt.Sprintf("%.0f", v) }

// Explained says what explains a tensor's gap: rounding alone, or with the gap
// before it.
func Explained(t *TensorDiff, limit float64, inputGap float64) string {
	return "rounding in " + TypeNames(t) + Explain(limit, inputGap)
}

// Explain is the end of such a sentence, without a subject.
func Explain(limit, inputGap float64) string {
	if inputGap == 0 {
		return " explains " + Num(limit)
	}
	return " and the gap before it explain " + Num(limit)
}

// TypeNames names the two types where they differ.
func TypeNames(t *TensorDiff) string {
	if t.DTypes[0] == t.DTypes[1] {
		return t.DTypes[0].String()
	}
	return t.DTypes[0].String() + " against " + t.DTypes[1].String()
}

// Location writes where a divergence is, with the layer where the name does
// not tell it.
func (d *Divergence) Location() string {
	s := fmt.Sprintf("step %d, %s", d.Step, il.CallName(d.Module, d.Call))
	if what := SlotName(d.Key); what != "" {
		s += ", " + what
	}
	if topology.Of(d.Module).Kind == topology.Rope && d.Layer >= 0 {
		s += fmt.Sprintf(" (call %d of the module that all layers share: layer %d)", d.Call, d.Layer)
	}
	return s
}

// SlotName writes "input 0", "output", "output 1", "input 0 after the call".
func SlotName(k Key) string {
	name := map[string]string{Inputs: "input", Outputs: "output", PostFwdInputs: "input"}[k.Direction]
	if k.Slot != "" {
		name += " " + strings.ReplaceAll(k.Slot, "_", ".")
	}
	if k.Direction == PostFwdInputs {
		name += " after the call"
	}
	return name
}
