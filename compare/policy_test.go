package compare

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/pyregex"
	"github.com/ilref/ilref/tensor"
)

func rule(t *testing.T, module string, r report.PolicyRule) report.PolicyRule {
	t.Helper()
	re, err := pyregex.Compile(module)
	require.NoError(t, err)
	r.Module, r.At = re, "p.yaml:3"
	return r
}

// The first rule that matches decides; what no rule matches is judged by
// default, so that a fault outside the rules is found as ever.
func TestPolicy(t *testing.T) {
	good, fault := open(t, base), open(t, base+"-fault-row_scale")
	v := func(x float64) *float64 { return &x }
	wide, narrow := report.Bounds{MaxRelL2: v(0.05)}, report.Bounds{MaxRelL2: v(0.01)}
	at := "step_0/model.layers.0.self_attn.o_proj/outputs_0"
	for _, c := range []struct {
		name    string
		rules   []report.PolicyRule
		at, why string
	}{
		{"not the faulty module", []report.PolicyRule{rule(t, "qkv_proj", report.PolicyRule{Bounds: wide})}, at, "inputs agree to the bit, outputs do not"},
		{"wide enough", []report.PolicyRule{rule(t, "", report.PolicyRule{Bounds: wide})}, "", ""},
		{"too narrow", []report.PolicyRule{rule(t, "", report.PolicyRule{Bounds: narrow})}, at, "is above 0.01"},
		{"the first decides", []report.PolicyRule{rule(t, "o_proj$", report.PolicyRule{Bounds: narrow}), rule(t, "", report.PolicyRule{Bounds: wide})}, at, "is above 0.01"},
		{"the default, said outright", []report.PolicyRule{rule(t, "o_proj$", report.PolicyRule{}), rule(t, "", report.PolicyRule{Bounds: wide})}, at, "outputs do not"},
		{"by type and direction", []report.PolicyRule{rule(t, "o_proj$", report.PolicyRule{DTypes: []tensor.DType{tensor.BFloat16}, Direction: il.Outputs, Bounds: narrow}), rule(t, "", report.PolicyRule{Bounds: wide})}, at, "is above 0.01"},
		{"share of the values", []report.PolicyRule{rule(t, "o_proj$", report.PolicyRule{Bounds: report.Bounds{MaxMismatched: v(0.05)}})}, at, "; a share of 0.05 may be"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, good, fault, Options{Policy: &report.Policy{Rules: c.rules}})
			require.Equal(t, report.RulePolicy, r.Rule)
			if c.at == "" {
				require.Equal(t, report.Pass, r.Verdict, r.FirstDivergence)
				return
			}
			require.Equal(t, report.Fail, r.Verdict)
			require.Equal(t, c.at, r.FirstDivergence.String())
			require.Contains(t, r.FirstDivergence.Why, c.why)
		})
	}
}

// Skipped tensors leave coverage, also those that one side lacks; a policy that
// skips all is not a pass.
func TestPolicySkips(t *testing.T) {
	good, some := open(t, base), open(t, base+"-filtered")
	skip := report.PolicyRule{Skip: true, Reason: "because"}
	r := run(t, good, good, Options{Policy: &report.Policy{Rules: []report.PolicyRule{rule(t, `rotary_emb`, skip)}}})
	require.Equal(t, report.Pass, r.Verdict)
	require.Len(t, r.Coverage.Excluded, 45)
	require.Equal(t, 285, r.Coverage.Union())
	require.Equal(t, "because (p.yaml:3)", r.Coverage.Excluded[0].Why)
	r = run(t, good, good, Options{Policy: &report.Policy{Rules: []report.PolicyRule{rule(t, ``, skip)}}})
	require.Equal(t, report.Incomparable, r.Verdict)
	require.Equal(t, 0, r.Coverage.Union())
	before := run(t, good, some, Options{}).Coverage
	after := run(t, good, some, Options{Policy: &report.Policy{Rules: []report.PolicyRule{rule(t, `act_fn`, skip)}}}).Coverage
	require.Less(t, len(after.MissingInTarget), len(before.MissingInTarget))
}

// A rule that decides nothing is an error, whatever part is selected.
func TestPolicyUnused(t *testing.T) {
	good := open(t, base)
	slot := "7"
	wide := report.Bounds{MaxAbs: new(float64)}
	for _, c := range []struct {
		rules []report.PolicyRule
		want  string
	}{
		{[]report.PolicyRule{rule(t, `layers\.\d+\.self_attn\.oproj$`, report.PolicyRule{Bounds: wide})}, `p.yaml:3: the rule matches no tensor: module "layers\\.\\d+\\.self_attn\\.oproj$" is found in none of the 37 module names; the nearest are model.layers.0.self_attn.o_proj`},
		{[]report.PolicyRule{rule(t, `zzzzzzzzzzzz`, report.PolicyRule{Bounds: wide})}, `is found in none of the 37 module names, as `},
		{[]report.PolicyRule{rule(t, `o_proj$`, report.PolicyRule{Slot: &slot, Direction: il.Inputs, DTypes: []tensor.DType{tensor.Float16, tensor.Float32}})}, `is found, in model.layers.0.self_attn.o_proj for one, but not with dtype float16 or float32, direction inputs, slot "7"`},
		{[]report.PolicyRule{{At: "p.yaml:3", Slot: &slot}}, `the rule matches no tensor of the 37 modules of the two sessions with slot "7"`},
		{[]report.PolicyRule{rule(t, ``, report.PolicyRule{}), rule(t, `o_proj`, report.PolicyRule{Bounds: wide})}, `earlier rules match all of its tensors`},
	} {
		_, err := Sessions(good, good, Options{Policy: &report.Policy{Rules: c.rules}})
		require.ErrorContains(t, err, c.want)
	}
	_, err := Sessions(good, good, Options{Modules: []string{"embed"}, Policy: &report.Policy{Rules: []report.PolicyRule{rule(t, `o_proj$`, report.PolicyRule{})}}})
	require.NoError(t, err)
	_, err = Sessions(good, good, Options{Bounds: wide, Policy: &report.Policy{Rules: []report.PolicyRule{rule(t, `o_proj$`, report.PolicyRule{})}}})
	require.ErrorContains(t, err, "a policy and bounds for all tensors")
}
