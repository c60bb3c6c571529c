package evidence

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
)

func checkpoint(t *testing.T, dir string) *model.Checkpoint {
	t.Helper()
	c, err := model.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func session(t *testing.T, name string) *il.Session {
	t.Helper()
	s, err := il.Open(fixture.Session(t, name))
	require.NoError(t, err)
	return s
}

func diff(t *testing.T, a, b *il.Session, e compare.Evidence) *report.Report {
	t.Helper()
	r, err := compare.Sessions(a, b, compare.Options{Evidence: e})
	require.NoError(t, err)
	return r
}

var fixtures = []struct {
	name, base, checkpoint string
	at                     string // "" for none
}{
	{"llama3-gqa-bf16", "llama3-gqa-bf16", "llama3-gqa", ""},
	{"llama3-gqa-bf16-splitk", "llama3-gqa-bf16", "llama3-gqa", ""},
	{"llama3-gqa-bf16-tp2", "llama3-gqa-bf16", "llama3-gqa", ""},
	{"llama3-gqa-bf16-chunk4", "llama3-gqa-bf16", "llama3-gqa", ""},
	{"llama3-gqa-bf16-pad5", "llama3-gqa-bf16", "llama3-gqa", ""},
	{"llama3-gqa-bf16-batch3", "llama3-gqa-bf16", "llama3-gqa", ""},
	{"gopher-1m-bf16", "gopher-1m-bf16", "gopher-1m", ""},
	{"llama3-gqa-bf16-fault-rope_theta", "llama3-gqa-bf16", "llama3-gqa", "step_0/model.layers.0.self_attn.rotary_emb/outputs_0"},
	{"llama3-gqa-bf16-fault-kv_swapped", "llama3-gqa-bf16", "llama3-gqa", "step_0/model.layers.1.self_attn.qkv_proj/outputs_0"},
	{"llama3-gqa-bf16-fault-row_scale", "llama3-gqa-bf16", "llama3-gqa", "step_0/model.layers.0.self_attn.o_proj/outputs_0"},
	{"gopher-1m-bf16-fault", "gopher-1m-bf16", "gopher-1m", "step_0/model.layers.0.mlp.act_fn/outputs"},
}

// By replay every fault of the fixtures is named where it is, under any noise
// of the reference, and nothing else is.
func TestReplay(t *testing.T) {
	for _, c := range fixtures {
		t.Run(c.name, func(t *testing.T) {
			base, target := session(t, c.base), session(t, c.name)
			joined, notes := normalize.Ranks(target, base)
			replay, skipped, err := Replay(context.Background(), joined, &notes, checkpoint(t, fixture.Checkpoint(c.checkpoint)), nil, "", t.TempDir())
			require.NoError(t, err)
			require.Empty(t, skipped)
			for _, ref := range []*il.Session{base, target} {
				r := diff(t, ref, target, compare.Evidence{Replay: replay})
				require.Equal(t, report.RuleReplay, r.Rule)
				judged(t, r, c.at)
				require.Empty(t, r.Fallback)
			}
		})
	}
}

func judged(t *testing.T, r *report.Report, at string) {
	t.Helper()
	if at == "" {
		if r.FirstDivergence != nil {
			t.Fatalf("%s: %s", r.FirstDivergence, r.FirstDivergence.Why)
		}
		return
	}
	require.NotNil(t, r.FirstDivergence)
	require.Equal(t, at, r.FirstDivergence.String(), r.FirstDivergence.Why)
	module := r.FirstDivergence.Module
	for _, m := range r.Modules {
		if m.Verdict == report.Fail {
			require.Equal(t, module, m.Module, "step %d: %s", m.Step, m.Why)
		}
	}
}

// By oracle and floor too.
func TestFloor(t *testing.T) {
	for _, c := range fixtures {
		t.Run(c.name, func(t *testing.T) {
			base, target := session(t, c.base), session(t, c.name)
			oracle, floor := floors(t, target, base, fixture.Checkpoint(c.checkpoint))
			r := diff(t, base, target, compare.Evidence{Oracle: oracle, Floor: floor})
			require.Equal(t, report.RuleFloor, r.Rule)
			if testing.Verbose() {
				logRatios(t, r)
			}
			judged(t, r, c.at)
			require.Empty(t, r.Fallback)
		})
	}
}

func floors(t *testing.T, target, base *il.Session, dir string) (oracle, floor *il.Session) {
	t.Helper()
	joined, _ := normalize.Ranks(target, base)
	var out [2]*il.Session
	for i, d := range []tensor.DType{tensor.Float64, tensor.BFloat16} {
		s, err := Run(context.Background(), joined, checkpoint(t, dir), d, t.TempDir())
		require.NoError(t, err)
		out[i] = s
	}
	return out[0], out[1]
}

// logRatios shows what the limit rests on.
func logRatios(t *testing.T, r *report.Report) {
	var worst, token, scale *report.TensorDiff
	for _, x := range r.Tensors {
		if x.NoiseRatio == nil || x.Verdict == report.Inherited {
			continue
		}
		if worst == nil || x.NoiseRatio.Ratio > worst.NoiseRatio.Ratio {
			worst = x
		}
		if token == nil || x.NoiseRatio.Token > token.NoiseRatio.Token {
			token = x
		}
		if scale == nil || x.NoiseRatio.Scale != nil && (scale.NoiseRatio.Scale == nil || math.Abs(x.NoiseRatio.Scale.MinusOne) > math.Abs(scale.NoiseRatio.Scale.MinusOne)) {
			scale = x
		}
	}
	for name, x := range map[string]*report.TensorDiff{"ratio": worst, "token": token, "scale": scale} {
		if x != nil {
			t.Logf("worst %s %v: ratio %.3g token %.3g scale %.3v (rel_l2 %.2g, emulation %.2g)", name, x.Key, x.NoiseRatio.Ratio, x.NoiseRatio.Token, x.NoiseRatio.Scale, x.NoiseRatio.Target.RelL2, x.NoiseRatio.Emulation.RelL2)
		}
	}
}

// A wrong eps in the checkpoint moves the scale of the first norm and no ratio
// to its limit. The clean run of the same rows passes.
func TestWrongEps(t *testing.T) {
	good := fixture.Checkpoint("llama3-gqa")
	bad := t.TempDir()
	entries, err := os.ReadDir(good)
	require.NoError(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(good, e.Name()))
		require.NoError(t, err)
		if e.Name() == "config.json" {
			require.Contains(t, string(b), `"rms_norm_eps": 1e-05`)
			b = []byte(strings.Replace(string(b), `"rms_norm_eps": 1e-05`, `"rms_norm_eps": 2e-03`, 1))
		}
		require.NoError(t, os.WriteFile(filepath.Join(bad, e.Name()), b, 0o644))
	}
	ctx := context.Background()
	plan := session(t, "llama3-gqa-bf16-batch3") // 23 rows
	made := map[string]*il.Session{}
	for _, x := range []struct {
		name, dir string
		dtype     tensor.DType
	}{{"bad", bad, tensor.BFloat16}, {"good", good, tensor.BFloat16}, {"oracle", good, tensor.Float64}} {
		made[x.name], err = Run(ctx, plan, checkpoint(t, x.dir), x.dtype, t.TempDir())
		require.NoError(t, err)
	}
	e := compare.Evidence{Oracle: made["oracle"], Floor: made["good"]}
	judged(t, diff(t, made["good"], made["good"], e), "")
	r := diff(t, made["good"], made["bad"], e)
	require.NotNil(t, r.FirstDivergence)
	require.Equal(t, "step_0/model.layers.0.input_layernorm/outputs", r.FirstDivergence.String(), r.FirstDivergence.Why)
	require.Contains(t, r.FirstDivergence.Why, "the size of the output is off")
}
