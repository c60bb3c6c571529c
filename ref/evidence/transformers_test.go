package evidence

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/normalize"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// transformersRun is a session of transformers' own model, the checkpoint that it
// ran and the profile that it has.
type transformersRun struct {
	session, checkpoint string
	rounding            nn.Rounding
}

// Those of testdata/sessions/hf-rounding.py without a fault.
var transformersRuns = []transformersRun{
	{"hf-llama-sdpa", "llama-default", nn.Transformers},
	{"hf-llama-eager", "llama-default", nn.TransformersEager},
	{"hf-llama-chunks", "llama-default", nn.Transformers},
	{"hf-llama-fp16-sdpa", "llama-default", nn.Transformers},
	{"hf-llama-fp16-eager", "llama-default", nn.TransformersEager},
	{"hf-mistral-sdpa", "mistral-window", nn.Transformers},
	{"hf-qwen2-eager", "qwen2-window", nn.TransformersEager},
	{"hf-qwen3-fp16-sdpa", "qwen3", nn.Transformers},
	{"hf-phi3-eager", "phi3-partial", nn.TransformersEager},
	{"hf-phi3-long-sdpa", "phi3-longrope-long", nn.Transformers},
	{"hf-olmo2-sdpa", "olmo2", nn.Transformers},
	{"hf-olmo2-fp16-eager", "olmo2", nn.TransformersEager},
	{"hf-mixtral-sdpa", "mixtral", nn.Transformers},
	{"hf-qwen2moe-sdpa", "qwen2moe", nn.Transformers},
	{"hf-qwen3moe-fp16-eager", "qwen3moe", nn.TransformersEager},
	{"hf-granitemoe-sdpa", "granitemoe", nn.Transformers},
	{"hf-deepseek2-eager", "deepseek2", nn.TransformersEager},
	{"hf-deepseek3-sdpa", "deepseek3", nn.Transformers},
	{"hf-glm4moe-sdpa", "glm4moe", nn.Transformers},
	{"hf-granite-eager", "granite", nn.TransformersEager},
	{"hf-seedoss-sdpa", "seedoss", nn.Transformers},
	{"hf-glm4-sdpa", "glm4", nn.Transformers},
	{"hf-glm-eager", "glm", nn.TransformersEager},
	{"hf-cohere2-sdpa", "cohere2", nn.Transformers},
	{"hf-cohere-eager", "cohere-qknorm", nn.TransformersEager},
	{"hf-ernie45-sdpa", "ernie45", nn.Transformers},
	{"hf-phi4-eager", "phi4-mini-long", nn.TransformersEager},
	{"hf-gptoss-eager", "gptoss", nn.TransformersEager},
	{"hf-gemma2-eager", "gemma2", nn.TransformersEager},
	{"hf-gemma2-sdpa", "gemma2", nn.Transformers},
	{"hf-gemma3-sdpa", "gemma3", nn.Transformers},
	{"hf-olmo3-sdpa", "olmo3", nn.Transformers},
	{"hf-exaone4-sdpa", "exaone4", nn.Transformers},
	{"hf-smollm3-sdpa", "smollm3", nn.Transformers},
	{"hf-smollm3-eager", "smollm3-biases", nn.TransformersEager},
	{"hf-odd-sdpa", "hf-odd", nn.Transformers},
	{"hf-odd-fp16-eager", "hf-odd", nn.TransformersEager},
	{fast, "hf-odd", nn.Transformers},
}

// fast is a run of torch's kernel with an exponential that is off by 1e-4: fewer
// of its attention's bits are right, and no rounding explains more.
const fast = "hf-odd-fp16-sdpa-fast"

func transformersCheckpoint(name string) string {
	if name == "hf-odd" {
		return fixture.Checkpoint(name)
	}
	return fixture.Architecture(name)
}

// replayOf replays a session with a profile, under vLLM's names.
func replayOf(t *testing.T, s *il.Session, dir string, as nn.Rounding) (canonical, replay *il.Session) {
	t.Helper()
	return replayWith(t, s, transformersCheckpoint(dir), as)
}

// replayWith is replayOf with the checkpoint in a folder.
func replayWith(t *testing.T, s *il.Session, dir string, as nn.Rounding) (canonical, replay *il.Session) {
	t.Helper()
	ckpt := checkpoint(t, dir)
	s.TellModel(ckpt.Config.Architectures[0])
	canonical, notes := normalize.Canonical(s, nil, ckpt.Config.NumKeyValueHeads, topology.ByName(ckpt.Config.Architectures[0], as.Era()))
	replay, skipped, err := Replay(context.Background(), canonical, &notes, ckpt, nil, as, t.TempDir())
	require.NoError(t, err)
	require.Empty(t, skipped)
	return canonical, replay
}

