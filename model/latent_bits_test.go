package model

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// TestSameBitsOfLatents is TestSameBits for latent attention, which has two ways to compute a
// token: those of prompts, and decoding. In 2026 requests with up to 512 new tokens decode, so
// that all bits are the same in any chunks. In 2025 only single tokens do: float32 and float64
// have the same bits in any chunks of two tokens and more, and a half type has them with any
// threads and in any batch.
func TestSameBitsOfLatents(t *testing.T) {
	for _, name := range []string{"deepseek2", "deepseek2-groups", "deepseek3", "deepseek3-kimi"} {
		c, err := Open(filepath.Join(fixture.Architectures(), name))
		require.NoError(t, err)
		defer c.Close()
		for _, rounding := range []nn.Rounding{nn.VLLM2025, nn.VLLM2026} {
			m, err := Build(c, OptionsOf(rounding))
			require.NoError(t, err)
			for _, dtype := range []tensor.DType{tensor.Float64, tensor.Float32, tensor.BFloat16} {
				run := func(threads int, beside bool, sizes ...int) []byte {
					return latentLogits(t, m, dtype, rounding, threads, beside, sizes)
				}
				what := name + " " + string(rounding) + " " + dtype.String()
				want := run(1, false, 11)
				require.Equal(t, want, run(3, false, 11), "%s: threads", what)
				require.Equal(t, want, run(2, true, 11), "%s: a batch", what)
				parts := run(1, false, 4, 1, 5, 1)
				require.Equal(t, parts, run(3, true, 4, 1, 5, 1), "%s: chunks in a batch, with threads", what)
				switch {
				case rounding == nn.VLLM2026:
					require.Equal(t, want, parts, "%s: chunks", what)
					require.Equal(t, want, run(1, true, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), "%s: token by token", what)
				case dtype != tensor.BFloat16:
					require.Equal(t, want, run(2, false, 4, 5, 2), "%s: chunks", what)
					require.Less(t, apart(t, dtype, want, run(2, false, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)), 2e-6, "%s: token by token", what)
				default:
					require.NotEqual(t, want, run(2, false, 4, 5, 2), "%s: the chunks' results are rounded apart", what)
				}
			}
		}
	}
}

// latentLogits are the logits of 11 tokens in steps of so many, alone or beside another
// request.
func latentLogits(t *testing.T, m *CausalLM, dtype tensor.DType, rounding nn.Rounding, threads int, beside bool, sizes []int) []byte {
	ids, other := []int{1, 17, 30, 99, 4, 4, 58, 120, 7, 66, 31}, []int{1, 90, 12}
	num, err := nn.NewNumerics(dtype, rounding, threads)
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

// apart is the relative distance of two runs.
func apart(t *testing.T, dtype tensor.DType, a, b []byte) float64 {
	require.Equal(t, len(a), len(b))
	x, y := make([]float64, len(a)/dtype.Size()), make([]float64, len(b)/dtype.Size())
	tensor.LoadFloat64(x, dtype, a)
	tensor.LoadFloat64(y, dtype, b)
	return relL2(y, x)
}

// A prompt in chunks of bfloat16, whose results are rounded apart and joined, is as near to
// the exact logits as the prompt at once.
func TestChunksOfLatents(t *testing.T) {
	m := built(t, "deepseek3", Options{})
	exact := latentLogits(t, m, tensor.Float64, nn.VLLM2025, 1, false, []int{11})
	values := func(b []byte, d tensor.DType) []float64 {
		v := make([]float64, len(b)/d.Size())
		tensor.LoadFloat64(v, d, b)
		return v
	}
	want := values(exact, tensor.Float64)
	once := relL2(values(latentLogits(t, m, tensor.BFloat16, nn.VLLM2025, 1, false, []int{11}), tensor.BFloat16), want)
	for _, sizes := range [][]int{{4, 7}, {2, 3, 6}, {9, 2}} {
		got := relL2(values(latentLogits(t, m, tensor.BFloat16, nn.VLLM2025, 1, false, sizes), tensor.BFloat16), want)
		require.Less(t, got, 1.5*once, "%v", sizes)
		require.Greater(t, got, once/1.5, "%v", sizes)
	}
}
