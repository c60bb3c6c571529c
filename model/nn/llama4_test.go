package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Halved is Dense of the rows in their new order, to the bit, in any task.
func TestHalvedIsDense(t *testing.T) {
	for _, d := range []tensor.DType{tensor.Float64, tensor.Float32, tensor.BFloat16, tensor.Float16} {
		r := rand.New(rand.NewPCG(5, uint64(d)))
		const heads, dim, in = 7, 12, 33
		w := normal(r, d, heads*dim, in)
		turned := tensor.New(d, heads*dim, in)
		size := in * d.Size()
		for i := range heads * dim {
			j := i % dim
			from := i - j + 2*(j%(dim/2)) + j/(dim/2)
			copy(turned.Data[i*size:][:size], w.Data[from*size:][:size])
		}
		for _, rows := range []int{1, 3, 40} {
			x := normal(r, d, rows, in)
			for threads := range 4 {
				n, err := NewNumerics(d, VLLM2025, threads+1)
				require.NoError(t, err)
				want := n.Linear(x, []PackedWeight{{Weight: Dense{turned}}})
				got := n.Linear(x, []PackedWeight{{Weight: Halved{w, dim}}})
				require.Equal(t, want.Bytes(), got.Bytes(), "%s, %d rows", d, rows)
				part := n.Linear(x, []PackedWeight{{Weight: Halved{w, dim}.Rows(2*dim, 5*dim)}})
				require.Equal(t, want.Narrow(1, 2*dim, 5*dim).Bytes(), part.Bytes())
			}
		}
		if d.Size() == 2 {
			n, err := NewNumerics(d, VLLM2025, 1)
			require.NoError(t, err)
			got, want := make([]float32, in), make([]float32, in)
			for i := range heads * dim {
				Halved{w, dim}.row(n.ops.(*ops[float32]), got, i)
				Dense{turned}.row(n.ops.(*ops[float32]), want, i)
				require.Equal(t, want, got)
			}
		}
	}
}

// A query sees its chunk and not the ones before, unlike a window.
func TestChunkFirst(t *testing.T) {
	chunk, both := AttentionShape{Chunk: 7}, AttentionShape{Chunk: 7, Window: 3}
	for pos, want := range map[int][2]int{0: {0, 0}, 6: {0, 4}, 7: {7, 7}, 8: {7, 7}, 13: {7, 11}, 14: {14, 14}} {
		require.Equal(t, want, [2]int{chunk.first(pos), both.first(pos)}, "position %d", pos)
	}
}

// The expert of the largest logit is taken, the first of equal ones, and its weight is the
// sigmoid of that logit: sigmoids that are equal in float32 decide nothing.
func TestTopKSigmoid(t *testing.T) {
	n, err := NewNumerics(tensor.BFloat16, VLLM2025, 1)
	require.NoError(t, err)
	a := newScores(n.ops.(*ops[float32]))
	ids, w := make([]int, 1), make([]float64, 1)
	TopKSigmoid{1}.choose(a, []float64{30, -2, 40, 40}, ids, w)
	require.Equal(t, []int{2}, ids)
	require.Equal(t, []float64{1}, w)
	TopKSigmoid{1}.choose(a, []float64{-3, -1.5, -2}, ids, w)
	require.Equal(t, []int{1}, ids)
	require.InDelta(t, 1/(1+math.Exp(1.5)), w[0], 1e-7)
}