// Every module of transformers, given what it was given there, returns at least
// 99 of 100 values to the bit: sums in another order may fall to the other side of
// a rounding boundary. The values that differ are within what rounding explains.
func TestTransformersBits(t *testing.T) {
	kinds := map[string]*bits{}
	for _, c := range transformersRuns {
		t.Run(c.session, func(t *testing.T) {
			s := session(t, c.session)
			rounding := nn.RoundingOf(s.EngineByNames())
			if c.session != "hf-odd-fp16-eager" { // its attention's weights are not recorded
				require.Equal(t, c.rounding, rounding)
			}
			canonical, replay := replayOf(t, s, c.checkpoint, c.rounding)
			modules := bitsOf(t, canonical, replay)
			require.NotEmpty(t, modules)
			for _, m := range slices.Sorted(maps.Keys(modules)) {
				b := modules[m]
				if c.session != fast || topology.Of(m).Kind != topology.Attention {
					require.GreaterOrEqual(t, b.equal, b.total-max(b.total/100, 1), "%s: %d of %d values equal", m, b.equal, b.total)
				}
				require.Less(t, b.farthest, 6., "%s", m)
				what := fmt.Sprintf("%s %s", topology.Of(m).Class, b.dtype)
				if topology.Of(m).Kind == topology.Attention {
					what += " " + string(c.rounding)
				}
				if c.session == fast {
					what += " fast"
				}
				if kinds[what] == nil {
					kinds[what] = &bits{}
				}
				kinds[what].equal += b.equal
				kinds[what].total += b.total
				kinds[what].farthest = max(kinds[what].farthest, b.farthest)
			}
		})
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		b := kinds[k]
		t.Logf("%-44s %7d of %7d, %.3f %%, at most %.1f σ", k, b.equal, b.total, 100*float64(b.equal)/float64(b.total), b.farthest)
	}
}

// bits counts values.
type bits struct {
	equal, total int
	farthest     float64 // times what rounding explains
	dtype        tensor.DType
}

// bitsOf counts the values of the modules that hold no others.
func bitsOf(t *testing.T, recorded, replay *il.Session) map[string]*bits {
	t.Helper()
	modules := map[string]*bits{}
	for _, st := range replay.Steps {
		for _, c := range st.Calls {
			if topology.Of(c.Module).Kind.IsBlock() {
				continue
			}
			for _, slot := range c.Slots {
				call := recorded.Call(st.Number, c.Module, c.Index)
				if slot.Direction == il.Noise {
					if modules[c.Module] == nil {
						modules[c.Module] = &bits{}
					}
					for _, z := range values(t, slot.Tensors[0]) {
						modules[c.Module].farthest = max(modules[c.Module].farthest, math.Abs(z))
					}
				}
				if slot.Direction != il.Outputs || call == nil || call.Slot(il.Outputs, slot.Path) == nil {
					continue
				}
				if modules[c.Module] == nil {
					modules[c.Module] = &bits{}
				}
				modules[c.Module].add(t, call.Slot(il.Outputs, slot.Path).Tensors[0], slot.Tensors[0])
			}
		}
	}
	return modules
}

func (b *bits) add(t *testing.T, recorded, replayed *il.TensorFile) {
	t.Helper()
	require.NoError(t, recorded.With(func(x *tensor.Tensor) error {
		return replayed.With(func(y *tensor.Tensor) error {
			require.Equal(t, x.Shape, y.Shape, recorded.File)
			require.Equal(t, x.DType, y.DType, recorded.File)
			p, q, size := x.Clone().Data, y.Clone().Data, x.DType.Size()
			for i := 0; i < len(p); i += size {
				if bytes.Equal(p[i:i+size], q[i:i+size]) {
					b.equal++
				}
				b.total++
			}
			b.dtype = x.DType
			return nil
		})
	}))
}

func values(t *testing.T, f *il.TensorFile) []float64 {
	t.Helper()
	var v []float64
	require.NoError(t, f.With(func(x *tensor.Tensor) error {
		v = make([]float64, x.Numel())
		return x.Float64s(v, 0)
	}))
	return v
}

