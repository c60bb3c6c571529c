package nn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// normal is a tensor of normal values.
func normal(r *rand.Rand, d tensor.DType, shape ...int) *tensor.Tensor {
	x := tensor.New(d, shape...)
	v := make([]float32, x.Numel())
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	tensor.StoreFloat32(x.Data, d, v)
	return x
}

// TestTransposedIsDense holds products of a weight that is stored as (in, out) to the bits
// of the same weight stored as (out, in).
func TestTransposedIsDense(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, dtype := range []tensor.DType{tensor.BFloat16, tensor.Float32, tensor.Float64} {
		n, err := NewNumerics(dtype, VLLM2025, 2)
		require.NoError(t, err)
		for _, rows := range []int{1, 3, 17} {
			const in, out = 150, 70
			w, x := normal(r, tensor.BFloat16, out, in), normal(r, dtype, rows, in)
			turned := tensor.New(w.DType, in, out)
			for i := range out {
				for k := range in {
					copy(turned.Data[(k*out+i)*2:][:2], w.Data[(i*in+k)*2:][:2])
				}
			}
			want := n.Linear(x, []PackedWeight{{Weight: Dense{w}}})
			require.Equal(t, want.Data, n.Linear(x, []PackedWeight{{Weight: Transposed{turned}}}).Data, "%s, %d rows", dtype, rows)
			part := n.Linear(x, []PackedWeight{{Weight: Transposed{turned}.Rows(5, 44)}})
			require.Equal(t, n.Linear(x, []PackedWeight{{Weight: Dense{w}.Rows(5, 44)}}).Data, part.Data)
		}
	}
}

// mixture is random experts (2I = 40, H = 24) with biases.
func mixture(r *rand.Rand, d tensor.DType, n, k int) *Experts {
	var list []Expert
	for range n {
		list = append(list, Expert{
			W13: []PackedWeight{{Weight: Dense{normal(r, d, 20, 24)}}, {Weight: Dense{normal(r, d, 20, 24)}, Bias: normal(r, d, 20)}},
			W2:  PackedWeight{Weight: Dense{normal(r, d, 24, 20)}, Bias: normal(r, d, 24)},
		})
	}
	return NewExperts("experts", topology.MoERunner, SoftmaxTopK{K: k, Renormalise: true}, SiluMul{}, list...)
}

// TestExpertsByHand compares experts with products of each token alone.
func TestExpertsByHand(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s, m := step(t), mixture(r, tensor.Float64, 6, 3)
	x, logits := normal(r, tensor.Float64, 7, 24), normal(r, tensor.Float64, 7, 6)
	got := values(t, s.Call(m, x, logits))
	for i := range 7 {
		row, p := x.Narrow(0, i, i+1), values(t, logits.Narrow(0, i, i+1))
		ids := make([]int, 3)
		largest(p, ids)
		want, all := make([]float64, 24), 0.
		for _, e := range ids {
			all += math.Exp(p[e])
		}
		for _, e := range ids {
			h := s.Linear(row, m.Experts[e].W13)
			y := values(t, s.Linear(s.Call(NewSiluAndMul("a", 20), h).(*tensor.Tensor), []PackedWeight{m.Experts[e].W2}))
			for j := range want {
				want[j] += y[j] * math.Exp(p[e]) / all
			}
		}
		require.InDeltaSlice(t, want, got[i*24:][:24], 1e-9)
	}
}

// TestExpertsAreTheSameInAnyBatch: bits do not depend on what stands beside a token, nor on
// the threads.
func TestExpertsAreTheSameInAnyBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, rounding := range Roundings() {
		for _, dtype := range []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float32} {
			m := mixture(r, tensor.BFloat16, 5, 2)
			x, logits := normal(r, dtype, 33, 24), normal(r, dtype, 33, 5)
			var one, all []byte
			for _, threads := range []int{1, 3} {
				n, err := NewNumerics(dtype, rounding, threads)
				require.NoError(t, err)
				s := &Step{Numerics: n, Hooks: NoHooks{}}
				all = One(s.Call(m, x, logits)).Bytes()
				one = nil
				for i := range 33 {
					one = append(one, One(s.Call(m, x.Narrow(0, i, i+1), logits.Narrow(0, i, i+1))).Bytes()...)
				}
				require.Equal(t, all, one, "%s %s", rounding, dtype)
			}
		}
	}
}

// TestLargest: of equal values the lowest place is taken first, and NaN last.
func TestLargest(t *testing.T) {
	ids := make([]int, 3)
	for _, x := range []struct {
		v    []float64
		want []int
	}{
		{[]float64{1, 3, 3, 2}, []int{1, 2, 3}},
		{[]float64{0, 0, 0, 0}, []int{0, 1, 2}},
		{[]float64{math.NaN(), -1, math.NaN(), -2}, []int{1, 3, 0}},
	} {
		largest(x.v, ids)
		require.Equal(t, x.want, ids)
	}
}

// TestSoftmaxTopK weighs the chosen by their share in all, or in the chosen.
func TestSoftmaxTopK(t *testing.T) {
	a := newScores(&ops[float64]{routers: routersInTorch, round: exact[float64]})
	logits := []float64{1, 3, 2, 3}
	ids, w := make([]int, 2), make([]float64, 2)
	SoftmaxTopK{K: 2}.choose(a, slices.Clone(logits), ids, w)
	all := math.Exp(1) + 2*math.Exp(3) + math.Exp(2)
	require.Equal(t, []int{1, 3}, ids)
	require.InDeltaSlice(t, []float64{math.Exp(3) / all, math.Exp(3) / all}, w, 1e-15)
	SoftmaxTopK{K: 2, Renormalise: true}.choose(a, slices.Clone(logits), ids, w)
	require.InDeltaSlice(t, []float64{0.5, 0.5}, w, 1e-15)
	ids, w = ids[:2], w[:2]
	TopKSoftmax{K: 2}.choose(a, slices.Clone(logits), ids, w)
	require.Equal(t, []int{1, 3}, ids)
	require.InDeltaSlice(t, []float64{0.5, 0.5}, w, 1e-15)
}
