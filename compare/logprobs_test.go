package compare

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/render"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
)

// goldenLogprobs is what torch.log_softmax gives (testdata/sessions/logprobs.py).
type goldenLogprobs struct {
	Reference, Target string
	NoNext            int `json:"no_next"`
	OtherNext         int `json:"other_next"`
	All               map[string]float64
	Requests          []map[string]float64
	RunTokens         []struct {
		Position, ID int
		Log, KL      [2]float64
	} `json:"run_tokens"`
}

// figuresOf are the figures by the names that torch's have.
func figuresOf(f *report.LogprobFigures) map[string]float64 {
	return map[string]float64{
		"tokens": float64(f.Tokens), "mean_log_ratio": f.Mean, "mean_abs_log_ratio": f.MeanAbs, "max_abs_log_ratio": f.MaxAbs, "k3": f.K3,
		"kl_reference_target": f.KL[0], "kl_target_reference": f.KL[1], "max_kl_reference_target": f.MaxKL[0], "max_kl_target_reference": f.MaxKL[1],
		"mean_exp_abs_log_ratio": f.MeanExpAbs, "ess": f.ESS, "clipped": f.Clipped, "max_prob_diff": f.MaxProbDiff, "mean_prob_diff": f.MeanProbDiff,
	}
}

// Every figure is that of an independent computation, whether the sessions lay out
// their tokens alike or one is a trainer's forward over prompt and response.
func TestLogprobsGolden(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "testdata", "sessions", "logprobs.json"))
	require.NoError(t, err)
	var golden []goldenLogprobs
	require.NoError(t, json.Unmarshal(data, &golden))
	require.NotEmpty(t, golden)
	for _, g := range golden {
		t.Run(g.Reference+" "+g.Target, func(t *testing.T) {
			ref, target := open(t, g.Reference), open(t, g.Target)
			r := run(t, ref, target, Options{})
			l := r.Logprobs
			require.NotNil(t, l)
			require.Empty(t, l.Why)
			require.Equal(t, [2]int{g.NoNext, g.OtherNext}, [2]int{l.NoNext, l.OtherNext})
			near := func(want, got float64, what string) {
				require.InDelta(t, want, got, 1e-12+1e-10*math.Abs(want), what)
			}
			byPlace := map[[2]int]report.TokenLogprob{} // position and id: requests may be numbered otherwise
			for _, x := range l.Tokens {
				byPlace[[2]int{x.Position, x.ID}] = x
			}
			require.Len(t, l.Tokens, len(g.RunTokens))
			for _, w := range g.RunTokens {
				x, ok := byPlace[[2]int{w.Position, w.ID}]
				require.True(t, ok, "token %d at %d", w.ID, w.Position)
				for i := range 2 {
					near(w.Log[i], x.Log[i], "log p")
					near(w.KL[i], x.KL[i], "KL")
				}
			}
			for name, got := range figuresOf(&l.LogprobFigures) {
				near(g.All[name], got, name)
			}
			require.Len(t, l.Requests, len(g.Requests))
			for i := range g.Requests {
				for name, got := range figuresOf(&l.Requests[i].LogprobFigures) {
					near(g.Requests[i][name], got, fmt.Sprintf("request %d, %s", i, name))
				}
			}
			if l.MaxAbs > 0 {
				require.NotNil(t, l.Worst.Parts)
			}
			requireMerged(t, r, ref, target, Options{}, 3)
		})
	}
}

// column changes one column of logits.
func column(id int, to float64) func([]float64) {
	return func(v []float64) {
		for i := id; i < len(v); i += llamaVocabulary {
			v[i] = to
		}
	}
}

const llamaVocabulary = 320 // of the checkpoint llama3-gqa

