package evidence

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/model/safetensors"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

// Mistakes that an engine can make in latent attention and in mixtures with shared experts are
// found at the module that makes them, in each era, by the replay of what it was given.
func TestLatentFaults(t *testing.T) {
	const layer = "model.layers.1."
	for _, c := range []struct {
		what, folder   string
		config         [2]string // of config.json: from, to
		weight         string
		change         func(w *tensor.Tensor)
		at2025, at2026 string
	}{
		{
			what: "keys' and values' rows of a head swapped", folder: "deepseek3", weight: layer + "self_attn.kv_b_proj.weight", change: swapHalves,
			at2025: layer + "self_attn.kv_b_proj", at2026: layer + "self_attn.mla_attn.mla_attn",
		},
		{
			what: "yarn without mscale_all_dim", folder: "deepseek3", config: [2]string{`"mscale_all_dim": 0.7`, `"mscale_all_dim": 0.0`},
			at2025: "model.layers.0.self_attn.rotary_emb", at2026: "model.layers.0.self_attn.rotary_emb",
		}, // of which the table has a factor too
		{
			what: "eps of the latents' norms", folder: "deepseek3", config: [2]string{`"rms_norm_eps": 1e-06`, `"rms_norm_eps": 0.1`},
			at2025: "model.layers.0.input_layernorm", at2026: "model.layers.0.input_layernorm",
		},
		{
			what: "no bias in the choice of experts", folder: "deepseek3", weight: layer + "mlp.gate.e_score_correction_bias", change: zero,
			at2025: layer + "mlp.experts", at2026: layer + "mlp.experts",
		},
		{
			what: "one group too few", folder: "deepseek3", config: [2]string{`"topk_group": 2`, `"topk_group": 3`},
			at2025: layer + "mlp.experts", at2026: layer + "mlp.experts",
		},
		{
			what: "factor on the sum of experts", folder: "deepseek3", config: [2]string{`"routed_scaling_factor": 2.5`, `"routed_scaling_factor": 1.25`},
			at2025: layer + "mlp", at2026: layer + "mlp.experts",
		},
		{
			what: "weights that are renormalised", folder: "deepseek2", config: [2]string{`"norm_topk_prob": false`, `"norm_topk_prob": true`},
			at2025: layer + "mlp.experts", at2026: layer + "mlp.experts",
		},
		{
			what: "rope on the whole head", folder: "glm4moe", config: [2]string{`"partial_rotary_factor": 0.5`, `"partial_rotary_factor": 1.0`},
			at2025: "model.layers.0.self_attn.rotary_emb", at2026: "model.layers.0.self_attn.rotary_emb",
		},
		{
			what: "the factor left out", folder: "glm4moe", config: [2]string{`"routed_scaling_factor": 2.2`, `"routed_scaling_factor": 1.0`},
			at2025: layer + "mlp", at2026: layer + "mlp.experts",
		},
	} {
		for rounding, at := range map[nn.Rounding]string{nn.VLLM2025: c.at2025, nn.VLLM2026: c.at2026} {
			t.Run(c.what+" "+string(rounding), func(t *testing.T) {
				right, wrong := fixture.Architecture(c.folder), faulty(t, c.folder, c.config, c.weight, c.change)
				s, bad := loggedAs(t, right, rounding), loggedAs(t, wrong, rounding)
				replay, skipped, err := Replay(context.Background(), bad, nil, checkpoint(t, right), nil, rounding, t.TempDir())
				require.NoError(t, err)
				require.Empty(t, skipped)
				r := diff(t, s, bad, compare.Evidence{Replay: replay})
				require.Equal(t, report.Fail, r.Verdict)
				require.NotNil(t, r.FirstDivergence)
				require.Equal(t, at, r.FirstDivergence.Module)
			})
		}
	}
}

// faulty is a folder of an architecture with another config.json or weight.
func faulty(t *testing.T, folder string, config [2]string, weight string, change func(*tensor.Tensor)) string {
	dir, from := t.TempDir(), fixture.Architecture(folder)
	text, err := os.ReadFile(filepath.Join(from, "config.json"))
	require.NoError(t, err)
	edited := strings.ReplaceAll(string(text), config[0], config[1])
	if weight == "" {
		require.NotEqual(t, string(text), edited)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(edited), 0o644))
	data, err := os.ReadFile(filepath.Join(from, "model.safetensors"))
	require.NoError(t, err)
	if weight != "" {
		f, err := safetensors.Parse("model.safetensors", data)
		require.NoError(t, err)
		w, err := f.Tensor(weight)
		require.NoError(t, err)
		change(w) // a view of the data
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), data, 0o644))
	return dir
}

// swapHalves swaps the first rows and the last, as many as there are of the fewer.
func swapHalves(w *tensor.Tensor) {
	row := w.Shape[1] * w.DType.Size()
	b := w.Data[w.Offset*w.DType.Size():]
	for i := range 9 { // a head has 10 rows of keys, and 9 of values
		x, y := b[i*row:][:row], b[(10+i)*row:][:row]
		kept := append([]byte(nil), x...)
		copy(x, y)
		copy(y, kept)
	}
}

func zero(w *tensor.Tensor) { clear(w.Bytes()) }

// loggedAs is a run of two requests with a profile.
func loggedAs(t *testing.T, dir string, rounding nn.Rounding) *il.Session {
	m, err := model.Build(checkpoint(t, dir), model.OptionsOf(rounding))
	require.NoError(t, err)
	engine, err := ref.NewEngine(m, ref.Config{DType: tensor.BFloat16, Rounding: rounding})
	require.NoError(t, err)
	cfg := il.DefaultConfig()
	cfg.OutputDir, cfg.LogStepIDs = t.TempDir(), nil
	logger, err := il.NewLogger(cfg, il.LoggerOptions{})
	require.NoError(t, err)
	engine.Hooks = logger
	requests := []*ref.Request{{Prompt: []int{1, 17, 30, 99, 4, 58, 7, 120, 66}, MaxTokens: 1}, {Prompt: []int{1, 90, 12}, MaxTokens: 1}}
	require.NoError(t, engine.Generate(context.Background(), requests, 16, nil))
	require.NoError(t, logger.Close())
	s, err := il.Open(logger.Dir())
	require.NoError(t, err)
	return s
}
