package evidence

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// float32Runs are sessions of torch in float32: of transformers, and of the logger's
// own model.
var float32Runs = []struct {
	session, checkpoint string
	rounding            nn.Rounding
}{
	{"llama3-gqa-hf-fp32", "", nn.TransformersEager},
	{"llama3-gqa-fp32", "", nn.VLLM2025},
	{"olmo2-hf-fp32", "olmo2", nn.TransformersEager},
	{"qwen3-hf-fp32", "qwen3", nn.TransformersEager},
}

// farthest is the most that the noise of one kind of module is off.
type farthest struct {
	values             int
	max, rms, unlikely float64
}

// In float32 too, torch's kernels are off by what rounding explains, in every kind
// of module, and never so far that a comparison would fail.
func TestFloat32Noise(t *testing.T) {
	kinds := map[string]*farthest{}
	for _, c := range float32Runs {
		dir := fixture.Checkpoint("llama3-gqa")
		if c.checkpoint != "" {
			dir = fixture.Architecture(c.checkpoint)
		}
		s := session(t, c.session)
		noiseByKind(t, kinds, s, dir, c.rounding)
	}
	require.Greater(t, len(kinds), 5)
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		f := kinds[k]
		t.Logf("%-28s %9d values, at most %.1f σ, rms %.2f, least likely block %.1f", k, f.values, f.max, f.rms, f.unlikely)
		require.Less(t, f.max, 5., k)
		require.Less(t, f.rms, 1.2, k)
		require.Less(t, f.unlikely, 0.7*math.Log(metric.Tests(f.values)/1e-3), k)
	}
}

func noiseByKind(t *testing.T, kinds map[string]*farthest, s *il.Session, dir string, as nn.Rounding) {
	t.Helper()
	_, replay := replayWith(t, s, dir, as)
	for _, st := range replay.Steps {
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				if slot.Direction != il.Noise {
					continue
				}
				require.NoError(t, slot.Tensors[0].With(func(z *tensor.Tensor) error {
					n, err := metric.MeasureNoise(z)
					require.NoError(t, err)
					kind := topology.Of(c.Module).Class
					if kinds[kind] == nil {
						kinds[kind] = &farthest{}
					}
					f := kinds[kind]
					f.values += n.Values
					f.max, f.rms, f.unlikely = max(f.max, n.Max), max(f.rms, n.RMS), max(f.unlikely, n.Worst.Unlikely)
					return nil
				}))
			}
		}
	}
}
