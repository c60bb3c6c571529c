package ref

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/tensor"
)

// A model that float16 would compute otherwise than vLLM does is refused in it, in one line.
func TestRefusesFloat16(t *testing.T) {
	ckpt, err := model.Open(fixture.Architecture("deepseek3"))
	require.NoError(t, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	_, err = NewEngine(m, Config{DType: tensor.Float16})
	require.ErrorContains(t, err, "cannot run DeepseekV3ForCausalLM in float16: vLLM scales its residual stream")
	require.NotContains(t, err.Error(), "\n")
	_, err = NewEngine(m, Config{DType: tensor.BFloat16})
	require.NoError(t, err)
}
