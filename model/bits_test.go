package model

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// TestSameBits is the promise of a reference: a token's logits are the same
// bits in one prefill, in chunks, token by token, in a batch beside another
// request, and with any number of threads.
func TestSameBits(t *testing.T) {
	ids := []int{1, 17, 30, 99, 4, 4, 58, 120, 7, 66, 31}
	other := []int{1, 90, 12}
	for _, name := range []string{
		"llama-yarn", "mistral-window", "qwen3", "phi3-longrope-long", "glm4moe", "gptoss", "gptoss-two", "llama4", "llama4-plain",
		"granite", "seedoss", "glm4", "glm", "cohere2", "cohere-qknorm", "ernie45", "phi4-mini-long", "gemma2", "gemma3",
		"olmo3-yarn", "exaone4", "smollm3-biases", "olmo2", "mixtral", "qwen2moe", "qwen3moe", "granitemoe",
	} {
		c, err := Open(filepath.Join(fixture.Architectures(), name))
		require.NoError(t, err)
		defer c.Close()
		for _, era := range eras(c.Config.Architectures[0]) {
			m, err := Build(c, Options{Era: era})
			require.NoError(t, err)
			for _, dtype := range []tensor.DType{tensor.Float64, tensor.Float32, tensor.BFloat16, tensor.Float16} {
				run := func(threads int, beside bool, sizes ...int) []byte {
					num, err := nn.NewNumerics(dtype, nn.VLLM2025, threads)
					require.NoError(t, err)
					cache, cache2 := nn.NewCache(), nn.NewCache()
					var out []byte
					at := 0
					for step, n := range sizes {
						rows, positions := ids[at:at+n:at+n], []int{}
						for i := range n {
							positions = append(positions, at+i)
						}
						spans := []nn.Span{{Lo: 0, Hi: n, Cache: cache}}
						if beside && step < len(other) {
							rows, positions = append(rows, other[step]), append(positions, step)
							spans = append(spans, nn.Span{Lo: n, Hi: n + 1, Cache: cache2})
						}
						s := &nn.Step{Numerics: num, Hooks: nn.NoHooks{}, Spans: spans}
						h := m.Forward(s, tensor.FromInts(tensor.Int32, rows, len(rows)), tensor.FromInts(tensor.Int64, positions, len(rows)))
						out = append(out, m.Logits(s, h).Narrow(0, 0, n).Bytes()...)
						at += n
					}
					return out
				}
				want := run(1, false, 11)
				require.Equal(t, want, run(3, false, 11), "%s %s: threads", name, dtype)
				require.Equal(t, want, run(2, false, 4, 6, 1), "%s %s: chunks", name, dtype)
				require.Equal(t, want, run(2, true, 4, 1, 5, 1), "%s %s: a batch", name, dtype)
				require.Equal(t, want, run(1, true, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), "%s %s: token by token", name, dtype)
			}
		}
	}
}