// Logits that are not finite give no NaN: a masked token has a probability of 0, and
// rows without a distribution are left out and counted.
func TestLogprobsNotFinite(t *testing.T) {
	whole := open(t, base)
	good := edited(t, whole, func(string) {})
	logits := func(step string, change func([]float64)) *il.Session {
		return edited(t, whole, func(dir string) { rewrite(t, file(dir, step, "logits_processor/outputs"), change) })
	}
	for _, c := range []struct {
		name        string
		ref, target *il.Session
		tokens      int
		infinite    int
		undefined   int
		ratio       float64 // the largest |log ratio|
	}{
		{"the run token is masked in the target", good, logits("step_1", column(77, math.Inf(-1))), 1, 1, 0, math.Inf(1)},
		{"and in the reference", logits("step_1", column(77, math.Inf(-1))), good, 1, 1, 0, math.Inf(1)},
		{"on both sides", logits("step_1", column(77, math.Inf(-1))), logits("step_1", column(77, math.Inf(-1))), 0, 0, 1, 0},
		{"another token is masked on both sides", logits("step_1", column(3, math.Inf(-1))), logits("step_1", column(3, math.Inf(-1))), 1, 0, 0, 0},
		{"NaN", good, logits("step_1", column(3, math.NaN())), 0, 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, c.ref, c.target, Options{})
			l := r.Logprobs
			require.Equal(t, [3]int{c.tokens, c.infinite, c.undefined}, [3]int{l.LogprobFigures.Tokens, l.Infinite, l.Undefined})
			require.Equal(t, c.ratio, l.MaxAbs)
			for name, v := range figuresOf(&l.LogprobFigures) {
				require.False(t, math.IsNaN(v), name)
			}
			requireMerged(t, r, c.ref, c.target, Options{}, 2)
		})
	}
}

// Bounds of logprobs fail with figure, token and module where no module fails, stand
// beside a fault, and pass nothing where there is nothing to hold to them.
func TestLogprobsPolicy(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	good := open(t, base)
	short := edited(t, good, func(string) {})
	without := edited(t, good, func(dir string) {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "step_1", "logits_processor")))
		list := filepath.Join(dir, "step_1", "module_calls.txt")
		lines, err := os.ReadFile(list)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(list, []byte(strings.ReplaceAll(string(lines), "logits_processor\n", "")), 0o644))
	})
	noise, fault := open(t, base+"-splitk"), open(t, base+"-fault-row_scale")
	for _, c := range []struct {
		name        string
		ref, target *il.Session
		o           Options
		exit        int
		at, why     string // of the first divergence
		none        string // why there are no tokens
	}{
		{"kept", good, noise, Options{Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxAbsLogRatio: v(0.02), MinESS: v(0.99)}}}, 0, "", "", ""},
		{
			"broken", good, noise,
			Options{Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxAbsLogRatio: v(0.01)}}},
			1, "step_1/logits_processor/outputs",
			"max |log ratio| 0.0139 is above 0.01; worst at request 0, position 11, token 77: its row is within rounding everywhere, and first different in step 0, model.layers.0.self_attn.qkv_proj, output 0 (rel_l2 2.4e-03)", "",
		},
		{
			"the clip range of the options", good, noise,
			Options{Clip: v(1e-3), Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxClipped: v(0)}}},
			1, "step_1/logits_processor/outputs",
			"100 % of the ratios lie outside [0.999, 1.001], and 0 % may", "",
		},
		{"a fault comes first", good, fault, Options{Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxAbsLogRatio: v(0.01)}}}, 1, "step_0/model.layers.0.self_attn.o_proj/outputs_0", "inputs agree to the bit", ""},
		{"one side lacks them", short, without, Options{Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxKL: v(1)}}}, 3, "", "", "the logits: missing in the target"},
		{"the other", without, short, Options{CommonOnly: true, Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxKL: v(1)}}}, 3, "", "", "neither session recorded logits, or none are among the compared modules: those of step n lie in step n+1, so log that too"},
		{"both", without, without, Options{Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxKL: v(1)}}}, 3, "", "", "neither session recorded logits, or none are among the compared modules: those of step n lie in step n+1, so log that too"},
		{"no bounds", without, without, Options{}, 0, "", "", ""},
		{"not selected", good, good, Options{Modules: []string{"embed"}, Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxKL: v(1)}}}, 3, "", "", "neither session recorded logits, or none are among the compared modules: those of step n lie in step n+1, so log that too"},
		{
			"left out", good, good,
			Options{Policy: &report.Policy{Logprobs: &report.LogprobBounds{MaxKL: v(1)}, Rules: []report.PolicyRule{rule(t, "logits", report.PolicyRule{Skip: true, Reason: "x"})}}},
			3, "", "",
			"the policy leaves the logits out",
		},
		{"bounds for all tensors", good, noise, Options{Bounds: report.Bounds{MaxRelL2: v(1)}}, 0, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, c.ref, c.target, c.o)
			require.Equal(t, c.exit, r.ExitCode(), text(t, r, render.TextOptions{}))
			if c.at != "" {
				require.Equal(t, c.at, r.FirstDivergence.String())
				require.Contains(t, r.FirstDivergence.Why, c.why)
				require.NotEmpty(t, r.Logprobs.Broken)
				require.Contains(t, text(t, r, render.TextOptions{}), "\n  Beyond the policy: "+r.Logprobs.Broken[0])
			}
			if c.none != "" {
				require.Equal(t, c.none, r.Logprobs.Why)
				require.Contains(t, text(t, r, render.TextOptions{}), "\nLogprobs: none, though the policy bounds them: "+c.none+".\n")
			}
			requireMerged(t, r, c.ref, c.target, c.o, 3)
		})
	}
}

