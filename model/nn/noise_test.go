package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// elements are those of a tensor.
func elements(t *testing.T, x *tensor.Tensor) []float64 {
	t.Helper()
	v := make([]float64, x.Numel())
	require.NoError(t, x.Float64s(v, 0))
	return v
}

// rounded is a tensor of a type that holds the values, each rounded.
func rounded(d tensor.DType, shape []int, v []float64) *tensor.Tensor {
	x := tensor.New(d, shape...)
	f := make([]float32, len(v))
	for i := range v {
		f[i] = float32(v[i])
	}
	tensor.StoreFloat32(x.Data, d, f)
	return x
}

// deviationOf is z of what another kernel returned for the arguments.
func deviationOf(t *testing.T, s *Step, m Module, in func() il.Tuple, result int, recorded *tensor.Tensor) []float64 {
	t.Helper()
	out := m.Forward(s, in())
	var made *tensor.Tensor
	if tuple, ok := out.(il.Tuple); ok {
		made = tuple.Tensor(result)
	} else {
		made = One(out)
	}
	z := Deviation(s, m, in(), result, recorded, made)
	if z == nil {
		return make([]float64, recorded.Numel())
	}
	return elements(t, z)
}

func rmsOf(z []float64) float64 {
	sum := 0.
	for _, v := range z {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(z)))
}

// A linear that splits its sum and rounds the parts is off by what its noise
// says, whether many of its elements differ or few, and one with a wrong element
// by that element's size.
func TestLinearNoise(t *testing.T) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		n, err := NewNumerics(d, VLLM2025, 2)
		require.NoError(t, err)
		s := &Step{Numerics: n, Hooks: NoHooks{}}
		rng := rand.New(rand.NewPCG(1, uint64(d)))
		const rows, k, out = 24, 96, 70
		x, w, bias := random(rng, d, rows, k), random(rng, d, out, k), random(rng, d, out)
		m := NewLinear("m", topology.OProj, PackedWeight{"", Dense{w}, bias})
		in := func() il.Tuple { return il.Tuple{x.Clone()} }

		xs, ws, bs := elements(t, x), elements(t, w), elements(t, bias)
		split := make([]float64, rows*out)
		for r := range rows {
			for j := range out {
				sum := bs[j]
				for part := range 4 {
					p := 0.
					for i := part * k / 4; i < (part+1)*k/4; i++ {
						p += xs[r*k+i] * ws[j*k+i]
					}
					sum += elements(t, rounded(d, []int{1}, []float64{p}))[0]
				}
				split[r*out+j] = sum
			}
		}
		z := deviationOf(t, s, m, in, 0, rounded(d, []int{rows, out}, split))
		require.InDelta(t, 1, rmsOf(z), 0.2, "%s", d)
		require.Less(t, slices.Max(z), 5.5)

		good := One(m.Forward(s, in()))
		for _, share := range []int{1, 5} { // few elements one by one, many as products
			bad := elements(t, good)
			for i := 0; i < len(bad); i += rows * out / (4 * share * share * share) {
				bad[i] += 0.1*bad[i] + math.Copysign(1, bad[i]) // too large in size
			}
			z = deviationOf(t, s, m, in, 0, rounded(d, []int{rows, out}, bad))
			for i := range z {
				if i%(rows*out/(4*share*share*share)) != 0 {
					require.LessOrEqual(t, math.Abs(z[i]), 2., "element %d", i)
				} else {
					require.Greater(t, z[i], 3., "element %d", i)
				}
			}
		}
	}
}

// z of an element does not depend on how many others differ.
func TestLinearNoiseBothWays(t *testing.T) {
	n, err := NewNumerics(tensor.BFloat16, VLLM2025, 2)
	require.NoError(t, err)
	s := &Step{Numerics: n, Hooks: NoHooks{}}
	rng := rand.New(rand.NewPCG(7, 8))
	x, w := random(rng, tensor.BFloat16, 40, 300), random(rng, tensor.BFloat16, 300, 300)
	m := NewLinear("m", topology.OProj, PackedWeight{"", Dense{w}, nil})
	in := func() il.Tuple { return il.Tuple{x.Clone()} }
	good := elements(t, One(m.Forward(s, in())))
	z := map[int][]float64{}
	for _, every := range []int{1, 97} {
		bad := slices.Clone(good)
		for i := 0; i < len(bad); i += every {
			bad[i] *= 1.1
		}
		z[every] = deviationOf(t, s, m, in, 0, rounded(tensor.BFloat16, []int{40, 300}, bad))
	}
	for i := 0; i < len(good); i += 97 {
		require.InEpsilon(t, z[1][i], z[97][i], 0.01, fmt.Sprint(i))
	}
}

