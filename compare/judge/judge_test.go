package judge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// made is a call with the rel_l2 of its inputs and outputs in bfloat16.
type made struct {
	module  string
	in, out []float64
}

func forwardOf(number int, calls ...made) *pairing.Forward {
	f := &pairing.Forward{Number: number}
	for _, m := range calls {
		c := &pairing.Call{Step: number, Module: m.module, Of: topology.Of(m.module), Report: &report.CallDiff{Step: number, Module: m.module}}
		add := func(direction string, gaps []float64) {
			for i, g := range gaps {
				k := report.Key{Step: number, Module: m.module, Call: 0, Direction: direction, Slot: string(rune('0' + i))}
				gap := &metric.Gap{Numel: 64, Values: 64, RelL2: g}
				if g == 0 {
					gap.Equal = 64
				}
				c.Slots = append(c.Slots, &pairing.Pair{Key: k, Result: &report.TensorDiff{Key: k, DTypes: [2]tensor.DType{tensor.BFloat16, tensor.BFloat16}, Shape: []int{64}, Gap: gap}})
			}
		}
		add(report.Inputs, m.in)
		add(report.Outputs, m.out)
		f.Calls = append(f.Calls, c)
	}
	f.Link()
	return f
}

func judged(layers int, fs ...*pairing.Forward) *report.Report {
	r := &report.Report{}
	newNoiseJudge(r, &Input{Layers: layers, Rule: report.RuleNoise}).judge(fs)
	return r
}

func TestNoiseRule(t *testing.T) {
	g := func(v ...float64) []float64 { return v }
	for _, c := range []struct {
		name   string
		layers int
		calls  []made
		at     string
	}{
		{"noise alone", 0, []made{{"a", g(0), g(7e-3)}}, ""},
		{"beyond noise", 0, []made{{"a", g(0), g(9e-3)}}, "step_0/a/outputs_0"},
		{"the worst output counts", 0, []made{{"a", g(0), g(0, 9e-3)}}, "step_0/a/outputs_1"},
		{"an inherited gap may grow", 0, []made{{"a", g(0), g(7e-3)}, {"b", g(7e-3), g(2.2e-2)}}, ""},
		{"but not so much", 0, []made{{"a", g(0), g(7e-3)}, {"b", g(7e-3), g(2.3e-2)}}, "step_0/b/outputs_0"},
		{"a projection passes on less", 0, []made{{"o_proj", g(1e-2), g(2.1e-2)}}, ""},
		{"and no more", 0, []made{{"o_proj", g(1e-2), g(2.2e-2)}}, "step_0/o_proj/outputs_0"},
		{"attention passes on more", 0, []made{{"attn", g(1e-2), g(6.0e-2)}}, ""},
		{"and no more than that", 0, []made{{"attn", g(1e-2), g(6.1e-2)}}, "step_0/attn/outputs_0"},
		{"a module without inputs is held against what came before", 0, []made{{"a", g(0), g(7e-3)}, {"b", nil, g(2.2e-2)}}, ""},
		{"and blamed beyond that", 0, []made{{"a", g(0), g(7e-3)}, {"b", nil, g(2.3e-2)}}, "step_0/b/outputs_0"},
		{"noise does not grow for ever", 0, []made{
			{"a", g(0), g(8e-3)}, {"b", g(8e-3), g(2.5e-2)}, {"c", g(2.5e-2), g(7.5e-2)}, {"d", g(7.5e-2), g(0.22)}, {"e", g(0.22), g(0.26)},
		}, "step_0/e/outputs_0"},
		{"a layer whose children are not recorded", 0, []made{{"model.layers.0", g(0), g(2.3e-2)}}, ""},
		{"and at fault", 0, []made{{"model.layers.0", g(0), g(2.5e-2)}}, "step_0/model.layers.0/outputs_0"},
		{"layers that are not recorded add noise", 0, []made{{"model.layers.3.mlp.act_fn", g(9e-2), g(9e-2)}}, ""},
		{"but no more than their number", 0, []made{{"model.layers.3.mlp.act_fn", g(0.1), g(0.1)}}, "step_0/model.layers.3.mlp.act_fn/inputs_0"},
		{"the last layer is known", 3, []made{{"model.layers.2.mlp.act_fn", g(0), g(0)}, {"model.norm", g(3e-2), g(3e-2)}}, "step_0/model.norm/inputs_0"},
		{"the last layer is not known", 0, []made{{"model.layers.2.mlp.act_fn", g(0), g(0)}, {"model.norm", g(3e-2), g(3e-2)}}, ""},
		{"logits follow the norm", 0, []made{{"model.norm", g(0), g(0)}, {"logits_processor", g(3e-2), g(3e-2)}}, "step_0/logits_processor/inputs_0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := judged(c.layers, forwardOf(0, c.calls...))
			require.Equal(t, c.at != "", r.Diverged)
			if c.at == "" {
				require.Nil(t, r.FirstDivergence)
				return
			}
			require.Equal(t, c.at, r.FirstDivergence.String())
		})
	}
}

