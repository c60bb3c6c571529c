package nn

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// A residual stream in float32 beside a half type is added and returned as it is,
// normed without a rounding of the sum, and so in the noise of the norm.
func TestFloatResidual(t *testing.T) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		n, err := NewNumerics(d, VLLM2026, 1)
		require.NoError(t, err)
		s := &Step{Numerics: n, Hooks: NoHooks{}}
		rng := rand.New(rand.NewPCG(3, uint64(d)))
		const rows, h = 16, 64
		x, residual, w := random(rng, d, rows, h), random(rng, tensor.Float32, rows, h), random(rng, d, h)
		m := NewRMSNorm("norm", topology.RMSNorm, w, 1e-5, true)
		in := func() il.Tuple { return il.Tuple{x.Clone(), residual.Clone()} }
		require.NoError(t, CheckInputs(m, d, in()))
		require.ErrorContains(t, CheckInputs(m, d, il.Tuple{residual, residual}), "input 0 is float32[16,64], expected "+d.String())
		require.ErrorContains(t, CheckInputs(m, tensor.Float64, il.Tuple{x, residual}), "input 0 is")

		normed, sum := Two(m.Forward(s, in()))
		require.Equal(t, d, normed.DType)
		require.Equal(t, tensor.Float32, sum.DType)
		xs, rs, sums := elements(t, x), elements(t, residual), elements(t, sum)
		for i := range sums {
			require.Equal(t, float64(float32(xs[i])+float32(rs[i])), sums[i])
		}
		plain := NewRMSNorm("norm", topology.RMSNorm, w, 1e-5, false)
		require.NoError(t, CheckInputs(plain, d, il.Tuple{sum}))
		require.Equal(t, elements(t, One(plain.Forward(s, il.Tuple{sum}))), elements(t, normed))

		bad := elements(t, normed)
		bad[70] *= 1.2
		z := deviationOf(t, s, m, in, 0, rounded(d, []int{rows, h}, bad))
		require.Greater(t, z[70], 10.)
		z[70] = 0
		require.Less(t, rmsOf(z), 1.5)
		require.Nil(t, Deviation(s, m, in(), 1, rounded(tensor.Float32, []int{rows, h}, rs), sum))
	}
}
