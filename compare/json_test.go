package compare

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
)

func toJSON(t *testing.T, r *report.Report) (raw []byte, decoded map[string]any) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, render.JSON(&b, r))
	require.NoError(t, json.Unmarshal(b.Bytes(), &decoded))
	return b.Bytes(), decoded
}

func keys(m any) []string { return slices.Sorted(maps.Keys(m.(map[string]any))) }

// The names of the schema are a promise: they stay.
func TestSchema(t *testing.T) {
	_, d := toJSON(t, run(t, open(t, base), open(t, base+"-fault-rope_theta"), Options{}))
	require.Equal(t, "ildiff.report/v1", d["schema"])
	require.Equal(t, "fail", d["verdict"])
	require.Equal(t, []string{"coverage", "fallback", "first_divergence", "logprobs", "modules", "other_workload", "reference", "rule", "schema", "target", "tensors", "verdict", "warnings"}, keys(d))
	require.Equal(t, []string{
		"compared", "min_percent", "missing", "missing_in_reference", "missing_in_target", "no_partner", "other_workload", "percent", "skipped", "skipped_tensors", "unmatched_by_nature", "unreadable", "unreadable_tensors",
	}, keys(d["coverage"]))
	require.Equal(t, map[string]any{
		"step": 0., "module": "model.layers.0.self_attn.rotary_emb", "call": 0., "direction": "outputs", "slot": "0",
		"why": d["first_divergence"].(map[string]any)["why"], "hint": d["first_divergence"].(map[string]any)["hint"],
	}, d["first_divergence"])
	modules, tensors := d["modules"].([]any), d["tensors"].([]any)
	require.Len(t, modules, 117)
	require.Len(t, tensors, 221)
	require.Equal(t, []string{"accumulated", "call", "compared", "hint", "inherited", "inputs", "local", "module", "noise", "outputs", "ratio", "ratio_token", "step", "tensors", "verdict"}, keys(modules[0]))
	require.Equal(t, []string{"cosine", "direction", "max_abs", "max_abs_at", "mismatched", "norm_ratio", "one_minus_cosine", "rel_l2", "slot"}, keys(modules[0].(map[string]any)["outputs"]))
	require.Equal(t, []string{
		"argmax_agree", "argmax_near_ties", "call", "cosine", "direction", "dtypes", "equal", "floor_scale", "inf", "kl", "kl_max", "local", "margin", "max_abs", "max_abs_at",
		"max_abs_values", "max_rel", "mean_abs", "mismatched", "module", "nan", "noise", "non_finite", "norm_ratio", "numel", "one_minus_cosine", "ratio", "ratio_channel", "ratio_token",
		"rel_l2", "rmse", "scale", "scale_stderr", "shape", "slot", "step", "ulp_histogram", "ulp_max", "ulp_p99", "verdict", "worst_channel", "worst_token",
	}, keys(tensors[0]))
	require.Equal(t, []any{map[string]any{"step": 2., "why": "token ids differ: 51 in the reference, 312 in the target"}}, d["other_workload"])

	first := tensors[0].(map[string]any) // token ids: integers have the numeric metrics too
	require.Equal(t, []any{"int32", "int32"}, first["dtypes"])
	require.Equal(t, []any{11.}, first["shape"])
	require.Equal(t, []any{0., 11., 0., 1., 1., 0.}, []any{first["rel_l2"], first["numel"], first["max_abs"], first["cosine"], first["norm_ratio"], first["mismatched"]})
	require.Nil(t, first["max_abs_at"])
	last := -1 // execution order: logits of step 1 before the rest of step 1
	for i, m := range modules {
		if m := m.(map[string]any); m["module"] == "logits_processor" && m["step"] == 1. {
			last = i
		}
	}
	require.Equal(t, 38, last)
}

// 0/0 is 0: the positions of a first token are a zero vector.
func TestZeroVector(t *testing.T) {
	good := open(t, base)
	change := func(dir string) {
		rewrite(t, file(dir, "step_1", "model.layers.0/inputs_0"), func(v []float64) { v[0] = 0 })
	}
	_, d := toJSON(t, run(t, edited(t, good, change), edited(t, good, change), Options{Steps: []report.StepRange{{First: 1, Last: 1}}, Modules: []string{`layers\.0$`}}))
	x := d["tensors"].([]any)[0].(map[string]any)
	require.Equal(t, []any{0., 0., 1., 0., "pass"}, []any{x["rel_l2"], x["norm_ratio"], x["cosine"], x["mismatched"], x["verdict"]})
}

// Figures that are not finite are null, and the report is valid JSON.
func TestNull(t *testing.T) {
	good := open(t, base)
	_, d := toJSON(t, run(t, edited(t, good, func(string) {}), edited(t, good, func(dir string) {
		rewrite(t, file(dir, "step_0", "model.norm/outputs_0"), func(v []float64) { v[65], v[70] = nan, inf })
	}), Options{Steps: []report.StepRange{{First: 0, Last: 0}}, Modules: []string{"model.norm"}}))
	i := slices.IndexFunc(d["tensors"].([]any), func(x any) bool { return x.(map[string]any)["verdict"] == "fail" })
	x := d["tensors"].([]any)[i].(map[string]any)
	for _, k := range []string{"max_abs", "rel_l2", "cosine", "one_minus_cosine", "norm_ratio"} {
		require.Nil(t, x[k], k)
	}
	require.Equal(t, []any{0., 1.}, x["nan"])
	require.Equal(t, []any{0., 1.}, x["inf"])
	require.Equal(t, []any{1., 1.}, x["max_abs_at"])
	require.Nil(t, x["max_abs_values"].([]any)[1])
}

// Nothing compared: lists are empty, not null.
func TestEmptyJSON(t *testing.T) {
	s := session(map[int]string{0: "a"})
	raw, d := toJSON(t, run(t, s, s, Options{}))
	require.Equal(t, "incomparable", d["verdict"])
	require.Nil(t, d["first_divergence"])
	for _, k := range []string{"modules", "tensors", "warnings", "other_workload"} {
		require.Equal(t, []any{}, d[k], k)
	}
	require.NotContains(t, string(raw), `"missing": null`)
}

// Equal input gives equal bytes, however many goroutines measure.
func TestDeterministic(t *testing.T) {
	first, _ := toJSON(t, run(t, open(t, base), open(t, base+"-splitk"), Options{}))
	for range 3 {
		again, _ := toJSON(t, run(t, open(t, base), open(t, base+"-splitk"), Options{}))
		require.Equal(t, string(first), string(again))
	}
}