// The profiles of other engines do not reach that: what they are told apart by
// is there.
func TestTransformersOtherPoints(t *testing.T) {
	for _, c := range []struct {
		session, checkpoint string
		as                  nn.Rounding
		module              string
	}{
		{"hf-olmo2-sdpa", "olmo2", nn.VLLM2025, "model.norm"},
		{"hf-llama-sdpa", "llama-default", nn.VLLM2026, "model.norm"},
		{"hf-llama-eager", "llama-default", nn.Transformers, "model.layers.0.self_attn.attn"},
		{"hf-odd-sdpa", "hf-odd", nn.TransformersEager, "model.layers.0.self_attn.attn"},
	} {
		canonical, replay := replayOf(t, session(t, c.session), c.checkpoint, c.as)
		b := bitsOf(t, canonical, replay)[c.module]
		require.Less(t, float64(b.equal), 0.97*float64(b.total), "%s as %s: %d of %d", c.session, c.as, b.equal, b.total)
	}
}

// Two runs of transformers that differ in attention or chunks alone pass against
// one another, and each by the replay of its own inputs with the profile of either
// attention, or of another engine whose rope rounds alike: other points are no
// fault.
func TestTransformersNoAlarm(t *testing.T) {
	for _, other := range []string{"hf-llama-eager", "hf-llama-chunks"} {
		for _, pair := range [][2]string{{"hf-llama-sdpa", other}, {other, "hf-llama-sdpa"}} {
			r := diff(t, session(t, pair[0]), session(t, pair[1]), compare.Evidence{})
			require.Equal(t, report.Pass, r.Verdict, "%s", pair)
			require.Equal(t, 100., r.Coverage.Percent())
		}
	}
	for _, c := range transformersRuns {
		profiles := []nn.Rounding{nn.Transformers, nn.TransformersEager, nn.VLLM2025}
		if slices.Contains([]string{"olmo2", "olmo3", "phi3-longrope-long", "gptoss", "ernie45", "phi4-mini-long", "cohere2", "deepseek2"}, c.checkpoint) { // vLLM rotates otherwise
			profiles = profiles[:2]
		}
		if c.session == "hf-gemma2-sdpa" { // whose attention leaves the cap of its scores out
			profiles = profiles[:1]
		}
		for _, as := range profiles {
			t.Run(c.session+" "+string(as), func(t *testing.T) {
				s := session(t, c.session)
				_, replay := replayOf(t, s, c.checkpoint, as)
				r := diff(t, s, s, compare.Evidence{Replay: replay})
				require.Nil(t, r.FirstDivergence)
				require.Equal(t, report.Pass, r.Verdict)
				require.Equal(t, 100., r.Coverage.Percent())
			})
		}
	}
}

// Of equal router logits torch's topk takes another expert than vLLM's kernels, which take
// the first: that is no fault of the experts, as long as the logits are equal.
func TestTransformersTie(t *testing.T) {
	s := session(t, "hf-mixtral-tie")
	ckpt := checkpoint(t, fixture.Architecture("mixtral"))
	canonical, notes := normalize.Canonical(s, nil, ckpt.Config.NumKeyValueHeads)
	replay, _, err := Replay(context.Background(), canonical, &notes, ckpt, nil, nn.Transformers, t.TempDir())
	require.NoError(t, err)
	b := bitsOf(t, canonical, replay)["model.layers.2.block_sparse_moe.experts"]
	require.Less(t, b.equal, b.total-20)
	require.Less(t, b.farthest, 4.)
	r := diff(t, s, s, compare.Evidence{Replay: replay})
	require.Nil(t, r.FirstDivergence)
	require.Equal(t, report.Pass, r.Verdict)
}

