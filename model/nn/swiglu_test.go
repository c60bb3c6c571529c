package nn

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// swigluAsHalves is a wrong activation: gates and ups are halves.
type swigluAsHalves struct{ SwigluOAI }

func (m swigluAsHalves) act32(o *ops[float32], out, h []float32) {
	var turns []float32
	for i := range out {
		turns = append(turns, h[i], h[len(out)+i])
	}
	swigluOAI(o, m.SwigluOAI, out, turns)
}

// What rounding explains of GPT-OSS's experts: other profiles, and no other gate.
func TestSwigluOAINoise(t *testing.T) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		r := rand.New(rand.NewPCG(9, uint64(d)))
		m := mixture(r, d, 6, 4)
		right := SwigluOAI{1.702, 7}
		m.Act, m.Like = right, TransformersExperts{Routing: TopKSoftmax{4}, HalfWeights: true}
		x, logits := normal(r, d, 40, 24), normal(r, d, 40, 6)
		deviation := func(p Rounding, act Activation) []float64 {
			step := func(p Rounding) *Step {
				n, err := NewNumerics(d, p, 2)
				require.NoError(t, err)
				return &Step{Numerics: n, Hooks: NoHooks{}}
			}
			in := func() il.Tuple { return il.Tuple{x.Clone(), logits.Clone()} }
			other := *m
			other.Act = act
			return deviationOf(t, step(VLLM2025), m, in, 0, One(other.Forward(step(p), in())))
		}
		for _, p := range Roundings()[1:] {
			z := deviation(p, right)
			require.Less(t, slices.Max(z), 5., "%s, %s", d, p)
			require.Less(t, rmsOf(z), 1.2, "%s, %s", d, p)
		}
		for name, act := range map[string]Activation{
			"halves": swigluAsHalves{right}, "alpha": SwigluOAI{1, 7}, "limit": SwigluOAI{1.702, 0.5}, "silu": SiluMul{},
		} {
			require.Greater(t, rmsOf(deviation(VLLM2025, act)), 5., "%s, %s", name, d)
		}
	}
}
