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

// latentCase is a latent attention with random weights and arguments.
type latentCase struct {
	shape         LatentShape
	kvB           *Linear
	q, latent, pe *tensor.Tensor
}

func newLatentCase(d tensor.DType, rows int) *latentCase {
	rng := rand.New(rand.NewPCG(5, uint64(rows)))
	c := &latentCase{shape: LatentShape{Heads: 3, Nope: 24, Rope: 16, Latent: 64, Value: 20, Scale: 1 / math.Sqrt(40)}}
	w := random(rng, tensor.Float32, 3*44, 64)
	scaled := valuesOf(w)
	for i := range scaled {
		scaled[i] /= 8
	}
	c.kvB = NewLinear("kv_b_proj", topology.KVBProj, PackedWeight{"", Dense{rounded(d, []int{3 * 44, 64}, scaled)}, nil})
	c.q, c.latent, c.pe = random(rng, d, rows, 3, 40), random(rng, d, rows, 64), random(rng, d, rows, 1, 16)
	return c
}

func valuesOf(x *tensor.Tensor) []float64 {
	v := make([]float64, x.Numel())
	tensor.LoadFloat64(v, x.DType, x.Data)
	return v
}

// run computes rows in chunks, of which requests with up to so many new tokens decode, and
// returns the step that the last chunk was computed in, with its module.
func (c *latentCase) run(t *testing.T, d tensor.DType, rounding Rounding, decodeUpTo int, chunks ...int) (m *LatentAttention, s *Step, in il.Tuple, out *tensor.Tensor) {
	n, err := NewNumerics(d, rounding, 2)
	require.NoError(t, err)
	m = NewLatentAttention("attn", topology.MLAAttention, c.shape, c.kvB, decodeUpTo)
	cache := NewCache()
	var all []*tensor.Tensor
	at := 0
	for _, k := range chunks {
		s = &Step{Numerics: n, Hooks: NoHooks{}, Spans: []Span{{Lo: 0, Hi: k, Cache: cache}}}
		in = il.Tuple{c.q.Narrow(0, at, at+k).Clone(), c.latent.Narrow(0, at, at+k).Clone(), c.pe.Narrow(0, at, at+k).Clone()}
		all = append(all, One(m.Forward(s, in)))
		at += k
	}
	return m, s, in, all[len(all)-1]
}

// The ways to compute latent attention are within the noise of one another, and one wrong
// value is not.
func TestLatentNoise(t *testing.T) {
	const d = tensor.BFloat16
	c := newLatentCase(d, 48)
	for _, chunks := range [][]int{{48}, {20, 28}, {47, 1}} {
		_, _, _, asPrompt := c.run(t, d, VLLM2025, 0, chunks...)
		m, s, in, decoded := c.run(t, d, VLLM2026, 512, chunks...)
		z := elements(t, Deviation(s, m, in, 0, asPrompt, decoded))
		require.InDelta(t, 0.65, rmsOf(z), 0.2, "%v", chunks) // each way has some of the points
		require.Less(t, slices.Max(z), 5.)
		bad := elements(t, decoded)
		bad[7] = 1.5*bad[7] + math.Copysign(0.2, bad[7])
		require.Greater(t, elements(t, Deviation(s, m, in, 0, rounded(d, decoded.Shape, bad), decoded))[7], 10.)
	}
}

// In float64 the ways are one, in any chunks.
func TestLatentWays(t *testing.T) {
	c := newLatentCase(tensor.Float64, 30)
	_, _, _, want := c.run(t, tensor.Float64, VLLM2025, 0, 30)
	last := elements(t, want.Narrow(0, 18, 30).Clone())
	for _, chunks := range [][]int{{18, 12}, {5, 13, 12}} {
		for _, upTo := range []int{0, 12, 512} {
			_, _, _, got := c.run(t, tensor.Float64, VLLM2026, upTo, chunks...)
			require.InDeltaSlice(t, last, elements(t, got), 1e-12)
		}
	}
}

// What is rotated is within its noise whether products are rounded or not.
func TestLatentRotaryNoise(t *testing.T) {
	const d = tensor.BFloat16
	rng := rand.New(rand.NewPCG(6, 1))
	q, k := random(rng, d, 20, 3, 16), random(rng, d, 20, 1, 16)
	positions := make([]int, 20)
	for i := range positions {
		positions[i] = i + 3
	}
	in := func() il.Tuple { return il.Tuple{tensor.FromInts(tensor.Int64, positions, 20), q.Clone(), k.Clone()} }
	turn := func(rope Rope) (*LatentRotary, *Step, il.Value) {
		n, err := NewNumerics(d, VLLM2026, 1)
		require.NoError(t, err)
		s := &Step{Numerics: n, Hooks: NoHooks{}}
		m := NewLatentRotary("rope", topology.LatentRotaryEmbedding, rope, 3)
		return m, s, m.Forward(s, in())
	}
	_, _, torch := turn(Rope{Theta: 10000, Dim: 16, InTorch: true})
	m, s, kernel := turn(Rope{Theta: 10000, Dim: 16})
	for i := range 2 {
		recorded, made := torch.(il.Tuple).Tensor(i), kernel.(il.Tuple).Tensor(i)
		z := elements(t, Deviation(s, m, in(), i, recorded, made))
		require.InDelta(t, 0.9, rmsOf(z), 0.25, "result %d", i)
		bad := elements(t, made)
		bad[33] += 0.3
		require.Greater(t, math.Abs(elements(t, Deviation(s, m, in(), i, rounded(d, made.Shape, bad), made))[33]), 8.)
	}
}

// With FlashInfer a rope has its table in float32, and rounds once, in place.
func TestLatentRotaryFloatTable(t *testing.T) {
	const d = tensor.BFloat16
	n, err := NewNumerics(d, VLLM2026, 1)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(9, 1))
	q, k := random(rng, d, 3, 2, 8), random(rng, d, 3, 1, 8)
	before := elements(t, q)
	rope := Rope{Theta: 10000, Dim: 8, FloatTable: true}
	in := il.Tuple{tensor.FromInts(tensor.Int64, []int{5, 6, 7}, 3), q, k}
	out := NewLatentRotary("rope", topology.LatentRotaryEmbedding, rope, 2).Forward(&Step{Numerics: n, Hooks: NoHooks{}}, in).(il.Tuple)
	require.Same(t, q, out.Tensor(0))
	want := make([]float64, len(before))
	for i := range 6 {
		for j, f := range rope.InvFreq(func(x float64) float64 { return float64(float32(x)) }) {
			x, y, at := before[i*8+2*j], before[i*8+2*j+1], float64(float32(float64(5+i/2)*f))
			want[i*8+2*j], want[i*8+2*j+1] = x*math.Cos(at)-y*math.Sin(at), y*math.Cos(at)+x*math.Sin(at)
		}
	}
	require.Equal(t, elements(t, rounded(d, q.Shape, want)), elements(t, q))
}