// The module is named at which the row of the worst token first parts, whether its
// fault is in a chunk of a prompt or reaches it through modules that nobody recorded.
func TestLogprobsParting(t *testing.T) {
	whole := open(t, base)
	good := edited(t, whole, func(string) {})
	for _, c := range []struct {
		name   string
		change func(dir string)
		at     report.Key
		within bool
	}{
		{"the last row of a prompt", func(dir string) {
			for _, x := range []string{"model.layers.2.mlp.down_proj/outputs_0", "model.layers.2.mlp/outputs"} {
				rewrite(t, file(dir, "step_0", x), func(v []float64) { scaled(1.2)(v[len(v)-64:]) })
			}
			rewrite(t, file(dir, "step_1", "logits_processor/outputs"), func(v []float64) { v[77]++ })
		}, report.Key{Step: 0, Module: "model.layers.2.mlp.down_proj", Direction: report.Outputs, Slot: "0"}, false},
		{"logits alone", func(dir string) {
			rewrite(t, file(dir, "step_1", "logits_processor/outputs"), func(v []float64) { v[77]++ })
		}, report.Key{Step: 1, Module: "logits_processor", Direction: report.Outputs}, false},
		{"an input", func(dir string) {
			rewrite(t, file(dir, "step_0", "model.layers.1.mlp/inputs_0"), func(v []float64) { scaled(2)(v[len(v)-64:]) })
			rewrite(t, file(dir, "step_1", "logits_processor/outputs"), func(v []float64) { v[77]++ })
		}, report.Key{Step: 0, Module: "model.layers.1.mlp", Direction: report.Inputs, Slot: "0"}, false},
		{"within rounding", func(dir string) {
			rewrite(t, file(dir, "step_0", "model.layers.1.mlp.act_fn/outputs"), func(v []float64) { scaled(1.01)(v[len(v)-1:]) })
			rewrite(t, file(dir, "step_1", "logits_processor/outputs"), func(v []float64) { v[77] += 0.02 })
		}, report.Key{Step: 0, Module: "model.layers.1.mlp.act_fn", Direction: report.Outputs}, true},
		{"another row", func(dir string) {
			rewrite(t, file(dir, "step_0", "model.layers.2.mlp.down_proj/outputs_0"), func(v []float64) { scaled(2)(v[:64]) })
			rewrite(t, file(dir, "step_1", "logits_processor/outputs"), func(v []float64) { v[77]++ })
		}, report.Key{Step: 1, Module: "logits_processor", Direction: report.Outputs}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := edited(t, whole, c.change)
			r := run(t, good, target, Options{})
			w := r.Logprobs.Worst
			require.Equal(t, [2]int{11, 77}, [2]int{w.Position, w.ID})
			require.Equal(t, c.at, w.Parts.Key, w.Parts.String())
			require.Equal(t, c.within, w.Parts.Within)
			requireMerged(t, r, good, target, Options{}, 4)
		})
	}
}

// Several requests have a line each, the worst first and a few of them.
func TestLogprobsRequests(t *testing.T) {
	whole := open(t, base+"-batch3")
	good := edited(t, whole, func(string) {})
	target := edited(t, whole, func(dir string) {
		rewrite(t, file(dir, "step_1", "logits_processor/outputs"), func(v []float64) {
			for i := range v { // a row a request
				v[i] *= []float64{1, 1.004, 1.02}[i/llamaVocabulary]
			}
		})
	})
	r := run(t, good, target, Options{})
	require.Len(t, r.Logprobs.Requests, 3)
	require.Zero(t, r.Logprobs.Requests[0].MaxAbs)
	require.Greater(t, r.Logprobs.Requests[2].MaxAbs, r.Logprobs.Requests[1].MaxAbs)
	require.Equal(t, 2, r.Logprobs.Worst.Request)
	require.NotNil(t, r.Logprobs.Requests[1].Worst.Parts)
	require.Regexp(t, `(?m)^Logprobs of 3 run tokens: .*\n  Largest .* at request 2, .*\n  request 2, 1 token: .*\n  request 1, 1 token: .*\n  request 0, 1 token: \|log ratio\| mean 0, max 0; KL 0; ESS 1; 0 % outside \[0.8, 1.2\]\n`, text(t, r, render.TextOptions{}))
	requireMerged(t, r, good, target, Options{}, 3)
}
