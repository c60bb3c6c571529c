package compare

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/topology"
)

// Every pair of sessions that PyTorch wrote: noise passes, each fault is named
// at the module that the fixtures' README says, what cannot be compared yet is
// no success.
func TestFixtures(t *testing.T) {
	const l = "llama3-gqa-bf16"
	rope := report.Key{Step: 0, Module: "model.layers.0.self_attn.rotary_emb", Call: 0, Direction: report.Outputs, Slot: "0"}
	kv := report.Key{Step: 0, Module: "model.layers.1.self_attn.qkv_proj", Call: 0, Direction: report.Outputs, Slot: "0"}
	scale := report.Key{Step: 0, Module: "model.layers.0.self_attn.o_proj", Call: 0, Direction: report.Outputs, Slot: "0"}
	gelu := report.Key{Step: 0, Module: "model.layers.0.mlp.act_fn", Call: 0, Direction: report.Outputs, Slot: ""}
	none := report.Key{}
	for _, c := range []struct {
		ref, target string
		exit        int
		at          report.Key
		percent     float64
	}{
		{l, l, 0, none, 100},
		{"gopher-1m-bf16", "gopher-1m-bf16", 0, none, 100},
		{l + "-tp2", l + "-tp2", 0, none, 100},
		// Noise: another order of summation, another element type.
		{l, l + "-splitk", 0, none, 100},
		{l + "-splitk", l, 0, none, 100},
		{"llama3-gqa-fp32", l, 0, none, 100},
		{l, "llama3-gqa-fp32", 0, none, 100},
		{"llama3-gqa-fp64", l, 0, none, 100},
		{"llama3-gqa-fp64", l + "-splitk", 0, none, 100},
		{"llama3-gqa-fp32", l + "-splitk", 0, none, 100},
		{"llama3-gqa-fp64", "llama3-gqa-fp32", 0, none, 100},
		// Faults, alone, under noise, and against each other.
		{l, l + "-fault-rope_theta", 1, rope, 100 * 221. / 330},
		{l + "-fault-rope_theta", l, 1, rope, 100 * 221. / 330},
		{l + "-splitk", l + "-fault-rope_theta", 1, rope, 100 * 221. / 330},
		{"llama3-gqa-fp64", l + "-fault-rope_theta", 1, rope, 100 * 221. / 330},
		{l, l + "-fault-kv_swapped", 1, kv, 100 * 221. / 330},
		{l + "-fault-kv_swapped", l, 1, kv, 100 * 221. / 330},
		{l + "-splitk", l + "-fault-kv_swapped", 1, kv, 100 * 221. / 330},
		{"llama3-gqa-fp32", l + "-fault-kv_swapped", 1, kv, 100 * 221. / 330},
		{l, l + "-fault-row_scale", 1, scale, 100},
		{l + "-fault-row_scale", l, 1, scale, 100},
		{l + "-splitk", l + "-fault-row_scale", 1, scale, 100},
		{"llama3-gqa-fp32", l + "-fault-row_scale", 1, scale, 100},
		{l + "-fault-rope_theta", l + "-fault-kv_swapped", 1, rope, 100},
		{l + "-fault-kv_swapped", l + "-fault-row_scale", 1, scale, 100 * 221. / 330},
		{"gopher-1m-bf16", "gopher-1m-bf16-fault", 1, gelu, 100},
		{"gopher-1m-bf16-fault", "gopher-1m-bf16", 1, gelu, 100},
		// Other layouts of the same tokens, and tensor-parallel ranks.
		{l, l + "-tp2", 0, none, 100},
		{l + "-tp2", l, 0, none, 100},
		{l + "-splitk", l + "-tp2", 0, none, 100},
		{l, l + "-pad5", 0, none, 100},
		{l + "-pad5", l, 0, none, 100},
		{l + "-pad5", l + "-pad5", 0, none, 100},
		{l, l + "-chunk4", 0, none, 100},
		{l + "-chunk4", l, 0, none, 100},
		{l, l + "-batch3", 0, none, 100},
		{l + "-batch3", l, 0, none, 100},
		{l + "-batch3", l + "-chunk4", 0, none, 100},
		{l + "-pad5", l + "-tp2", 0, none, 100},
		{l + "-chunk4", l + "-fault-row_scale", 1, scale, 100},
		{l + "-tp2", l + "-fault-row_scale", 1, scale, 100},
		{l + "-batch3", l + "-fault-rope_theta", 1, rope, 100 * 221. / 330},
		// A session that transformers wrote: other names, no tensors of the rope.
		{"llama3-gqa-fp32", "llama3-gqa-hf-fp32", 0, none, 100},
		{"llama3-gqa-hf-fp32", "llama3-gqa-fp32", 0, none, 100},
		{l, "llama3-gqa-hf-bf16", 0, none, 100},
		{"llama3-gqa-hf-bf16", l + "-tp2", 0, none, 100},
		{"llama3-gqa-hf-bf16", l + "-chunk4", 0, none, 100},
		{"llama3-gqa-hf-bf16", l + "-fault-row_scale", 1, scale, 100},
		// Recorded less.
		{l, l + "-filtered", 3, none, 100 * 74. / 330},
		{l, l + "-max1000", 3, none, 100 * 93. / 388},
		{l + "-fault-row_scale", l + "-filtered", 1, scale, 100 * 74. / 330},
		{l + "-max1000", l + "-max1000", 3, none, 100 * 145. / 166},
	} {
		t.Run(c.ref+" "+c.target, func(t *testing.T) {
			r := run(t, open(t, c.ref), open(t, c.target), Options{})
			require.Equal(t, c.exit, r.ExitCode())
			require.InDelta(t, c.percent, r.Coverage.Percent(), 1e-9)
			if c.at == none {
				require.Nil(t, r.FirstDivergence)
				for _, m := range r.Modules {
					require.Contains(t, []report.Verdict{report.Pass, report.NotCompared}, m.Verdict, m.Name())
				}
				return
			}
			require.NotNil(t, r.FirstDivergence)
			require.Equal(t, c.at, r.FirstDivergence.Key)
			for _, m := range r.Modules { // nothing else is blamed
				if m.Verdict == report.Fail {
					require.Equal(t, [2]any{c.at.Module, c.at.Call}, [2]any{m.Module, m.Call}, "step %d", m.Step)
				}
			}
		})
	}
}

