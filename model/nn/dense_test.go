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

// TestLayerNorm takes the mean off, and hands on the residual that it is given; heads have
// rows of weights of their own.
func TestLayerNorm(t *testing.T) {
	m := NewLayerNorm("n", topology.CohereLayerNorm, floats([]float64{1, 2}, 2), 0)
	x := floats([]float64{5, 9}, 1, 2)
	residual := floats([]float64{3, 4}, 1, 2)
	a, b := Two(step(t).Call(m, x, residual))
	require.InDeltaSlice(t, []float64{-1, 2}, values(t, a), 1e-12)
	require.Same(t, residual, b)
	require.NotSame(t, x, a)
	require.Equal(t, []float64{5, 9}, values(t, x))

	m.Eps = 12 // beside the variance of 4
	a, _ = Two(step(t).Call(m, x, residual))
	require.InDeltaSlice(t, []float64{-0.5, 1}, values(t, a), 1e-12)

	heads := NewLayerNorm("q", topology.CohereQNorm, floats([]float64{1, 2, 3, 4}, 2, 2), 0)
	in := ByHead(floats([]float64{0, 2, 7, 1, 4, 0, 0, 2}, 2, 4), 2)
	out := heads.Forward(step(t), il.Tuple{in}).(il.Tuple)
	require.InDeltaSlice(t, []float64{-1, 2, 3, -4, 1, -2, -3, 4}, values(t, out.Tensor(0)), 1e-12)
	require.Nil(t, out[1])
}

// TestLayerNormRoundsOnce: float32 up to the result, in every profile.
func TestLayerNormRoundsOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		const h = 48
		x, w := random(rng, d, 5, h), random(rng, d, h)
		v, weights := values(t, x), values(t, w)
		var want []float64
		for i := range 5 {
			row, mean, squares := v[i*h:][:h], 0., 0.
			for _, x := range row {
				mean += x / h
			}
			for _, x := range row {
				squares += (x - mean) * (x - mean) / h
			}
			for j, x := range row {
				want = append(want, (x-mean)/math.Sqrt(squares+1e-5)*weights[j])
			}
		}
		once := values(t, rounded(d, x.Shape, want))
		for _, p := range Roundings()[1:] {
			n, err := NewNumerics(d, p, 2)
			require.NoError(t, err)
			out := NewLayerNorm("n", topology.CohereLayerNorm, w, 1e-5).Forward(&Step{Numerics: n, Hooks: NoHooks{}}, il.Tuple{x}).(il.Tuple)
			equal := 0
			for i, y := range values(t, out.Tensor(0)) {
				if y == once[i] {
					equal++
				}
			}
			require.GreaterOrEqual(t, equal, len(once)-1, "%s %s", d, p) // a sum in float32 may be on the other side
		}
	}
}

// TestNeighbours: an interleaved rope turns (x[2j], x[2j+1]) by frequency j, and leaves the
// dimensions behind the rotated ones alone.
func TestNeighbours(t *testing.T) {
	shape := AttentionShape{Heads: 1, KVHeads: 1, HeadDim: 6}
	m := NewRotary("r", Rope{Theta: 100, Dim: 4, Interleaved: true}, shape) // frequencies 1 and 1/10
	q, k := floats([]float64{1, 0, 0, 1, 8, 9}, 1, 6), floats([]float64{0, 1, 1, 1, 5, 6}, 1, 6)
	a, b := Two(step(t).Call(m, ints(3), q, k))
	sin, cos := math.Sincos(3)
	sin2, cos2 := math.Sincos(0.3)
	require.InDeltaSlice(t, []float64{cos, sin, -sin2, cos2, 8, 9}, values(t, a), 1e-12)
	require.InDeltaSlice(t, []float64{-sin, cos, cos2 - sin2, cos2 + sin2, 5, 6}, values(t, b), 1e-12)
	require.Same(t, q, a)
}

// TestNeighboursAreHalves: the order of the dimensions is all that differs, in the bits of
// every profile; where an engine rounds in torch, it rounds products in 2026 too.
func TestNeighboursAreHalves(t *testing.T) {
	const rows, dim = 9, 16
	rng := rand.New(rand.NewPCG(8, 2))
	positions := tensor.FromInts(tensor.Int64, []int{0, 1, 2, 3, 4, 50, 51, 52, 900}, rows)
	shape := AttentionShape{Heads: 1, KVHeads: 1, HeadDim: dim}
	x := random(rng, tensor.BFloat16, rows, dim)
	halves := x.Clone()
	swap := func(from, to *tensor.Tensor, at func(j, side int) (int, int)) {
		for i := range rows {
			for j := range dim / 2 {
				for side := range 2 {
					a, b := at(j, side)
					copy(to.Data[2*(i*dim+b):][:2], from.Data[2*(i*dim+a):][:2])
				}
			}
		}
	}
	swap(x, halves, func(j, side int) (int, int) { return 2*j + side, j + side*dim/2 })
	turn := func(x *tensor.Tensor, rope Rope, p Rounding) *tensor.Tensor {
		n, err := NewNumerics(tensor.BFloat16, p, 1)
		require.NoError(t, err)
		a, _ := Two(NewRotary("r", rope, shape).Forward(&Step{Numerics: n, Hooks: NoHooks{}}, il.Tuple{positions, x.Clone(), x.Clone()}))
		return a
	}
	for _, p := range Roundings()[1:] {
		got := turn(x, Rope{Theta: 1e4, Dim: dim, Interleaved: true}, p)
		back := got.Clone()
		swap(turn(halves, Rope{Theta: 1e4, Dim: dim}, p), back, func(j, side int) (int, int) { return j + side*dim/2, 2*j + side })
		require.Equal(t, back.Bytes(), got.Bytes(), "%s", p)
	}
	plain := Rope{Theta: 1e4, Dim: dim}
	torch := plain
	torch.InTorch = true
	require.NotEqual(t, turn(x, plain, VLLM2025).Bytes(), turn(x, plain, VLLM2026).Bytes())
	require.Equal(t, turn(x, plain, VLLM2025).Bytes(), turn(x, torch, VLLM2026).Bytes())
}

// TestScaledLogits: logits are rounded, then scaled by a factor of float32 and rounded again.
func TestScaledLogits(t *testing.T) {
	d := tensor.BFloat16
	w := rounded(d, []int{3, 1}, []float64{1.0078125, 1.5, -2.015625})
	n, err := NewNumerics(d, VLLM2025, 1)
	require.NoError(t, err)
	x := rounded(d, []int{1, 1}, []float64{1.0078125})
	of := func(factor, divisor float64) []float64 {
		m := NewLogitsProcessor("m", "ParallelLMHead", Dense{w})
		m.Factor, m.Divisor = factor, divisor
		return values(t, One(m.Forward(&Step{Numerics: n, Hooks: NoHooks{}}, il.Tuple{m.Object, x})))
	}
	plain := of(0, 0)
	require.Equal(t, plain, of(1, 1))
	for _, by := range []float64{0.3, 1. / 6} {
		var want []float64
		for _, y := range plain {
			want = append(want, float64(float32(y)*float32(by)))
		}
		want = values(t, rounded(d, []int{1, 3}, want))
		require.Equal(t, want, of(by, 0))
		require.Equal(t, want, of(0, 1/by))
	}
}