// After a divergence a gap may grow in any way; only a module whose own inputs
// agree is at fault as well.
func TestAfterTheFirst(t *testing.T) {
	f := forwardOf(0,
		made{"a", []float64{0}, []float64{0.1}},
		made{"b", []float64{0.1}, []float64{0.9}},
		made{"c", []float64{1e-3}, []float64{0.5}},
		made{"d", []float64{0}, []float64{5e-3}},
	)
	judged(0, f)
	var got []report.Verdict
	for _, c := range f.Calls {
		got = append(got, c.Slots[1].Result.Verdict)
	}
	require.Equal(t, []report.Verdict{report.Fail, report.Inherited, report.Fail, report.Pass}, got)
}

// An input that was not compared may have the worst gap seen before it.
func TestMissingInput(t *testing.T) {
	for gap, want := range map[float64]bool{2.2e-2: false, 2.3e-2: true} {
		f := forwardOf(0, made{"a", []float64{0}, []float64{7e-3}}, made{"b", []float64{0, 0}, []float64{gap}})
		f.Calls[1].Slots[1].Result = nil
		require.Equal(t, want, judged(0, f).Diverged)
	}
}

// The floor follows the coarsest type of a call.
func TestFloorByType(t *testing.T) {
	for _, c := range []struct {
		ref, target tensor.DType
		pass, fail  float64
	}{
		{tensor.Float64, tensor.Float64, 9e-10, 2e-9},
		{tensor.Float32, tensor.Float32, 9e-5, 2e-4},
		{tensor.Float32, tensor.Float64, 9e-5, 2e-4},
		{tensor.Float16, tensor.Float32, 9e-4, 2e-3},
		{tensor.BFloat16, tensor.Float16, 7e-3, 9e-3},
		{tensor.Float8E4M3FN, tensor.Float8E4M3FN, 0.12, 0.13},
		{tensor.Float8E5M2, tensor.Float8E5M2, 0.24, 0.26},
		{tensor.Complex64, tensor.Complex64, 9e-5, 2e-4},
	} {
		for gap, want := range map[float64]bool{c.pass: false, c.fail: true} {
			f := forwardOf(0, made{"a", []float64{0}, []float64{gap}})
			f.Calls[0].Slots[1].Result.DTypes = [2]tensor.DType{c.ref, c.target}
			f.Calls[0].Slots[0].Result.DTypes = [2]tensor.DType{tensor.Int64, tensor.Int64}
			require.Equal(t, want, judged(0, f).Diverged, "%s against %s: %g", c.ref, c.target, gap)
		}
	}
}

func TestUnequalIntegers(t *testing.T) {
	f := forwardOf(0, made{"router", []float64{1e-3}, []float64{1e-9}})
	f.Calls[0].Slots[1].Result.DTypes = [2]tensor.DType{tensor.Int32, tensor.Int64}
	f.Calls[0].Slots[1].Result.Gap.MaxAbsAt = []int{3}
	r := judged(0, f)
	require.Equal(t, "step_0/router/outputs_0", r.FirstDivergence.String())
	require.Contains(t, r.FirstDivergence.Why, "integers differ: 64 of 64, most at [3] ")
}

// A row of huge values does not hide the gap that the others hand on.
func TestTypicalRow(t *testing.T) {
	f := forwardOf(0, made{"model.norm", []float64{1e-3}, []float64{2.5e-2}})
	require.True(t, judged(0, f).Diverged)
	f = forwardOf(0, made{"model.norm", []float64{1e-3}, []float64{2.5e-2}})
	g := f.Calls[0].Slots[0].Result.Gap
	g.TokenMedian, g.WorstToken = 9e-3, &metric.Worst{Values: 8}
	require.False(t, judged(0, f).Diverged)
}

// A projection of many rows passes on less than one of a few.
func TestFewRows(t *testing.T) {
	for rows, want := range map[int]bool{1: false, 15: false, 16: true} {
		f := forwardOf(0, made{"o_proj", []float64{1e-2}, []float64{1.8e-2}})
		f.Calls[0].Slots[1].Result.Gap.WorstToken = &metric.Worst{Values: 64 / rows}
		f.Calls[0].Slots[1].Result.Gap.Values = 64 / rows * rows
		require.Equal(t, want, judged(0, f).Diverged, "%d rows", rows)
	}
}

// Bits that move to either side by a last place are rounded elsewhere; a bias,
// a factor of each row's own or larger steps are not.
func TestRoundsElsewhere(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*metric.Gap)
		want bool
	}{
		{"as measured", func(*metric.Gap) {}, true},
		{"two last places", func(g *metric.Gap) { g.ULP.Max = 2 }, false},
		{"a bias", func(g *metric.Gap) { g.Sides.Larger, g.Sides.Smaller = 600, 300 }, false},
		{"factors of rows", func(g *metric.Gap) { g.Sides.Rows = 3.5 }, false},
		{"a bias by chance", func(g *metric.Gap) { g.Sides.Larger, g.Sides.Smaller = 500, 400 }, true},
		{"not looked at", func(g *metric.Gap) { g.Sides = nil }, false},
	} {
		f := forwardOf(0, made{"model.norm", []float64{0}, []float64{3e-3}})
		g := f.Calls[0].Slots[1].Result.Gap
		g.Equal, g.ULP, g.Sides = 48, &metric.ULP{Max: 1}, &metric.Sides{Larger: 310, Smaller: 290, Rows: 1.2, Counted: 24}
		c.edit(g)
		r := judged(0, f)
		require.Equal(t, !c.want, r.Diverged, c.name)
		if c.want {
			require.Len(t, r.Warnings, 1, c.name)
			require.Contains(t, r.Warnings[0], "step_0/model.norm/outputs_0: 75.0 % of the values are those of equal inputs", c.name)
		}
	}
}

