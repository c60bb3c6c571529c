package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// sunk is an attention with sinks and its arguments.
func sunk(d tensor.DType) (*Attention, il.Tuple) {
	r := rand.New(rand.NewPCG(3, 4))
	shape := AttentionShape{Heads: 4, KVHeads: 2, HeadDim: 8, Window: 5, Scale: 0.3, Sinks: normal(r, d, 4)}
	return NewAttention("attn", shape), il.Tuple{normal(r, d, 9, 32), normal(r, d, 9, 16), normal(r, d, 9, 16)}
}

// attendByHand is softmax over the scores of the window and a sink, without the sink's
// share.
func attendByHand(t *testing.T, m *Attention, in il.Tuple, sink func(head int, s float64) float64) []float64 {
	q, k, v, sinks := elements(t, in.Tensor(0)), elements(t, in.Tensor(1)), elements(t, in.Tensor(2)), elements(t, m.Sinks)
	d, group := m.HeadDim, m.Heads/m.KVHeads
	out := make([]float64, len(q))
	for row := range in.Tensor(0).Shape[0] {
		for h := range m.Heads {
			sum := sink(h, sinks[h])
			y := out[row*m.Heads*d+h*d:][:d]
			for j := max(0, row-m.Window+1); j <= row; j++ {
				s := 0.
				for i := range d {
					s += q[row*m.Heads*d+h*d+i] * k[j*m.KVHeads*d+h/group*d+i]
				}
				e := math.Exp(s * m.Scale)
				sum += e
				for i := range d {
					y[i] += e * v[j*m.KVHeads*d+h/group*d+i]
				}
			}
			for i := range d {
				y[i] /= sum
			}
		}
	}
	return out
}

func asItIs(_ int, s float64) float64 { return math.Exp(s) }

// A sink joins the sum of its head, unscaled and without a value, in every attention.
func TestSinksByHand(t *testing.T) {
	for _, rounding := range Roundings() {
		for _, d := range []tensor.DType{tensor.Float64, tensor.Float32, tensor.BFloat16} {
			m, in := sunk(d)
			num, err := NewNumerics(d, rounding, 2)
			require.NoError(t, err)
			s := &Step{Numerics: num, Hooks: NoHooks{}, Spans: []Span{{Lo: 0, Hi: 9, Cache: NewCache()}}}
			got, want := elements(t, One(m.Forward(s, in))), attendByHand(t, m, in, asItIs)
			off := map[tensor.DType]float64{tensor.Float64: 1e-12, tensor.Float32: 1e-5, tensor.BFloat16: 0.03}[d]
			for i := range want {
				require.InDelta(t, want[i], got[i], off, "%s %s: element %d", rounding, d, i)
			}
		}
	}
}

// Rounding explains what other attentions with sinks return, and not one whose sink is
// scaled, left out or another head's.
func TestSinksNoise(t *testing.T) {
	m, in := sunk(tensor.BFloat16)
	eager, err := NewNumerics(tensor.BFloat16, TransformersEager, 1)
	require.NoError(t, err)
	num, err := NewNumerics(tensor.BFloat16, VLLM2025, 1)
	require.NoError(t, err)
	step := func(n Numerics) *Step {
		return &Step{Numerics: n, Hooks: NoHooks{}, Spans: []Span{{Lo: 0, Hi: 9, Cache: NewCache()}}}
	}
	deviate := func(recorded *tensor.Tensor) float64 {
		s := step(num)
		z := Deviation(s, m, in, 0, recorded, One(m.Forward(s, in)))
		require.NotNil(t, z)
		return rmsOf(elements(t, z))
	}
	require.Less(t, deviate(One(m.Forward(step(eager), in))), 1.5)
	for name, sink := range map[string]func(int, float64) float64{
		"scaled":   func(_ int, s float64) float64 { return math.Exp(s * m.Scale) },
		"left out": func(int, float64) float64 { return 0 },
		"twice":    func(_ int, s float64) float64 { return 2 * math.Exp(s) },
	} {
		require.Greater(t, deviate(rounded(tensor.BFloat16, []int{9, 32}, attendByHand(t, m, in, sink))), 5., name)
	}
}

// SwigluOAI takes gates and ups in turns, clamps the gate above and the up on both sides,
// and rounds once, where torch rounds every operation.
func TestSwigluOAIByHand(t *testing.T) {
	h := []float64{1, 2, -3, 0.5, 9, 9, -20, -9, 7.5, -1, 0.3, 0.7}
	var want []float64
	for i := 0; i < len(h); i += 2 {
		g, u := math.Min(h[i], 7), math.Max(math.Min(h[i+1], 7), -7)
		want = append(want, (u+1)*g/(1+math.Exp(-1.702*g)))
	}
	num, err := NewNumerics(tensor.Float64, VLLM2025, 1)
	require.NoError(t, err)
	got := make([]float64, len(want))
	SwigluOAI{1.702, 7}.act64(num.ops.(*ops[float64]), got, append([]float64(nil), h...))
	require.InDeltaSlice(t, want, got, 1e-14)

	differ := 0
	for _, rounding := range []Rounding{VLLM2025, Transformers} {
		num, err := NewNumerics(tensor.BFloat16, rounding, 1)
		require.NoError(t, err)
		x, y := make([]float32, len(h)), make([]float32, len(want))
		for i := range h {
			x[i] = float32(h[i])
		}
		SwigluOAI{1.702, 7}.act32(num.ops.(*ops[float32]), y, x)
		for i := range want {
			if float32(want[i]) != y[i] {
				require.InDelta(t, want[i], y[i], 0.05*math.Abs(want[i]))
				differ++
			}
		}
		if rounding == VLLM2025 {
			require.LessOrEqual(t, differ, 3) // last places of float32
			differ = 0
		}
	}
	require.Greater(t, differ, 3)
}
