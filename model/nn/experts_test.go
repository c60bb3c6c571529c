package nn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
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

// Experts in the arithmetic of another profile are off by rounding; another choice of
// experts, weights that do not add up, a stale weight of one expert and swapped halves are
// not.
func TestExpertsNoise(t *testing.T) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		r := rand.New(rand.NewPCG(7, uint64(d)))
		for _, k := range []int{1, 2, 3, 6} {
			m := mixture(r, d, 8, k)
			m.Like = TransformersExperts{HalfWeights: true, ByExpert: k == 3}
			x, logits := normal(r, d, 40, 24), normal(r, d, 40, 8)
			in := func() il.Tuple { return il.Tuple{x.Clone(), logits.Clone()} }
			step := func(p Rounding) *Step {
				n, err := NewNumerics(d, p, 2)
				require.NoError(t, err)
				return &Step{Numerics: n, Hooks: NoHooks{}}
			}
			deviation := func(p Rounding, other *Experts) []float64 {
				return deviationOf(t, step(VLLM2025), m, in, 0, One(other.Forward(step(p), in())))
			}
			for _, p := range Roundings()[1:] {
				z := deviation(p, m)
				require.Less(t, slices.Max(z), 5., "%s, %s, %d", d, p, k)
				require.Less(t, rmsOf(z), 1.2, "%s, %s, %d", d, p, k)
			}
			wrong := map[string]func(m *Experts){
				"choice":  func(m *Experts) { m.Routing = SoftmaxTopK{K: k + 1, Renormalise: true} },
				"weights": func(m *Experts) { m.Routing = SoftmaxTopK{K: k} },
				"halves":  func(m *Experts) { m.Experts[3].W13[0], m.Experts[3].W13[1] = m.Experts[3].W13[1], m.Experts[3].W13[0] },
				"stale":   func(m *Experts) { m.Experts[2].W2.Weight = Dense{normal(r, d, 24, 20)} },
			}
			for name, f := range wrong {
				other := *m
				other.Experts = slices.Clone(m.Experts)
				for e := range other.Experts {
					other.Experts[e].W13 = slices.Clone(m.Experts[e].W13)
				}
				f(&other)
				require.Greater(t, rmsOf(deviation(VLLM2025, &other)), 5., "%s, %s, %d", name, d, k)
			}
		}
	}
}

// The noise of shared experts that are added is that of a sum.
func TestSharedExpertsNoise(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	m := mixture(r, tensor.BFloat16, 4, 2)
	m.Shared = NewSharedExperts("shared", nil, 24)
	x, logits, shared := normal(r, tensor.BFloat16, 40, 24), normal(r, tensor.BFloat16, 40, 4), normal(r, tensor.BFloat16, 40, 24)
	in := func() il.Tuple { return il.Tuple{x, logits, shared} }
	n, err := NewNumerics(tensor.BFloat16, VLLM2026, 1)
	require.NoError(t, err)
	like, err := NewNumerics(tensor.BFloat16, Transformers, 1)
	require.NoError(t, err)
	s := &Step{Numerics: n, Hooks: NoHooks{}}
	z := deviationOf(t, s, m, in, 0, One(m.Forward(&Step{Numerics: like, Hooks: NoHooks{}}, in())))
	require.Less(t, slices.Max(z), 5.)
	require.Less(t, rmsOf(z), 1.2)
	z = deviationOf(t, s, m, in, 0, One(m.Forward(s, il.Tuple{x, logits, s.Times(shared, 30)})))
	require.Greater(t, rmsOf(z), 4.)
}

// Weights of one rank are renormalised by a division in torch, and by a reciprocal in the kernel
// of 2026: the last bit differs.
func TestRenormalise(t *testing.T) {
	a := newScores(&ops[float32]{routers: routersInTorch, round: exact[float32]})
	torch, inKernel := []float64{0.3, 0.4, 0.2}, []float64{0.3, 0.4, 0.2}
	for i := range torch {
		torch[i] = float64(float32(torch[i]))
		inKernel[i] = torch[i]
	}
	sum := float32(torch[0]) + float32(torch[1]) + float32(torch[2])
	want, wantInKernel := make([]float64, 3), make([]float64, 3)
	for i, w := range torch {
		want[i] = float64(float32(w) / sum)
		wantInKernel[i] = float64(float32(w) * (1 / sum))
	}
	renormaliseInTorch(a, torch)
	renormaliseInKernel(a, inKernel)
	require.Equal(t, want, torch)
	require.Equal(t, wantInKernel, inKernel)
	require.NotEqual(t, torch, inKernel)
	none := []float64{0, 0}
	renormaliseInKernel(a, none)
	require.Equal(t, []float64{0, 0}, none)
}

// Numbers beside a tensor stay in float32, and a gate is rounded before it meets the values.
func TestProductsOfTheBlock(t *testing.T) {
	n, err := NewNumerics(tensor.BFloat16, VLLM2025, 1)
	require.NoError(t, err)
	x := tensor.FromFloat32s(tensor.BFloat16, []float32{1.0078125, 3}, 1, 2)
	require.Equal(t, []float64{float64(tensor.RoundBF16(1.0078125 * 0.3)), float64(tensor.RoundBF16(3 * 0.3))}, values(t, n.Times(x, 0.3)))
	require.NotEqual(t, tensor.RoundBF16(3*0.3), tensor.RoundBF16(3*tensor.RoundBF16(0.3)))
	gate := tensor.FromFloat32s(tensor.BFloat16, []float32{0.7}, 1, 1)
	g := tensor.RoundBF16(float32(1 / (1 + math.Exp(-float64(tensor.RoundBF16(0.7))))))
	require.Equal(t, []float64{float64(tensor.RoundBF16(1.0078125 * g)), float64(tensor.RoundBF16(3 * g))}, values(t, n.GateBySigmoid(gate, x)))
}

// Of experts with equal logits another choice is as right; a choice of a smaller logit is
// not.
func TestExpertsNoiseOfTies(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	m := mixture(r, tensor.BFloat16, 6, 3)
	n, err := NewNumerics(tensor.BFloat16, VLLM2025, 1)
	require.NoError(t, err)
	s := &Step{Numerics: n, Hooks: NoHooks{}}
	x := normal(r, tensor.BFloat16, 1, 24)
	logits := func(v ...float32) *tensor.Tensor { return tensor.FromFloat32s(tensor.BFloat16, v, 1, 6) }
	tied := logits(1, 0.5, 0.5, 2, 0.5, 0.25)
	of := func(l *tensor.Tensor) []float64 {
		return deviationOf(t, s, m, func() il.Tuple { return il.Tuple{x, tied} }, 0, One(m.Forward(s, il.Tuple{x, l})))
	}
	for _, l := range []*tensor.Tensor{logits(1, 0.25, 0.5, 2, 0.25, 0.25), logits(1, 0.25, 0.25, 2, 0.5, 0.25)} {
		require.Less(t, rmsOf(of(l)), 1.5)
	}
	require.Greater(t, rmsOf(of(logits(1, 0.25, 0.25, 2, 0.25, 0.5))), 5.)
	require.Len(t, choices([]float64{1, 0.5, 0.5, 2, 0.5, 0.25}, []int{3, 0, 1}), 3)
	require.Len(t, choices([]float64{0, 0, 0, 0}, []int{0, 1}), 6)
	require.Len(t, choices([]float64{4, 3, 2, 1}, []int{0, 1}), 1)
}
