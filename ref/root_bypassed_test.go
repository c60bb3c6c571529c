package ref

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/provenance"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
)

// A root whose hooks never fire leaves all forwards in step_0, where calls after the first have
// a number. Whoever reads the session finds the forwards of one whose root fires, each with
// its logits, the same requests and the same tensors: also without session.json.
func TestRootBypassed(t *testing.T) {
	ckpt, err := model.Open(fixture.Architecture("llama-default"))
	require.NoError(t, err)
	t.Cleanup(func() { ckpt.Close() })
	run := func(bypassed bool) string {
		m, err := model.Build(ckpt, model.Options{})
		require.NoError(t, err)
		m.RootBypassed = bypassed
		engine, err := NewEngine(m, Config{DType: tensor.BFloat16})
		require.NoError(t, err)
		cfg := il.DefaultConfig()
		cfg.OutputDir = t.TempDir()
		if !bypassed {
			cfg.LogStepIDs = nil
		}
		made, err := engine.Provenance(ckpt, "1")
		require.NoError(t, err)
		logger, err := il.NewLogger(cfg, il.LoggerOptions{Provenance: made})
		require.NoError(t, err)
		engine.Hooks = logger
		require.NoError(t, engine.Generate(context.Background(), []*Request{
			{Prompt: []int{1, 17, 30, 99, 4, 58, 7, 120, 66}, MaxTokens: 3}, {Prompt: []int{1, 90, 12}, MaxTokens: 3},
		}, 7, nil))
		require.NoError(t, logger.Close())
		return logger.Dir()
	}
	dir := run(true)
	require.NoDirExists(t, filepath.Join(dir, "step_1"))
	require.DirExists(t, filepath.Join(dir, "step_0", "model.layers.1.mlp_2"))
	require.DirExists(t, filepath.Join(dir, "step_0", "model.layers.0.self_attn.rotary_emb_8")) // the third forward's last layer
	want, err := il.Open(run(false))
	require.NoError(t, err)
	wantPlan, err := requests.Read(want, nil)
	require.NoError(t, err)
	for _, told := range []bool{true, false} {
		if !told {
			require.NoError(t, os.Remove(filepath.Join(dir, provenance.FileName)))
			require.NoError(t, os.Remove(filepath.Join(dir, provenance.BatchesName)))
		}
		s, err := il.Open(dir)
		require.NoError(t, err)
		require.Empty(t, s.Warnings)
		require.Equal(t, told, s.HasBatches())
		require.Equal(t, 1, s.LogitsLag())
		plan, err := requests.Read(s, nil)
		require.NoError(t, err)
		require.Equal(t, wantPlan.Steps, plan.Steps)
		calls := 0
		for _, st := range s.Steps {
			for _, c := range st.Calls {
				other := want.Call(st.Number, c.Module, c.Index)
				require.NotNil(t, other, "%d %s %d", st.Number, c.Module, c.Index)
				require.Equal(t, len(other.Slots), len(c.Slots))
				calls++
				for i, slot := range c.Slots {
					x, err := readCopy(slot.Tensors[0])
					require.NoError(t, err)
					y, err := readCopy(other.Slots[i].Tensors[0])
					require.NoError(t, err)
					require.Equal(t, y.Bytes(), x.Bytes(), c.Dir)
				}
			}
		}
		all := 0
		for _, st := range want.Steps {
			all += len(st.Calls)
		}
		require.Equal(t, all, calls)
	}
}
