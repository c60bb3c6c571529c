package model

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/model/safetensors"
	"github.com/ilref/ilref/tensor"
)

// TestWaysOfLatents holds the logits of a prompt of 40 tokens at once, in chunks of 7 and
// token by token, as each era computes them, to those of transformers in float32, and those
// of float64 to one another.
func TestWaysOfLatents(t *testing.T) {
	sevens := []int{7, 7, 7, 7, 7, 5}
	ways := [][]int{{40}, sevens, slices.Repeat([]int{1}, 40)}
	for _, name := range []string{"deepseek2", "deepseek2-groups", "deepseek3", "deepseek3-kimi", "glm4moe", "glm4moe-groups"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(fixture.Architectures(), name, "golden.safetensors")
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			golden, err := safetensors.Parse(file, data)
			require.NoError(t, err)
			ids, err := goldenTensor(t, golden, "input_ids").Ints()
			require.NoError(t, err)
			want := make([]float64, 40*160)
			require.NoError(t, goldenTensor(t, golden, "logits").Float64s(want, 0))
			var exact []float64
			for _, rounding := range []nn.Rounding{nn.VLLM2025, nn.VLLM2026} {
				m := built(t, name, OptionsOf(rounding))
				for _, sizes := range ways {
					for i, row := range rowsOfLogits(t, m, tensor.Float32, rounding, ids, sizes) {
						require.Less(t, relL2(row, want[i*160:][:160]), 2e-5, "%s, %v: position %d", rounding, sizes[:1], i)
					}
					got := slices.Concat(rowsOfLogits(t, m, tensor.Float64, rounding, ids, sizes)...)
					if exact == nil {
						exact = got
					}
					require.Less(t, relL2(got, exact), 1e-12, "%s, %v", rounding, sizes[:1])
					require.Less(t, relL2(got, want), 2e-6, "%s, %v", rounding, sizes[:1])
				}
			}
		})
	}
}

// rowsOfLogits are the logits of each token of steps of so many.
func rowsOfLogits(t *testing.T, m *CausalLM, dtype tensor.DType, rounding nn.Rounding, ids, sizes []int) [][]float64 {
	num, err := nn.NewNumerics(dtype, rounding, 2)
	require.NoError(t, err)
	cache := nn.NewCache()
	var out [][]float64
	at := 0
	for _, n := range sizes {
		positions := make([]int, n)
		for i := range positions {
			positions[i] = at + i
		}
		s := &nn.Step{Numerics: num, Hooks: nn.NoHooks{}, Spans: []nn.Span{{Lo: 0, Hi: n, Cache: cache}}}
		h := m.Forward(s, tensor.FromInts(tensor.Int32, ids[at:at+n], n), tensor.FromInts(tensor.Int64, positions, n))
		logits := m.Logits(s, h)
		all := make([]float64, logits.Numel())
		require.NoError(t, logits.Float64s(all, 0))
		for i := range n {
			out = append(out, all[i*160:][:160])
		}
		at += n
	}
	return out
}