// transformers against vLLM's points in bfloat16 and float16, either as the
// reference, with and without the replay of what the target was given: the engines
// round in other places, and no module is at fault.
func TestTransformersAgainstVLLM(t *testing.T) {
	for _, name := range []string{
		"hf-llama-sdpa", "hf-llama-fp16-eager", "hf-qwen2-eager", "hf-qwen3-fp16-sdpa", "hf-phi3-eager", "hf-olmo2-sdpa", "hf-olmo2-fp16-eager", "hf-odd-sdpa",
		"hf-olmo3-sdpa", "hf-exaone4-sdpa", "hf-smollm3-sdpa", "hf-granite-eager", "hf-seedoss-sdpa", "hf-glm4-sdpa", "hf-glm-eager", "hf-cohere2-sdpa",
		"hf-cohere-eager", "hf-ernie45-sdpa", "hf-gemma2-eager", "hf-gemma3-sdpa",
	} {
		c := transformersRuns[slices.IndexFunc(transformersRuns, func(c transformersRun) bool { return c.session == name })]
		for _, as := range []nn.Rounding{nn.VLLM2025, nn.VLLM2026} {
			if (strings.Contains(name, "smollm3") || strings.Contains(name, "olmo2")) && as == nn.VLLM2026 {
				continue // in the transformers backend, fused: below
			}
			if strings.Contains(name, "gemma3") && as == nn.VLLM2026 {
				continue // one activation of all layers, which the names that are run again do not have
			}
			t.Run(name+" "+string(as), func(t *testing.T) {
				hf := session(t, name)
				canonical, replay := replayOf(t, hf, c.checkpoint, c.rounding)
				vllm := runAs(t, canonical, c.checkpoint, as)
				_, vllmReplay := replayOf(t, vllm, c.checkpoint, nn.VLLM2025)
				for _, r := range []*report.Report{
					diff(t, hf, vllm, compare.Evidence{}), diff(t, vllm, hf, compare.Evidence{}),
					diff(t, hf, vllm, compare.Evidence{Replay: vllmReplay}), diff(t, vllm, hf, compare.Evidence{Replay: replay}),
				} {
					require.Nil(t, r.FirstDivergence)
					require.Equal(t, report.Pass, r.Verdict)
				}
			})
		}
	}
}

// SmolLM-3 and OLMo-2 in vLLM of 2026 are transformers' modules with fused linears: all that the two
// have is paired, in the names of that era, and passes, with the replay of vLLM's too.
func TestTransformersAgainstFused(t *testing.T) {
	for _, name := range []string{"smollm3", "olmo2"} {
		t.Run(name, func(t *testing.T) {
			hf := session(t, "hf-"+name+"-sdpa")
			vllm := fused(t, hf, name)
			canonical, replay := replayOf(t, vllm, name, nn.VLLM2026)
			require.NotNil(t, canonical)
			for _, r := range []*report.Report{
				diff(t, hf, vllm, compare.Evidence{}), diff(t, vllm, hf, compare.Evidence{}),
				diff(t, hf, vllm, compare.Evidence{Replay: replay}), diff(t, vllm, hf, compare.Evidence{Replay: replayAgainst(t, hf, vllm, name)}),
			} {
				require.Nil(t, r.FirstDivergence)
				require.Equal(t, report.Pass, r.Verdict)
				require.Equal(t, 100., r.Coverage.Percent())
				require.Greater(t, len(r.Tensors), 100)
			}
		})
	}
}

// replayAgainst replays a session of transformers with its own points, under the names of the one that it
// is held against.
func replayAgainst(t *testing.T, s, other *il.Session, name string) *il.Session {
	t.Helper()
	ckpt := checkpoint(t, transformersCheckpoint(name))
	canonical, notes := normalize.Canonical(s, other, ckpt.Config.NumKeyValueHeads)
	replay, skipped, err := Replay(t.Context(), canonical, &notes, ckpt, nil, nn.Transformers, t.TempDir())
	require.NoError(t, err)
	require.Empty(t, skipped)
	for m, b := range bitsOf(t, canonical, replay) {
		require.GreaterOrEqual(t, b.equal, b.total-max(b.total/100, 1), "%s: %d of %d values equal", m, b.equal, b.total)
	}
	return replay
}

// fused runs the tokens of a session of transformers in the tree of 2026.
func fused(t *testing.T, hf *il.Session, name string) *il.Session {
	t.Helper()
	ckpt := checkpoint(t, transformersCheckpoint(name))
	m, err := model.Build(ckpt, model.OptionsOf(nn.VLLM2026))
	require.NoError(t, err)
	engine, err := ref.NewEngine(m, ref.Config{DType: tensor.BFloat16, Rounding: nn.VLLM2026})
	require.NoError(t, err)
	canonical, _ := normalize.Canonical(hf, nil, ckpt.Config.NumKeyValueHeads, m.Entry)
	plan, err := requests.Read(canonical, nil)
	require.NoError(t, err)
	cfg := il.DefaultConfig()
	cfg.OutputDir, cfg.LogStepIDs = t.TempDir(), nil
	logger, err := il.NewLogger(cfg, il.LoggerOptions{})
	require.NoError(t, err)
	engine.Hooks = logger
	_, err = engine.Rerun(t.Context(), plan, noProgress)
	require.NoError(t, logger.Finish(err))
	out, err := il.Open(logger.Dir())
	require.NoError(t, err)
	return out
}

