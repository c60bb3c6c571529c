package compare

import (
	"fmt"
	"math"
	"strings"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// num writes a figure in two digits, 0 as it is.
func num(v float64) string {
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

// amount writes a difference in three digits, in the tensor's own unit.
func amount(v float64) string {
	if math.IsInf(v, 0) {
		return "inf"
	}
	return fmt.Sprintf("%.3g", v)
}

// percent writes a share in three digits; only all is 100 %, and only nothing 0 %.
func percent(share float64) string {
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

// mismatchedShare is the share of values outside the tolerance.
func mismatchedShare(g *metric.Gap) float64 {
	if g.Values == 0 {
		return 0
	}
	return float64(g.Mismatched) / float64(g.Values)
}

// describe writes the figures of a gap.
func describe(t *Tensor) string {
	g := t.Gap
	if g.NonFinite > 0 {
		return fmt.Sprintf("%s where NaN or an infinity meets another value, the first%s (NaN: %d in the reference, %d in the target; infinities: %d and %d)",
			count(g.NonFinite, "place"), place(t), g.NaN[0], g.NaN[1], g.Inf[0], g.Inf[1])
	}
	s := fmt.Sprintf("rel_l2 %s, 1-cos %s, max_abs %s%s", num(g.RelL2), num(g.OneMinus), amount(g.MaxAbs), place(t))
	if t.Rank != "" {
		s += " on " + t.Rank
	}
	return s
}

// place writes where the largest difference is, and the two values.
func place(t *Tensor) string {
	g := t.Gap
	if g.MaxAbsAt == nil {
		return ""
	}
	return fmt.Sprintf(" at %s (%s in the reference, %s in the target)", tensor.ShapeString(g.MaxAbsAt), shown(g.Reference), shown(g.Target))
}

// shown writes one value of a tensor: bfloat16 and float16 in full, others in
// six digits.
func shown(v float64) string { return fmt.Sprintf("%.6g", v) }

func integersDiffer(t *Tensor) string {
	what := "integers"
	if t.Slot == "0" && t.Direction == inputs && topology.Of(t.Module).TakesPositions() {
		what = "positions"
	}
	g := t.Gap
	return fmt.Sprintf("%s differ: %d of %d, most at %s (%s in the reference, %s in the target)", what, g.Values-g.Equal, g.Values,
		tensor.ShapeString(g.MaxAbsAt), exactInt(g.Reference), exactInt(g.Target))
}

func exactInt(v float64) string { return fmt.Sprintf("%.0f", v) }

func explained(t *Tensor, limit float64, inputGap float64) string {
	return "rounding in " + typeNames(t) + explain(limit, inputGap)
}

func explain(limit, inputGap float64) string {
	if inputGap == 0 {
		return " explains " + num(limit)
	}
	return " and the gap before it explain " + num(limit)
}

// typeNames names the two types where they differ.
func typeNames(t *Tensor) string {
	if t.DTypes[0] == t.DTypes[1] {
		return t.DTypes[0].String()
	}
	return t.DTypes[0].String() + " against " + t.DTypes[1].String()
}

// location writes where a divergence is, with the layer where the name does
// not tell it.
func (d *Divergence) location() string {
	s := fmt.Sprintf("step %d, %s", d.Step, il.CallName(d.Module, d.Call))
	if what := slotName(d.Key); what != "" {
		s += ", " + what
	}
	if topology.Of(d.Module).Kind == topology.Rope && d.Layer >= 0 {
		s += fmt.Sprintf(" (call %d of the module that all layers share: layer %d)", d.Call, d.Layer)
	}
	return s
}

// slotName writes "input 0", "output", "output 1", "input 0 after the call".
func slotName(k Key) string {
	name := map[string]string{inputs: "input", outputs: "output", postFwdInputs: "input"}[k.Direction]
	if k.Slot != "" {
		name += " " + strings.ReplaceAll(k.Slot, "_", ".")
	}
	if k.Direction == postFwdInputs {
		name += " after the call"
	}
	return name
}