// Norms, rope, activations and attention in the arithmetic of another profile, or
// in exact arithmetic, are off by rounding; a wrong eps of a norm, an angle, a
// value and a key are not.
func TestRowNoise(t *testing.T) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		rng := rand.New(rand.NewPCG(9, uint64(d)))
		const rows = 16
		weight := random(rng, d, 64)
		shape := AttentionShape{Heads: 4, KVHeads: 2, HeadDim: 16, Scale: 0.25}
		positions := tensor.New(tensor.Int64, rows)
		for i := range rows {
			positions.Data[8*i] = byte(3 * i)
		}
		x, y, two := random(rng, d, rows, 64), random(rng, d, rows, 64), random(rng, d, rows, 128)
		k, v := random(rng, d, rows, 32), random(rng, d, rows, 32)
		wide := AttentionShape{Heads: 2, KVHeads: 1, HeadDim: 48, Scale: 1 / math.Sqrt(48)}
		q48, k48, v48 := random(rng, d, rows, 96), random(rng, d, rows, 48), random(rng, d, rows, 48)
		kept := NewRMSNorm("m", topology.PlainRMSNorm, weight, 1e-5, false)
		kept.Float = true
		for name, c := range map[string]struct {
			m, wrong Module
			in       []*tensor.Tensor
			results  int
		}{
			"norm":      {NewRMSNorm("m", topology.RMSNorm, weight, 1e-5, false), NewRMSNorm("m", topology.RMSNorm, weight, 0.3, false), []*tensor.Tensor{x}, 1},
			"add norm":  {NewRMSNorm("m", topology.RMSNorm, weight, 1e-5, true), NewRMSNorm("m", topology.RMSNorm, weight, 0.3, true), []*tensor.Tensor{x, y}, 1},
			"rope":      {NewRotary("m", Rope{Theta: 1e4, Dim: 16}, shape), NewRotary("m", Rope{Theta: 2e4, Dim: 16}, shape), []*tensor.Tensor{positions, x, k}, 2},
			"pairs":     {NewRotary("m", Rope{Theta: 1e4, Dim: 8, Interleaved: true}, shape), NewRotary("m", Rope{Theta: 1e4, Dim: 8}, shape), []*tensor.Tensor{positions, x, k}, 2},
			"mean":      {NewLayerNorm("m", topology.CohereLayerNorm, weight, 1e-5), NewLayerNorm("m", topology.CohereLayerNorm, weight, 0.3), []*tensor.Tensor{x, y}, 1},
			"no mean":   {NewLayerNorm("m", topology.CohereLayerNorm, weight, 1e-5), NewRMSNorm("m", topology.PlainRMSNorm, weight, 1e-5, false), []*tensor.Tensor{x}, 1},
			"silu":      {NewSiluAndMul("m", 64), nil, []*tensor.Tensor{two}, 1},
			"float":     {kept, NewRMSNorm("m", topology.PlainRMSNorm, weight, 0.3, false), []*tensor.Tensor{x}, 1},
			"heads 48":  {NewAttention("m", wide), NewAttention("m", AttentionShape{Heads: 2, KVHeads: 1, HeadDim: 48, Scale: 0.17}), []*tensor.Tensor{q48, k48, v48}, 1},
			"attention": {NewAttention("m", shape), NewAttention("m", AttentionShape{Heads: 4, KVHeads: 2, HeadDim: 16, Scale: 0.3}), []*tensor.Tensor{x, k, v}, 1},
		} {
			in := func() il.Tuple {
				var t il.Tuple
				for _, x := range c.in {
					t = append(t, x.Clone())
				}
				return t
			}
			step := func(p Rounding) *Step {
				n, err := NewNumerics(d, p, 2)
				require.NoError(t, err)
				return &Step{Numerics: n, Hooks: NoHooks{}, Spans: []Span{{Lo: 0, Hi: rows, Cache: NewCache()}}}
			}
			for result := range c.results {
				recorded := func(m Module, p Rounding) *tensor.Tensor {
					out := m.Forward(step(p), in())
					if tuple, ok := out.(il.Tuple); ok {
						return tuple.Tensor(result).Clone()
					}
					return One(out).Clone()
				}
				for _, p := range Roundings()[1:] {
					z := deviationOf(t, step(VLLM2025), c.m, in, result, recorded(c.m, p))
					require.Less(t, slices.Max(z), 5., "%s, %s, %s", name, d, p)
					require.Less(t, rmsOf(z), 1.2, "%s, %s, %s", name, d, p)
				}
				if c.wrong != nil {
					z := deviationOf(t, step(VLLM2025), c.m, in, result, recorded(c.wrong, VLLM2025))
					require.Greater(t, rmsOf(z), 5., "%s, %s", name, d)
				}
			}
		}
	}
}