// Mixtures against vLLM's points, with the replay of what the target was given: without it
// a choice between experts that comes out otherwise after another rounding before it
// looks like a fault of the experts.
func TestTransformersMixturesAgainstVLLM(t *testing.T) {
	for _, c := range transformersRuns {
		if !slices.Contains([]string{"mixtral", "qwen2moe", "qwen3moe", "granitemoe", "deepseek2", "deepseek3", "glm4moe"}, c.checkpoint) {
			continue
		}
		for _, as := range []nn.Rounding{nn.VLLM2025, nn.VLLM2026} {
			if c.checkpoint == "qwen2moe" && as == nn.VLLM2026 {
				continue // logged is what transformers has, in which its era cannot be seen
			}
			t.Run(c.session+" "+string(as), func(t *testing.T) {
				hf := session(t, c.session)
				canonical, replay := replayOf(t, hf, c.checkpoint, c.rounding)
				vllm := runAs(t, canonical, c.checkpoint, as)
				_, vllmReplay := replayOf(t, vllm, c.checkpoint, as)
				for _, r := range []*report.Report{diff(t, hf, vllm, compare.Evidence{Replay: vllmReplay}), diff(t, vllm, hf, compare.Evidence{Replay: replay})} {
					require.Nil(t, r.FirstDivergence)
					require.Equal(t, report.Pass, r.Verdict)
				}
			})
		}
	}
}

// DeepSeek-V3 in float32: transformers' run and that of either era of vLLM pass, though one of them
// computes in the space of the latents, and so does the replay of each.
func TestTransformersLatentsFloat32(t *testing.T) {
	hf := session(t, "hf-deepseek3-fp32")
	for _, as := range []nn.Rounding{nn.VLLM2025, nn.VLLM2026} {
		canonical, replay := replayOf(t, hf, "deepseek3-kimi", as)
		vllm := runAs(t, canonical, "deepseek3-kimi", as)
		for _, r := range []*report.Report{diff(t, hf, vllm, compare.Evidence{}), diff(t, vllm, hf, compare.Evidence{Replay: replay})} {
			require.Nil(t, r.FirstDivergence)
			require.Equal(t, report.Pass, r.Verdict)
			require.Equal(t, 100., r.Coverage.Percent())
		}
	}
}

// runAs runs the tokens of a session with a profile.
func runAs(t *testing.T, s *il.Session, dir string, as nn.Rounding) *il.Session {
	t.Helper()
	engine, err := newEngine(s, checkpoint(t, transformersCheckpoint(dir)), ref.ActivationDType(s), as)
	require.NoError(t, err)
	plan, err := requests.Read(s, nil)
	require.NoError(t, err)
	logger, err := newLogger(s, t.TempDir())
	require.NoError(t, err)
	engine.Hooks = logger
	_, err = engine.Rerun(context.Background(), plan, noProgress)
	require.NoError(t, logger.Finish(err))
	out, err := il.Open(logger.Dir())
	require.NoError(t, err)
	return out
}

// Faults that were planted in transformers are named where they are. What is
// rotated is a tensor of no module there: a wrong rope shows in attention.
func TestTransformersFaults(t *testing.T) {
	const attention = "model.layers.%d.self_attn.attn"
	for _, c := range []struct {
		session, clean string
		at             []string
	}{
		{"hf-fault-rope_theta", "hf-llama-sdpa", []string{fmt.Sprintf(attention, 0), fmt.Sprintf(attention, 1), fmt.Sprintf(attention, 2)}},
		{"hf-fault-one_head", "hf-llama-sdpa", []string{fmt.Sprintf(attention, 1)}},
		{"hf-fault-row_scale", "hf-llama-eager", []string{"model.layers.1.mlp.down_proj"}},
		{"hf-fault-kv_swapped", "hf-llama-eager", []string{"model.layers.2.self_attn.qkv_proj"}},
	} {
		t.Run(c.session, func(t *testing.T) {
			s := session(t, c.session)
			_, replay := replayOf(t, s, "llama-default", nn.RoundingOf(s.EngineByNames()))
			r := diff(t, session(t, c.clean), s, compare.Evidence{Replay: replay})
			require.NotNil(t, r.FirstDivergence)
			require.Equal(t, c.at[0], r.FirstDivergence.Module)
			var failed []string
			for _, m := range r.Modules {
				if m.Verdict == report.Fail {
					failed = append(failed, m.Module)
				}
			}
			require.Equal(t, c.at, failed)
			two := diff(t, session(t, c.clean), s, compare.Evidence{}) // without the checkpoint
			require.Equal(t, report.Fail, two.Verdict)
		})
	}
}
