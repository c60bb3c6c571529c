package evidence

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/lint"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Of every architecture a logged run is one that lint finds nothing in, that
// can be computed again to the bit by its modules and by its tokens, and that
// ildiff passes.
func TestEveryArchitecture(t *testing.T) {
	configs, err := filepath.Glob(filepath.Join(fixture.Architectures(), "*", "config.json"))
	require.NoError(t, err)
	require.NotEmpty(t, configs)
	for _, config := range configs {
		dir := filepath.Dir(config)
		for _, as := range erasOf(t, dir) {
			t.Run(filepath.Base(dir)+"/"+string(as), func(t *testing.T) {
				ckpt := checkpoint(t, dir)
				s := logged(t, ckpt, as)

				found, err := lint.Session(context.Background(), s, lint.Options{})
				require.NoError(t, err)
				require.Empty(t, found.Findings)
				require.Positive(t, found.Checked.Identities)

				replay, skipped, err := Replay(context.Background(), s, nil, ckpt, nil, "", t.TempDir())
				require.NoError(t, err)
				require.Empty(t, skipped)
				again, err := Run(context.Background(), s, ckpt, tensor.BFloat16, t.TempDir())
				require.NoError(t, err)
				for name, made := range map[string]*il.Session{"replay": replay, "run": again} {
					r := diff(t, s, made, compare.Evidence{})
					require.Equal(t, report.Pass, r.Verdict, name)
					require.Equal(t, 100., r.Coverage.Percent(), name)
					for _, x := range r.Tensors {
						require.True(t, x.Gap.Identical(), "%s: %s", name, x.String())
					}
				}

				// What no hook recorded is computed from where it comes from.
				drop(s, topology.Attention, il.Inputs, "0", "1")
				drop(s, topology.Rope, il.Outputs, "0", "1")
				replay, skipped, err = Replay(context.Background(), s, nil, ckpt, nil, "", t.TempDir())
				require.NoError(t, err)
				require.Empty(t, skipped)
				for _, x := range diff(t, s, replay, compare.Evidence{}).Tensors {
					require.True(t, x.Gap.Identical(), "with less recorded: %s", x.String())
				}
			})
		}
	}
}

// erasOf are the profiles of the eras in which vLLM has another tree of a checkpoint's model.
func erasOf(t *testing.T, dir string) []nn.Rounding {
	arch := checkpoint(t, dir).Config.Architectures[0]
	if topology.ByName(arch, topology.Era2025) == topology.ByName(arch, topology.Era2026) {
		return []nn.Rounding{nn.VLLM2025}
	}
	return []nn.Rounding{nn.VLLM2025, nn.VLLM2026}
}

// drop forgets what a session recorded in slots of a kind of module.
func drop(s *il.Session, kind topology.Kind, dir il.Direction, slots ...string) {
	for _, st := range s.Steps {
		for _, c := range st.Calls {
			if topology.Of(c.Module).Kind == kind {
				c.Slots = slices.DeleteFunc(c.Slots, func(x *il.Slot) bool { return x.Direction == dir && slices.Contains(slots, x.Path) })
			}
		}
	}
}

// logged is a run of two requests in bfloat16: one in chunks and on from there,
// one beside it.
func logged(t *testing.T, ckpt *model.Checkpoint, as nn.Rounding) *il.Session {
	t.Helper()
	m, err := model.Build(ckpt, model.OptionsOf(as))
	require.NoError(t, err)
	engine, err := ref.NewEngine(m, ref.Config{DType: tensor.BFloat16, Rounding: as})
	require.NoError(t, err)
	made, err := engine.Provenance(ckpt, "")
	require.NoError(t, err)
	cfg := il.DefaultConfig()
	cfg.OutputDir, cfg.LogStepIDs = t.TempDir(), nil
	logger, err := il.NewLogger(cfg, il.LoggerOptions{Provenance: made})
	require.NoError(t, err)
	engine.Hooks = logger
	requests := []*ref.Request{
		{Prompt: []int{1, 17, 30, 99, 4, 58, 7, 120, 66}, MaxTokens: 3},
		{Prompt: []int{1, 90, 12}, MaxTokens: 3},
	}
	require.NoError(t, engine.Generate(context.Background(), requests, 7, nil))
	require.NoError(t, logger.Close())
	s, err := il.Open(logger.Dir())
	require.NoError(t, err)
	return s
}
