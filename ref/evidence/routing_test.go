package evidence

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

// routed logs two requests of random tokens, in two chunks and four steps of decoding.
func routed(t *testing.T, ckpt *model.Checkpoint, seed uint64) *il.Session {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	var list []*ref.Request
	for _, n := range []int{40, 23} {
		r := &ref.Request{MaxTokens: 4}
		for range n {
			r.Prompt = append(r.Prompt, 3+random.IntN(ckpt.Config.VocabSize-3))
		}
		list = append(list, r)
	}
	return computed(t, ckpt, tensor.BFloat16, nn.VLLM2025, nil, func(e *ref.Engine) error {
		return e.Generate(context.Background(), list, 32, nil)
	})
}

// again computes the tokens of a session in another arithmetic, by the tree of 2025.
func again(t *testing.T, ckpt *model.Checkpoint, s *il.Session, dtype tensor.DType, rounding nn.Rounding) *il.Session {
	t.Helper()
	plan, err := requests.Read(s, nil)
	require.NoError(t, err)
	return computed(t, ckpt, dtype, rounding, s, func(e *ref.Engine) error {
		_, err := e.Rerun(context.Background(), plan, noProgress)
		return err
	})
}

func computed(t *testing.T, ckpt *model.Checkpoint, dtype tensor.DType, rounding nn.Rounding, like *il.Session, run func(*ref.Engine) error) *il.Session {
	t.Helper()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	e, err := ref.NewEngine(m, ref.Config{DType: dtype, Rounding: rounding, Threads: 1})
	require.NoError(t, err)
	cfg, opts := il.DefaultConfig(), il.LoggerOptions{}
	cfg.OutputDir, cfg.LogStepIDs = t.TempDir(), nil
	if like != nil {
		opts.Only = like.Records
	}
	logger, err := il.NewLogger(cfg, opts)
	require.NoError(t, err)
	e.Hooks = logger
	require.NoError(t, run(e))
	require.NoError(t, logger.Close())
	s, err := il.Open(logger.Dir())
	require.NoError(t, err)
	return s
}

// TestRouting compares runs of mixtures that differ by rounding alone, in which near ties
// send tokens to other experts, early and late, in prompts and in decoding: none is a fault,
// whatever is known of the experts.
func TestRouting(t *testing.T) {
	ties := 0
	for _, name := range []string{"mixtral", "mixtral-three", "qwen2moe", "qwen2moe-renormalised", "qwen3moe", "qwen3moe-plain", "granitemoe", "gptoss", "llama4", "deepseek2-groups", "deepseek3", "glm4moe-groups"} {
		t.Run(name, func(t *testing.T) {
			ckpt := checkpoint(t, filepath.Join(fixture.Architectures(), name))
			seeds := []uint64{1}
			if name == "mixtral" || name == "mixtral-three" { // of which some give many
				seeds = []uint64{0, 2, 3}
			}
			for _, seed := range seeds {
				base := routed(t, ckpt, seed)
				routers, err := RoutersOf(base, ckpt)
				require.NoError(t, err)
				known := measure.NewExperts(routers.Choice, routers.Exact, routers.Without, routers.Weighed)
				told := measure.Experts{PerToken: ckpt.Config.Experts.TopK, Biased: len(routers.Without) > 0}
				exact := again(t, ckpt, base, tensor.Float32, nn.VLLM2025)
				replay, _, err := Replay(context.Background(), base, nil, ckpt, nil, nn.VLLM2025, t.TempDir())
				require.NoError(t, err)
				for _, c := range []struct {
					what        string
					ref, target *il.Session
					evidence    compare.Evidence
					experts     measure.Experts
				}{
					{"float32 against bfloat16", exact, base, compare.Evidence{}, known},
					{"the same, experts not known", exact, base, compare.Evidence{}, measure.Experts{}},
					{"bfloat16 against float32", base, exact, compare.Evidence{}, told},
					{"vllm-2026", base, again(t, ckpt, base, tensor.BFloat16, nn.VLLM2026), compare.Evidence{}, known},
					{"transformers", base, again(t, ckpt, base, tensor.BFloat16, "transformers"), compare.Evidence{}, measure.Experts{}},
					{"replay", exact, base, compare.Evidence{Replay: replay}, known},
				} {
					if c.what == "transformers" && len(routers.Without) > 0 {
						continue // whose routed scale is in the weights
					}
					r, err := compare.Sessions(c.ref, c.target, compare.Options{Evidence: c.evidence, Experts: c.experts})
					require.NoError(t, err)
					if r.Verdict != report.Pass {
						t.Errorf("seed %d, %s: %s: %s", seed, c.what, r.FirstDivergence, r.FirstDivergence.Why)
					}
					for _, x := range r.Tensors {
						if x.Routing != nil {
							ties += x.Routing.NearTies
						}
					}
				}
			}
		})
	}
	require.Greater(t, ties, 20, "tokens went to the same experts: nothing was tried")
}

// TestChoice holds what is said of the experts to what the modules do.
func TestChoice(t *testing.T) {
	ckpt := checkpoint(t, filepath.Join(fixture.Architectures(), "mixtral"))
	routers, err := RoutersOf(routed(t, ckpt, 1), ckpt)
	require.NoError(t, err)
	choice := routers.Choice
	k := ckpt.Config.Experts.TopK
	require.Equal(t, []int{1, 3, 0}[:k], choice("model.layers.0.block_sparse_moe.gate", []float64{1, 3, -1, 2, 0, -2}[:ckpt.Config.Experts.Num]))
	require.Nil(t, choice("model.layers.0.block_sparse_moe.gate", []float64{1, 2}), "of another model")
	require.Nil(t, choice("model.layers.0.mlp.gate", []float64{1, 3, -1, 2, 0, -2}))

	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	e, err := ref.NewEngine(m, ref.Config{DType: tensor.BFloat16})
	require.NoError(t, err)
	p, err := e.Provenance(ckpt, "")
	require.NoError(t, err)
	require.Equal(t, k, p.Model.ExpertsPerToken)
	require.Equal(t, provenance.ChoiceLargest, p.Model.ExpertChoice)

	dense := checkpoint(t, fixture.Checkpoint("llama3-gqa"))
	routers, err = RoutersOf(session(t, "llama3-gqa-bf16"), dense)
	require.NoError(t, err)
	require.Nil(t, routers.Choice)
}
