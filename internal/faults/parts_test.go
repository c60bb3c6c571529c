package faults

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
)

// Every float8_e4m3fn is its own rounding, and what lies between two is
// rounded to the nearer, halves to the even code.
func TestE4M3(t *testing.T) {
	values := make([]float32, 0x7f) // codes 0 to 0x7e are 0 to 448
	codes := make([]byte, len(values))
	for i := range codes {
		codes[i] = byte(i)
	}
	tensor.LoadFloat32(values, tensor.Float8E4M3FN, codes)
	for i, x := range values {
		v := float64(x)
		require.Equal(t, v, e4m3(v))
		require.Equal(t, -v, e4m3(-v))
		if i == 0 {
			continue
		}
		below := float64(values[i-1])
		half := (below + v) / 2
		even := map[int]float64{0: v, 1: below}[i%2]
		require.Equal(t, even, e4m3(half), "between %v and %v", below, v)
		require.Equal(t, below, e4m3(math.Nextafter(half, 0)))
		require.Equal(t, v, e4m3(math.Nextafter(half, math.Inf(1))))
	}
	require.Equal(t, 448., e4m3(1e9))
}

// Other orders of summation are orders of the same sum: in float64 they agree
// to its last places, and they do differ.
func TestOrders(t *testing.T) {
	b := NewBench(t, "qwen3")
	for name, order := range map[string]func(*Run){"reversed": Reversed, "split-K": SplitK, "row parallel": RowParallel} {
		r, err := compare.Sessions(b.Oracle, b.Session(t, Setting{DType: tensor.Float64, Order: order}), compare.Options{})
		require.NoError(t, err)
		worst := 0.0
		for _, x := range r.Tensors {
			worst = max(worst, x.Gap.RelL2)
		}
		require.Equal(t, 100., r.Coverage.Percent())
		require.Less(t, worst, 1e-13, name) // some 100 last places after two layers
		require.Positive(t, worst, name)
	}
}

// Tensor-parallel ranks are logged as PyTorch's two ranks logged them: the same
// files, and values that differ by the order of summation alone. Every rank
// has its own part: that ildiff puts them together is the suite's to prove.
func TestRanks(t *testing.T) {
	want, err := il.Open(fixture.Session(t, "llama3-gqa-bf16-tp2"))
	require.NoError(t, err)
	ckpt, err := model.Open(fixture.Checkpoint("llama3-gqa"))
	require.NoError(t, err)
	defer ckpt.Close()
	m, err := model.Build(ckpt, model.Options{})
	require.NoError(t, err)
	plan, err := requests.Read(want, nil)
	require.NoError(t, err)

	cfg := il.DefaultConfig()
	cfg.OutputDir, cfg.LogStepIDs = t.TempDir(), nil
	hooks, err := NewRanks(cfg, m.Config)
	require.NoError(t, err)
	r := &Run{Model: m, Plan: plan}
	RowParallel(r)
	_, err = r.Compute(ref.Config{DType: tensor.BFloat16, Rounding: nn.VLLM2025, Threads: 1}, hooks)
	require.NoError(t, err)
	dir, err := hooks.Close()
	require.NoError(t, err)
	got, err := il.Open(dir)
	require.NoError(t, err)

	n := 0
	for i, st := range want.Steps {
		require.Equal(t, st.Number, got.Steps[i].Number)
		for j, c := range st.Calls {
			other := got.Steps[i].Calls[j]
			require.Equal(t, [2]any{c.Module, c.Index}, [2]any{other.Module, other.Index})
			for _, slot := range c.Slots {
				mine := other.Slot(slot.Direction, slot.Path)
				require.NotNil(t, mine, "%s %s %s", c.Module, slot.Direction, slot.Path)
				require.Len(t, mine.Tensors, len(slot.Tensors))
				for k, f := range slot.Tensors {
					require.Equal(t, f.Device, mine.Tensors[k].Device)
					require.Less(t, gap(t, f, mine.Tensors[k]), 3e-2, "step %d %s %s %s %s", st.Number, c.Module, slot.Direction, slot.Path, f.Device)
					n++
				}
			}
		}
	}
	require.Greater(t, n, 600)
}

// gap is the rel_l2 between two files of the same shape and type.
func gap(t *testing.T, a, b *il.TensorFile) float64 {
	t.Helper()
	x, xc, err := a.Open()
	require.NoError(t, err)
	defer xc.Close()
	y, yc, err := b.Open()
	require.NoError(t, err)
	defer yc.Close()
	require.Equal(t, x.DType, y.DType)
	require.Equal(t, x.Shape, y.Shape)
	if x.DType.IsInt() {
		p, err := x.Ints()
		require.NoError(t, err)
		q, err := y.Ints()
		require.NoError(t, err)
		require.Equal(t, p, q)
		return 0
	}
	v, w := make([]float64, x.Numel()), make([]float64, x.Numel())
	require.NoError(t, x.Float64s(v, 0))
	require.NoError(t, y.Float64s(w, 0))
	var d, r float64
	for i := range v {
		d += (v[i] - w[i]) * (v[i] - w[i])
		r += v[i] * v[i]
	}
	return math.Sqrt(d / max(r, math.SmallestNonzeroFloat64))
}