// Sessions whose first steps have other numbers are lined up.
func TestOtherStepNumbers(t *testing.T) {
	good := open(t, base)
	dir := copySteps(t, good, 0, 1, 2, 3)
	for _, n := range []string{"3", "2", "1", "0"} {
		require.NoError(t, os.Rename(filepath.Join(dir, "step_"+n), filepath.Join(dir, "step_4"+n)))
	}
	shifted := openDir(t, dir)
	r := run(t, good, shifted, Options{})
	require.Equal(t, 0, r.ExitCode())
	require.Equal(t, 330, r.Coverage.Compared)
	require.Equal(t, []int{40, 41, 42, 43}, r.Target.Steps, "as they lie on disk")

	offset := -40
	require.Equal(t, 0, run(t, good, shifted, Options{View: normalize.Options{StepOffset: &offset}}).ExitCode())
}

// What noise.go rests on, measured again.
func TestNoiseFigures(t *testing.T) {
	const l = "llama3-gqa-bf16"
	var equalInputs, anyGain, linearGain, far float64
	for _, pair := range [][2]string{{l, l + "-splitk"}, {l + "-splitk", l}, {"llama3-gqa-fp32", l}, {"llama3-gqa-fp64", l}, {"llama3-gqa-fp32", l + "-splitk"}} {
		for _, m := range run(t, open(t, pair[0]), open(t, pair[1]), Options{}).Modules {
			if m.Inputs == nil || m.Outputs == nil {
				continue
			}
			in, out := report.GapOf(m.Inputs), report.GapOf(m.Outputs)
			far = max(far, out)
			kind := topology.Of(m.Module).Kind
			if kind.IsBlock() {
				continue
			}
			if in < 3e-3 {
				equalInputs = max(equalInputs, out)
			}
			if need := gainNeeded(in, out, rounding.Noise(m.Outputs.DTypes[1])); kind == topology.Attention || kind == topology.Activation {
				anyGain = max(anyGain, need)
			} else {
				linearGain = max(linearGain, need)
			}
		}
	}
	// Each figure of noise.go, between a lower end that shows the fixtures hold
	// noise at all and the figure itself.
	for _, f := range []struct {
		name           string
		v, least, most float64
	}{
		{"rel_l2 added to inputs that agree", equalInputs, 4e-3, 5.25e-3},
		{"gain of activations and attention", anyGain, 1.9, 2.75},
		{"gain of other modules", linearGain, 0.9, 1.15},
		{"accumulated rel_l2", far, 2e-2, 2.2e-2},
	} {
		t.Logf("%s: %.3g", f.name, f.v)
		require.GreaterOrEqual(t, f.v, f.least, f.name)
		require.LessOrEqual(t, f.v, f.most, f.name)
	}
}

func gainNeeded(in, out, noise float64) float64 {
	if in == 0 || out <= noise {
		return 0
	}
	return math.Sqrt(out*out-noise*noise) / in
}
