package ref

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
)

// TestZeroConfig runs a model with a Config of which nothing is set, and with
// no Progress.
func TestZeroConfig(t *testing.T) {
	ckpt, err := model.Open(fixture.Checkpoint("llama3-gqa"))
	require.NoError(t, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	e, err := NewEngine(m, Config{})
	require.NoError(t, err)
	require.Equal(t, m.Config.DType, e.DType())
	r := &Request{Prompt: []int{1, 2, 3}, MaxTokens: 2}
	require.NoError(t, e.Generate(t.Context(), []*Request{r}, 8, nil))
	require.Len(t, r.Output, 2)

	silent := *m.Config
	silent.DType = tensor.Invalid
	require.Equal(t, tensor.Float32, Config{}.withDefaults(&silent).DType)

	_, err = NewEngine(m, Config{Threads: -1})
	require.ErrorContains(t, err, "-1 threads: expected 1 or more")
	_, err = NewEngine(m, Config{MaxModelLen: -1})
	require.ErrorContains(t, err, "max-model-len -1: expected 1 or more")
}
