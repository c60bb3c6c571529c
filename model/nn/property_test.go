package nn

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

var dtypes = []tensor.DType{tensor.Float64, tensor.Float32, tensor.BFloat16, tensor.Float16}

func random(rng *rand.Rand, d tensor.DType, shape ...int) *tensor.Tensor {
	x := tensor.New(d, shape...)
	v := make([]float64, x.Numel())
	for i := range v {
		v[i] = rng.NormFloat64()
	}
	tensor.StoreFloat64(x.Data, d, v)
	return x
}

// zoo is a module of every kind that computes by rows, for rows of a width.
func zoo(rng *rand.Rand, d tensor.DType, width int) []Module {
	w := func(shape ...int) *tensor.Tensor { return random(rng, d, shape...) }
	shape := AttentionShape{Heads: width / 4, KVHeads: width / 8, HeadDim: 4, Scale: 0.5}
	return []Module{
		NewEmbedding("embed", w(50, width)),
		NewLinear("linear", topology.QKVParallelLinear,
			PackedWeight{Weight: Dense{w(70, width)}, Bias: w(70)}, PackedWeight{Weight: Dense{w(5, width)}}),
		NewRMSNorm("norm", topology.PlainRMSNorm, w(width), 1e-5, false),
		NewRMSNorm("fused", topology.RMSNorm, w(width), 1e-5, true),
		NewRotary("rotary", Rope{Theta: 10000, Dim: 4}, shape),
		NewAttention("attention", shape),
		NewSiluAndMul("act", width/2),
		NewLogitsProcessor("logits_processor", "ParallelLMHead", Dense{w(33, width)}),
	}
}

// arguments are random ones for rows tokens of one request.
func arguments(rng *rand.Rand, d tensor.DType, m Module, rows int) il.Tuple {
	var in il.Tuple
	for _, input := range m.Inputs() {
		switch {
		case input.Fixed:
			in = append(in, input.Value)
		case input.Ints:
			v := make([]int, rows)
			for i := range v {
				v[i] = i
			}
			in = append(in, ints(v...))
		default:
			in = append(in, random(rng, d, rows, input.Width))
		}
	}
	return in
}

// part is rows lo to hi-1 of arguments, copied: modules write in place.
func part(in il.Tuple, lo, hi int) il.Tuple {
	out := make(il.Tuple, len(in))
	for i, x := range in {
		out[i] = x
		if t, ok := x.(*tensor.Tensor); ok {
			out[i] = t.Narrow(0, lo, hi).Clone()
		}
	}
	return out
}

// bits are those of all that a module returns.
func bits(v il.Value) []byte {
	t, ok := v.(il.Tuple)
	if !ok {
		t = il.Tuple{v}
	}
	var out []byte
	for i := range t {
		if x := t.Tensor(i); x != nil {
			out = append(out, x.Bytes()...)
		}
	}
	return out
}

// firstBits are those of the first result alone, whose rows follow one another.
func firstBits(v il.Value) []byte { return One(v).Bytes() }

// TestRowsAndThreads is the promise of every module: a row has the same bits
// whatever is computed beside it, in one call or in two, on any number of
// threads.
func TestRowsAndThreads(t *testing.T) {
	const rows, cut = 9, 4
	for _, d := range dtypes {
		for _, rounding := range []Rounding{VLLM2025, VLLM2026} {
			rng := rand.New(rand.NewPCG(1, uint64(d)))
			for _, m := range zoo(rng, d, 32) {
				t.Run(fmt.Sprint(d, "/", rounding, "/", m.Name()), func(t *testing.T) {
					in := arguments(rng, d, m, rows)
					require.NoError(t, CheckInputs(m, d, in))
					run := func(threads int, c *Cache, in il.Tuple, n int) il.Value {
						num, err := NewNumerics(d, rounding, threads)
						require.NoError(t, err)
						return m.Forward(&Step{Numerics: num, Hooks: NoHooks{}, Spans: []Span{{0, n, c}}}, in)
					}
					whole := run(1, NewCache(), part(in, 0, rows), rows)
					require.Equal(t, bits(whole), bits(run(3, NewCache(), part(in, 0, rows), rows)), "threads")
					c := NewCache()
					first, second := run(1, c, part(in, 0, cut), cut), run(2, c, part(in, cut, rows), rows-cut)
					require.True(t, bytes.Equal(firstBits(whole), append(firstBits(first), firstBits(second)...)), "in two calls")
				})
			}
		}
	}
}

