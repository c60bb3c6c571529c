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

// The engine and its attention choose the profile.
func TestRoundingOf(t *testing.T) {
	for _, c := range []struct {
		engine, attention string
		era               topology.Era
		want              Rounding
	}{
		{"transformers", "", 0, Transformers},
		{"transformers", "sdpa", 0, Transformers},
		{"transformers", "flash_attention_2", topology.Era2026, Transformers},
		{"transformers", "eager", 0, TransformersEager},
		{"vllm", "eager", 0, VLLM2025},
		{"vllm", "", topology.Era2026, VLLM2026},
		{"", "", 0, VLLM2025},
	} {
		require.Equal(t, c.want, RoundingOf(c.engine, c.attention, c.era), "%s %s", c.engine, c.attention)
	}
	for _, r := range Roundings() {
		require.NotEmpty(t, r.What())
		require.Contains(t, string(r), r.Engine())
	}
	require.Empty(t, Rounding("x").What())
	require.Empty(t, Rounding("x").Engine())
}

// eagerly is transformers' eager_attention_forward for one head, written out in
// float64 with a rounding after each operation.
func eagerly(d tensor.DType, q, k, v []float64, rows, dim int, scale float64) []float64 {
	r := func(x float64) float64 {
		b := make([]byte, 2)
		tensor.StoreFloat32(b, d, []float32{float32(x)})
		y := make([]float32, 1)
		tensor.LoadFloat32(y, d, b)
		return float64(y[0])
	}
	out := make([]float64, rows*dim)
	for i := range rows {
		p, most, sum := make([]float64, i+1), math.Inf(-1), 0.
		for j := range p {
			for e := range dim {
				p[j] += q[i*dim+e] * k[j*dim+e]
			}
			p[j] = r(r(p[j]) * float64(float32(scale)))
			most = max(most, p[j])
		}
		for j := range p {
			p[j] = math.Exp(p[j] - most)
			sum += p[j]
		}
		for e := range dim {
			y := 0.
			for j := range p {
				y += r(p[j]/sum) * v[j*dim+e]
			}
			out[i*dim+e] = r(y)
		}
	}
	return out
}

// Eager attention rounds scores, scaled scores and probabilities: nearly all
// values are those of the formula, where FlashAttention has others.
func TestEagerAttention(t *testing.T) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		rng := rand.New(rand.NewPCG(4, uint64(d)))
		const rows, dim = 40, 48
		q, k, v := random(rng, d, rows, dim), random(rng, d, rows, dim), random(rng, d, rows, dim)
		shape := AttentionShape{Heads: 1, KVHeads: 1, HeadDim: dim, Scale: 1 / math.Sqrt(dim)}
		want := eagerly(d, elements(t, q), elements(t, k), elements(t, v), rows, dim, shape.Scale)
		equal := func(r Rounding) (n int) {
			num, err := NewNumerics(d, r, 2)
			require.NoError(t, err)
			s := &Step{Numerics: num, Hooks: NoHooks{}, Spans: []Span{{Lo: 0, Hi: rows, Cache: NewCache()}}}
			for i, y := range elements(t, One(NewAttention("m", shape).Forward(s, il.Tuple{q, k, v}))) {
				if y == want[i] {
					n++
				}
			}
			return n
		}
		require.GreaterOrEqual(t, equal(TransformersEager), rows*dim*99/100, "%s", d)
		require.Less(t, equal(Transformers), rows*dim*90/100, "%s", d)
	}
}

// torch visits keys in blocks of 512 from the first on: below that, the largest
// score of all scales what is rounded. vLLM's blocks are smaller and go back.
func TestSDPABlocks(t *testing.T) {
	const dim = 16
	shape := AttentionShape{Heads: 1, KVHeads: 1, HeadDim: dim, Scale: 0.25}
	num, err := NewNumerics(tensor.BFloat16, Transformers, 1)
	require.NoError(t, err)
	o := num.ops.(*ops[float32])
	for _, c := range []struct {
		first, end int
		want       [][2]int
	}{
		{0, 300, [][2]int{{0, 300}}},
		{0, 1100, [][2]int{{0, 512}, {512, 1024}, {1024, 1100}}},
		{600, 1100, [][2]int{{600, 1024}, {1024, 1100}}},
	} {
		a := newSDPA(o, shape).(*flash[float32])
		var seen [][2]int
		a.inBlocks(c.first/a.block, (c.end-1)/a.block, func(b int) {
			seen = append(seen, [2]int{max(c.first, b*a.block), min(c.end, (b+1)*a.block)})
		})
		require.Equal(t, c.want, seen)
	}
}

// A norm whose class in transformers stays in float32 rounds once there, and as
// vLLM's others do in vLLM; so do a rope and its table.
func TestFloatModules(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const d, rows = tensor.BFloat16, 64
	x, w := random(rng, d, rows, 64), random(rng, d, 64)
	positions := tensor.New(tensor.Int64, rows)
	for i := range rows {
		positions.Data[8*i] = byte(i)
	}
	run := func(r Rounding, float bool) (norm, rope []float64) {
		num, err := NewNumerics(d, r, 1)
		require.NoError(t, err)
		s := &Step{Numerics: num, Hooks: NoHooks{}}
		m := NewRMSNorm("m", topology.PlainRMSNorm, w, 1e-5, false)
		m.Float = float
		q, _ := Two(NewRotary("m", Rope{Theta: 1e4, Dim: 16, Float: float}, AttentionShape{Heads: 4, KVHeads: 4, HeadDim: 16}).Forward(s, il.Tuple{positions, x.Clone(), x.Clone()}))
		return elements(t, One(m.Forward(s, il.Tuple{x}))), elements(t, q)
	}
	once, _ := run(VLLM2026, false)
	norm, rope := run(Transformers, true)
	require.Equal(t, once, norm)
	xs := elements(t, x)
	for i := range rows { // from angles in float32 to one rounding
		for h := range 4 {
			for j := range 8 {
				angle := float64(float32(i) * float32(1/math.Pow(1e4, float64(2*j)/16)))
				a, b := xs[i*64+h*16+j], xs[i*64+h*16+8+j]
				require.InDelta(t, a*math.Cos(angle)-b*math.Sin(angle), rope[i*64+h*16+j], math.Abs(rope[i*64+h*16+j])/256+1e-6)
			}
		}
	}
	for _, r := range []Rounding{VLLM2025, VLLM2026} {
		a, b := run(r, false)
		norm, rope := run(r, true)
		require.Equal(t, a, norm)
		require.Equal(t, b, rope)
	}
	twice, _ := run(VLLM2025, false)
	norm, _ = run(Transformers, false)
	require.Equal(t, twice, norm)
}
