package model

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/model/safetensors"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// chunks are the steps of the golden run: a prompt of 40 tokens in chunks, then
// 8 tokens one by one.
var chunks = []int{16, 16, 8, 1, 1, 1, 1, 1, 1, 1, 1}

// schedules are chunks, and other ways to the same tokens: all at once, by seven, one by one.
var schedules = [][]int{chunks, {48}, {7, 7, 7, 7, 7, 7, 6}, slices.Repeat([]int{1}, 48)}

// eras are those in which vLLM has another tree of an architecture.
func eras(arch string) []topology.Era {
	if topology.ByName(arch, topology.Era2025) == topology.ByName(arch, topology.Era2026) {
		return []topology.Era{topology.Era2025}
	}
	return []topology.Era{topology.Era2025, topology.Era2026}
}

// TestArchitectures compares the logits of every position with those of
// transformers in float32.
func TestArchitectures(t *testing.T) {
	options := map[string]Options{
		"llama-dynamic":       {DynamicRope: DynamicTransformers},
		"phi4-mini":           {MaxModelLen: 64},
		"llama4":              {DynamicRope: DynamicTransformers},
		"llama4-plain":        {DynamicRope: DynamicTransformers},
		"gptoss":              {DynamicRope: DynamicTransformers}, // vLLM of 2025 passes over truncate
		"olmo3-yarn":          {DynamicRope: DynamicTransformers}, // whose layers with a window take the scaling too
		"phi3-longrope-short": {MaxModelLen: 64},                  // transformers goes by the length so far
	}
	dirs, err := filepath.Glob(filepath.Join(fixture.Architectures(), "*", "config.json"))
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, path := range dirs {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			c, err := Open(filepath.Dir(path))
			require.NoError(t, err)
			defer c.Close()
			data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "golden.safetensors"))
			require.NoError(t, err)
			golden, err := safetensors.Parse("golden.safetensors", data)
			require.NoError(t, err)
			ids, err := goldenTensor(t, golden, "input_ids").Ints()
			require.NoError(t, err)
			want := make([]float64, len(ids)*c.Config.VocabSize)
			require.NoError(t, goldenTensor(t, golden, "logits").Float64s(want, 0))
			for _, era := range eras(c.Config.Architectures[0]) {
				o := options[name]
				o.Era = era
				m, err := Build(c, o)
				require.NoError(t, err)
				require.Empty(t, c.Unused())
				for _, sizes := range schedules {
					if name == "llama-dynamic" && &sizes[0] != &chunks[0] {
						continue // theta goes by the length so far
					}
					got := runChunks(t, m, ids, sizes)
					// 1e-5 of the row's norm: some 170 units in the last place of
					// float32, for sums over up to 80 terms in 3 layers in another order.
					v := c.Config.VocabSize
					for i := range ids {
						require.Less(t, relL2(got[i*v:][:v], want[i*v:][:v]), 1e-5, "era %d, %v: position %d", era, sizes, i)
					}
				}
			}
		})
	}
}

func goldenTensor(t *testing.T, f *safetensors.File, name string) *tensor.Tensor {
	x, err := f.Tensor(name)
	require.NoError(t, err)
	return x
}

// runChunks returns the float32 logits of every position.
func runChunks(t *testing.T, m *CausalLM, ids, sizes []int) []float64 {
	num, err := nn.NewNumerics(tensor.Float32, nn.VLLM2025, 2)
	require.NoError(t, err)
	cache := nn.NewCache()
	var out []float64
	at := 0
	for _, n := range sizes {
		positions := make([]int, n)
		for i := range positions {
			positions[i] = at + i
		}
		s := &nn.Step{Numerics: num, Hooks: nn.NoHooks{}, Spans: []nn.Span{{Lo: 0, Hi: n, Cache: cache}}}
		hidden := m.Forward(s, tensor.FromInts(tensor.Int32, ids[at:at+n], n), tensor.FromInts(tensor.Int64, positions, n))
		logits := m.Logits(s, hidden)
		row := make([]float64, logits.Numel())
		require.NoError(t, logits.Float64s(row, 0))
		out = append(out, row...)
		at += n
	}
	require.Equal(t, len(ids), at)
	return out
}

func relL2(got, want []float64) float64 {
	var d, r float64
	for i := range want {
		d += (got[i] - want[i]) * (got[i] - want[i])
		r += want[i] * want[i]
	}
	return math.Sqrt(d / r)
}