// TestRowsOfWeights is that of every LinearMethod: rows of a weight alone
// multiply as they do in the whole.
func TestRowsOfWeights(t *testing.T) {
	for _, d := range dtypes {
		rng := rand.New(rand.NewPCG(2, uint64(d)))
		for name, w := range map[string]LinearMethod{"dense": Dense{random(rng, d, 40, 24)}} {
			num, err := NewNumerics(d, VLLM2025, 1)
			require.NoError(t, err)
			x := random(rng, d, 3, 24)
			whole := num.Linear(x, []PackedWeight{{Weight: w}})
			for _, r := range [][2]int{{0, 40}, {0, 7}, {7, 33}, {39, 40}} {
				rows := w.Rows(r[0], r[1])
				out, in := rows.Shape()
				require.Equal(t, [2]int{r[1] - r[0], 24}, [2]int{out, in}, name)
				require.Equal(t, whole.Narrow(1, r[0], r[1]).Clone().Data, num.Linear(x, []PackedWeight{{Weight: rows}}).Data, "%s %s %v", name, d, r)
			}
		}
	}
}

// round is the nearest value of a type.
func round(d tensor.DType, x float64) float64 {
	one := tensor.New(d, 1)
	tensor.StoreFloat64(one.Data, d, []float64{x})
	var out [1]float64
	tensor.LoadFloat64(out[:], d, one.Data)
	return out[0]
}

// TestRoundingPoints holds the profiles to the points where vLLM's kernels
// round.
func TestRoundingPoints(t *testing.T) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16} {
		rng := rand.New(rand.NewPCG(3, uint64(d)))
		r := func(x float64) float64 { return round(d, x) }
		differ := 0
		for range 200 {
			x, w := random(rng, d, 1, 2), random(rng, d, 2)
			xs, ws := values(t, x), values(t, w)
			f := func(v float64) float64 { return float64(float32(v)) }
			s := f(1 / math.Sqrt(f(f(f(xs[0]*xs[0])+f(xs[1]*xs[1]))/2)))
			norm := NewRMSNorm("n", topology.PlainRMSNorm, w, 0, false)
			twice, once := make([]float64, 2), make([]float64, 2)
			for i := range twice {
				twice[i], once[i] = r(f(r(f(xs[i]*s))*ws[i])), r(f(f(xs[i]*s)*ws[i]))
			}
			for profile, want := range map[Rounding][]float64{VLLM2025: twice, VLLM2026: once} {
				num, err := NewNumerics(d, profile, 1)
				require.NoError(t, err)
				require.Equal(t, want, values(t, norm.Forward(&Step{Numerics: num}, il.Tuple{x})), "%s %s", d, profile)
			}
			if twice[0] != once[0] || twice[1] != once[1] {
				differ++
			}
		}
		require.Greater(t, differ, 10, "the profiles are told apart")
	}
}

// TestRotationKeepsLengths of every pair.
func TestRotationKeepsLengths(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 0))
	m := NewRotary("r", Rope{Theta: 10000, Dim: 8}, AttentionShape{Heads: 2, KVHeads: 1, HeadDim: 8})
	for range 20 {
		pos := rng.IntN(1000)
		q, k := random(rng, tensor.Float64, 1, 16), random(rng, tensor.Float64, 1, 8)
		before := values(t, q)
		a, _ := Two(step(t).Call(m, ints(pos), q, k))
		after := values(t, a)
		for h := range 4 { // the pairs of the first head
			require.InDelta(t, math.Hypot(before[h], before[h+4]), math.Hypot(after[h], after[h+4]), 1e-12)
		}
	}
}

// TestNumericsRefuses what no kernel has.
func TestNumericsRefuses(t *testing.T) {
	for want, make := range map[string]func() error{
		"cannot run in int32: expected float64, float32, bfloat16 or float16":                             func() error { _, err := NewNumerics(tensor.Int32, VLLM2025, 1); return err },
		`unknown rounding profile "x": expected vllm-2025, vllm-2026, transformers or transformers-eager`: func() error { _, err := NewNumerics(tensor.Float32, "x", 1); return err },
		"0 threads: expected 1 or more": func() error { _, err := NewNumerics(tensor.Float32, VLLM2025, 0); return err },
	} {
		require.EqualError(t, make(), want)
	}
}
