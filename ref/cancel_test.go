package ref

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// interrupting is a recorder that ends the context at the first call it sees.
type interrupting struct {
	*keeper
	cancel context.CancelFunc
}

func (interrupting) StepDone() error { return nil }

func (r interrupting) Pre(module string, args il.Tuple) il.Tuple {
	r.cancel()
	return r.keeper.Pre(module, args)
}

// A replay stops behind the call at hand, a run behind the step at hand.
func TestInterrupted(t *testing.T) {
	ckpt, err := model.Open(fixture.Checkpoint("llama3-gqa"))
	require.NoError(t, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	s, err := il.Open(fixture.Session(t, "llama3-gqa-bf16"))
	require.NoError(t, err)
	plan, err := requests.Read(s, nil)
	require.NoError(t, err)
	silent := func(int, int, int, int) {}

	for what, run := range map[string]func(ctx context.Context, e *Engine, rec interrupting) error{
		"replay": func(ctx context.Context, e *Engine, rec interrupting) error {
			made, _, err := e.ReplayPart(ctx, s, Part{}, rec, silent)
			require.Equal(t, 1, made)
			return err
		},
		"rerun": func(ctx context.Context, e *Engine, rec interrupting) error {
			e.Hooks = rec
			_, err := e.Rerun(ctx, plan, silent)
			return err
		},
		"run": func(ctx context.Context, e *Engine, rec interrupting) error {
			e.Hooks = rec
			return e.Generate(ctx, []*Request{{Prompt: []int{1, 5, 9}, MaxTokens: 4}}, 16, silent)
		},
	} {
		e, err := NewEngine(m, Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: 1})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		rec := interrupting{&keeper{shown: map[string]string{}}, cancel}
		require.ErrorIs(t, run(ctx, e, rec), context.Canceled, what)
		require.Zero(t, rec.step, what)
	}
}