// By replay the noise of elements decides, whatever the norm of the tensor: of its
// least likely block, and of the sum over it where rounding errors are independent.
func TestNoiseOfElements(t *testing.T) {
	for _, c := range []struct {
		module string
		rel    float64 // local
		noise  metric.Noise
		why    string
	}{
		{"model.layers.0.mlp.down_proj", 5e-2, metric.Noise{Worst: metric.Block{Unlikely: 12}}, ""},
		{"model.layers.0.mlp.down_proj", 1e-6, metric.Noise{Worst: metric.Block{Row: 3, Rows: 1, Columns: 64, RMS: 30, Unlikely: 500}, Max: 70, RMS: 2}, "30 times what rounding explains in row 3, a single value up to 70 times (2 over the whole tensor, where rounding gives 1; local rel_l2 1.0e-06)"},
		{"model.layers.0.mlp.down_proj", 1e-6, metric.Noise{Drift: metric.Drift{Mean: -0.4, Sum: 16, Rows: 3}}, "too small by 0.4 times the noise of a value on average, which over 1536 of them rounding does not give"},
		{"model.layers.0.self_attn.attn", 1e-6, metric.Noise{Drift: metric.Drift{Mean: 0.4, Sum: 16, Rows: 16}}, ""},
		{"model.norm", 1e-6, metric.Noise{Drift: metric.Drift{Sum: 1, Rows: 4}}, "every row is too large or too small by a factor of its own"},
		{"model.layers.0.mlp.down_proj", 1e-6, metric.Noise{Drift: metric.Drift{Sum: 1, Rows: 4}}, ""},
	} {
		f := forwardOf(0, made{c.module, []float64{0}, []float64{1e-3}})
		x := f.Calls[0].Slots[1].Result
		x.Shape = []int{24, 64}
		c.noise.Values, c.noise.Rows = 24*64, 24
		x.ReplayGap, x.Noise = &metric.Gap{Values: 24 * 64, RelL2: c.rel}, &c.noise
		r := judged(0, f)
		require.Equal(t, c.why != "", r.Diverged, c.module)
		if c.why != "" {
			require.Contains(t, r.FirstDivergence.Why, c.why)
		}
	}
}

// The rules of a floor, on one call whose inputs sit at it.
func TestFloorRules(t *testing.T) {
	const rows, cols = 24, 64
	for _, c := range []struct {
		name                  string
		rows                  int
		target, emulation     float64 // rel_l2 to the oracle
		token, emulationToken float64 // the same of the worst row
		apart, apartToken     float64
		why                   string
	}{
		{"at the floor", rows, 1e-2, 1e-2, 2e-2, 2e-2, 5e-3, 1e-2, ""},
		{"hidden by what has accumulated", rows, 4.1e-2, 4e-2, 6e-2, 6e-2, 1e-2, 2e-2, "off from the emulation, which rounds as the target does, by rel_l2 1.0e-02"},
		{"drift", rows, 2e-2, 1e-2, 3e-2, 2.9e-2, 5e-3, 1e-2, "leaves the floor"},
		{"one row is one draw", 1, 2e-2, 9e-3, 2e-2, 9e-3, 7e-3, 7e-3, ""},
		{"a worst token by chance", rows, 1e-2, 1e-2, 4e-2, 2e-2, 5e-3, 1.5e-2, ""},
		{"a worst token", rows, 1e-2, 1e-2, 4e-2, 2e-2, 5e-3, 1.7e-2, "leaves the floor"},
	} {
		gap := func(rel, token float64) *metric.Gap {
			return &metric.Gap{Numel: c.rows * cols, Values: c.rows * cols, RelL2: rel, WorstToken: &metric.Worst{RelL2: token, Values: cols}}
		}
		f := forwardOf(0, made{"o_proj", []float64{0}, []float64{1e-2}})
		p := f.Calls[0].Slots[1].Result
		p.NoiseRatio = rounding.NewNoiseRatio(gap(c.target, c.token), gap(c.emulation, c.emulationToken), gap(c.apart, c.apartToken), p.DTypes)
		r := &report.Report{}
		newNoiseJudge(r, &Input{Rule: report.RuleFloor}).judge([]*pairing.Forward{f})
		require.Equal(t, c.why != "", r.Diverged, c.name)
		if c.why != "" {
			require.Contains(t, r.FirstDivergence.Why, c.why, c.name)
		}
	}
}