// The weight of an expert goes on its input, by profile on the sums or on what they are
// of, and rounding explains the one by the other, but not one on the result, nor none.
func TestScaleInput(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	m := mixture(r, tensor.BFloat16, 5, 1)
	for e := range m.Experts { // Llama 4's have no biases
		m.Experts[e].W13[1].Bias, m.Experts[e].W2.Bias = nil, nil
	}
	m.Routing, m.ScaleInput, m.Like = TopKSigmoid{1}, true, TransformersExperts{HalfWeights: true}
	x, logits := normal(r, tensor.BFloat16, 40, 24), normal(r, tensor.BFloat16, 40, 5)
	step := func(p Rounding) *Step {
		n, err := NewNumerics(tensor.BFloat16, p, 2)
		require.NoError(t, err)
		return &Step{Numerics: n, Hooks: NoHooks{}}
	}
	in := func() il.Tuple { return il.Tuple{x.Clone(), logits.Clone()} }
	z := func(p Rounding, other *Experts) float64 {
		return rmsOf(deviationOf(t, step(VLLM2025), m, in, 0, One(other.Forward(step(p), in()))))
	}
	require.NotEqual(t, One(m.Forward(step(VLLM2025), in())).Bytes(), One(m.Forward(step(VLLM2026), in())).Bytes())
	require.Equal(t, One(m.Forward(step(Transformers), in())).Bytes(), One(m.Forward(step(VLLM2026), in())).Bytes())
	require.Less(t, z(VLLM2026, m), 1.2)
	result := *m
	result.ScaleInput = false
	require.Greater(t, z(VLLM2025, &result), 5.)
}

// What SharedFusedMoE returns first is the shared expert's, and another is no rounding.
func TestSharedFusedMoE(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	experts := mixture(r, tensor.BFloat16, 5, 1)
	experts.InPlace = true
	m := &SharedFusedMoE{Experts: *NewExperts("experts", topology.SharedFusedMoE, TopKSigmoid{1}, SiluMul{}, experts.Experts...)}
	n, err := NewNumerics(tensor.BFloat16, VLLM2025, 2)
	require.NoError(t, err)
	s := &Step{Numerics: n, Hooks: NoHooks{}}
	x, logits, shared, other := normal(r, tensor.BFloat16, 9, 24), normal(r, tensor.BFloat16, 9, 5), normal(r, tensor.BFloat16, 9, 24), normal(r, tensor.BFloat16, 9, 24)
	in := func() il.Tuple { return il.Tuple{x.Clone(), logits.Clone(), shared.Clone()} }
	a, b := Two(m.Forward(s, in()))
	require.Equal(t, shared.Bytes(), a.Bytes())
	require.Zero(t, rmsOf(deviationOf(t, s, m, in, 0, shared)))
	require.Greater(t, rmsOf(deviationOf(t, s, m, in, 0, other)), 50.)
	require.Zero(t, rmsOf(deviationOf(t, s, m, in, 1, b)))
	require.Greater(t, rmsOf(deviationOf(t, s, m, in, 1, other)), 5.)
}

// UnitNorm keeps float32 beside a half type, and temperature is floored.
func TestUnitNormAndTemperature(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	n, err := NewNumerics(tensor.BFloat16, VLLM2025, 2)
	require.NoError(t, err)
	s := &Step{Numerics: n, Hooks: NoHooks{}}
	q := normal(r, tensor.BFloat16, 3, 20)
	x := s.Float(q, 5)
	require.Equal(t, []int{12, 5}, x.Shape)
	m := NewUnitNorm("qk_norm", topology.HeadsNorm, 5, 1e-5)
	require.NoError(t, CheckInputs(m, tensor.BFloat16, il.Tuple{x}))
	y := One(m.Forward(s, il.Tuple{x}))
	require.Equal(t, tensor.Float32, y.DType)
	for i, v := range elements(t, y) {
		sum := 0.
		for _, e := range elements(t, x)[i/5*5:][:5] {
			sum += e * e
		}
		require.InDelta(t, elements(t, x)[i]/math.Sqrt(sum/5+1e-5), v, 1e-6)
	}
	require.Equal(t, q.Bytes(), s.Half(x, 20).Bytes())

	exact, err := NewNumerics(tensor.Float64, VLLM2025, 1)
	require.NoError(t, err)
	ones := rounded(tensor.Float32, []int{4, 1}, []float64{1, 1, 1, 1})
	wide := exact.Half(ones, 1)
	got := elements(t, exact.Tempered(wide, tensor.FromInts(tensor.Int64, []int{0, 6, 7, 15}, 4), Temperature{8, 0.1}))
	require.InDeltaSlice(t, []float64{1, 1, 1 + 0.1*math.Log(2), 1 + 0.1*math.Log(3)}, got, 1e-12)
}
