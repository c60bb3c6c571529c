package compare

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/judge"
	"github.com/ilref/ilref/compare/report"
)

// Given bounds hold for every tensor and replace the default rule, both ways.
func TestBounds(t *testing.T) {
	good, noise, fault := open(t, base), open(t, base+"-splitk"), open(t, base+"-fault-row_scale")
	v := func(x float64) *float64 { return &x }
	for _, c := range []struct {
		name   string
		b      report.Bounds
		fault  bool
		at     string // the first tensor beyond, in the order of time
		reason string
	}{
		{"rel_l2 kept", report.Bounds{MaxRelL2: v(1.75e-2)}, false, "", ""},
		{"rel_l2 broken", report.Bounds{MaxRelL2: v(1.7e-2)}, false, "step_2/model.layers.0.self_attn.rotary_emb_2/inputs_2", "rel_l2 1.7e-02 is above 0.017"},
		{"the leaf before its container", report.Bounds{MaxRelL2: v(8e-3)}, false, "step_0/model.layers.0.mlp.act_fn/outputs", "rel_l2 9.2e-03 is above 0.008"},
		{"max_abs kept", report.Bounds{MaxAbs: v(0.3)}, false, "", ""},
		{"max_abs broken", report.Bounds{MaxAbs: v(0)}, false, "step_0/model.layers.0.self_attn.qkv_proj/outputs_0", "max_abs 0.0156 at ["},
		{"cosine kept", report.Bounds{MinCosine: v(0.999)}, false, "", ""},
		{"cosine broken", report.Bounds{MinCosine: v(0.99999)}, false, "step_0/model.layers.0.self_attn.attn/outputs", "cosine 1-1.1e-05 is below 0.99999"},
		{"tolerance kept", report.Bounds{RTol: v(0.1), ATol: v(0.2)}, false, "", ""},
		{"relative tolerance, absolute by default", report.Bounds{RTol: v(0)}, false, "step_0/model.layers.0.self_attn.qkv_proj/outputs_0", "values are off by more than 1e-05 + 0·|reference|, the most 0.0156 at ["},
		{"absolute tolerance, relative by default", report.Bounds{ATol: v(1e-3)}, false, "step_0/model.layers.0.self_attn.qkv_proj/outputs_0", "values are off by more than 0.001 + 0.016·|reference|"},
		{"two broken at once", report.Bounds{MaxAbs: v(0), MinCosine: v(1)}, false, "step_0/model.layers.0.self_attn.qkv_proj/outputs_0", "; cosine 1-3.9e-06 is below 1"},
		{"wide enough for a fault", report.Bounds{MaxRelL2: v(0.05)}, true, "", ""},
		{"a fault that has the right direction", report.Bounds{MinCosine: v(0.999)}, true, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := noise
			if c.fault {
				target = fault
			}
			r := run(t, good, target, Options{Bounds: c.b})
			require.Equal(t, report.RuleBounds, r.Rule)
			if c.at == "" {
				require.Equal(t, report.Pass, r.Verdict, r.FirstDivergence)
				return
			}
			require.Equal(t, 1, r.ExitCode())
			require.Equal(t, c.at, r.FirstDivergence.String())
			require.Contains(t, r.FirstDivergence.Why, c.reason)
			for _, x := range r.Tensors {
				require.Equal(t, judge.Violated(&c.b, x) != "", x.Verdict == report.Fail)
			}
		})
	}
}

// Whatever is not finite on one side only is beyond every bound.
func TestBoundsAndNaN(t *testing.T) {
	good := open(t, base)
	wide := 1e300
	r := run(t, edited(t, good, func(string) {}), edited(t, good, func(dir string) {
		rewrite(t, file(dir, "step_0", "model.norm/outputs_0"), func(v []float64) { v[0] = inf })
	}), Options{Bounds: report.Bounds{MaxAbs: &wide}})
	require.Equal(t, "step_0/model.norm/outputs_0", r.FirstDivergence.String())
	require.Contains(t, r.FirstDivergence.Why, "no bound holds: 1 place where NaN or an infinity meets another value")
}