// Of tokens with almost the same row of the head, the one that is farthest off
// stands for all: the others are off by the same roundings.
func TestLogitsNoise(t *testing.T) {
	const rows, hidden, vocab = 3, 64, 96
	d := tensor.BFloat16
	rng := rand.New(rand.NewPCG(5, 6))
	w := random(rng, d, vocab, hidden)
	like := []int{10, 11, 13, 20, 21, 90} // 12 and others between them are trained
	for _, j := range like[1:] {
		copy(w.Data[j*hidden*2:][:hidden*2], w.Data[like[0]*hidden*2:])
		w.Data[j*hidden*2] ^= 1 // the last place of one value
	}
	n, err := NewNumerics(d, VLLM2025, 2)
	require.NoError(t, err)
	s := &Step{Numerics: n, Hooks: NoHooks{}}
	m := NewLogitsProcessor("m", "ParallelLMHead", Dense{w})
	x := random(rng, d, rows, hidden)
	in := func() il.Tuple { return il.Tuple{m.Object, x.Clone(), nil} }
	made := One(m.Forward(s, in()))
	require.Equal(t, [][]int{like}, m.alike.of(s.ops.(*ops[float32]), m.Head))

	v := elements(t, made)
	for _, j := range append(like, 12, 50) {
		v[vocab+j] *= 1.5 // of one row
	}
	v[vocab+20] *= 1.2
	z := elements(t, Deviation(s, m, in(), 0, rounded(d, made.Shape, v), made))
	for j := range vocab {
		off := math.Abs(z[vocab+j]) > 3
		require.Equal(t, j == 20 || j == 12 || j == 50, off, "%d: %g", j, z[vocab+j])
	}
}

// An engine's angles are off by a last place or two of float32: at a zero of the sine
// that is far more than a last place of the table.
func TestAngleNoise(t *testing.T) {
	const rows, dim = 400, 64
	rope := Rope{Theta: 5e5, Dim: dim}
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		rng := rand.New(rand.NewPCG(11, uint64(d)))
		positions := tensor.New(tensor.Int64, rows)
		for i := range rows {
			positions.Data[8*i], positions.Data[8*i+1] = byte(i), byte(i>>8)
		}
		q, k := random(rng, d, rows, dim), random(rng, d, rows, dim)
		x, inv := elements(t, q), rope.InvFreq(func(x float64) float64 { return float64(float32(x)) })
		turned := make([]float64, rows*dim)
		for j, f := range inv {
			f *= 1 + 0x1p-23*float64(2*rng.IntN(2)-1)
			for i := range rows {
				cs := elements(t, rounded(d, []int{2}, []float64{math.Cos(float64(i) * f), math.Sin(float64(i) * f)}))
				a, b := x[i*dim+j], x[i*dim+dim/2+j]
				turned[i*dim+j], turned[i*dim+dim/2+j] = a*cs[0]-b*cs[1], b*cs[0]+a*cs[1]
			}
		}
		n, err := NewNumerics(d, VLLM2025, 2)
		require.NoError(t, err)
		m := NewRotary("m", rope, AttentionShape{Heads: 1, KVHeads: 1, HeadDim: dim})
		in := func() il.Tuple { return il.Tuple{positions.Clone(), q.Clone(), k.Clone()} }
		z := deviationOf(t, &Step{Numerics: n, Hooks: NoHooks{}}, m, in, 0, rounded(d, []int{rows, dim}, turned))
		require.Less(t, max(slices.Max(z), -slices.Min(z)), 6., "%s", d)
	}
}

// What cannot be told is not: other types, and arithmetic without rounding points.
func TestNoNoise(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, d := range []tensor.DType{tensor.Float32, tensor.Float64} {
		n, err := NewNumerics(d, VLLM2025, 1)
		require.NoError(t, err)
		s := &Step{Numerics: n, Hooks: NoHooks{}}
		m := NewSiluAndMul("m", 4)
		x := random(rng, d, 2, 8)
		require.Nil(t, Deviation(s, m, il.Tuple{x}, 0, random(rng, d, 2, 4), One(m.Forward(s, il.Tuple{x}))))
	}
}
