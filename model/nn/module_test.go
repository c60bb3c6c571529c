package nn

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

func floats(v []float64, shape ...int) *tensor.Tensor {
	return tensor.FromFloat64s(tensor.Float64, v, shape...)
}

func step(t *testing.T) *Step {
	n, err := NewNumerics(tensor.Float64, VLLM2025, 1)
	require.NoError(t, err)
	return &Step{Numerics: n, Hooks: NoHooks{}}
}

func values(t *testing.T, v il.Value) []float64 {
	x := one(v).Clone()
	out := make([]float64, x.Numel())
	tensor.LoadFloat64(out, x.DType, x.Data)
	return out
}

// TestNamed lists parents before children, and an object that two parents
// share at the first.
func TestNamed(t *testing.T) {
	shared := NewRotary("a.rotary_emb", Rope{}, AttentionShape{})
	attn := func(n string) *SelfAttention {
		m := NewSelfAttention(n)
		m.QKVProj, m.OProj = NewLinear(n+".qkv_proj"), NewLinear(n+".o_proj")
		m.RotaryEmb, m.Attn = shared, NewAttention(n+".attn", 0, AttentionShape{})
		return m
	}
	var names []string
	for _, m := range Named(attn("a"), attn("b")) {
		names = append(names, m.Name())
	}
	require.Equal(t, []string{"a", "a.qkv_proj", "a.o_proj", "a.rotary_emb", "a.attn", "b", "b.qkv_proj", "b.o_proj", "b.attn"}, names)
}

// TestForward computes small modules by hand.
func TestForward(t *testing.T) {
	s := step(t)
	linear := NewLinear("l",
		Part{Weight: floats([]float64{1, 2}, 1, 2), Bias: floats([]float64{10}, 1)},
		Part{Weight: floats([]float64{0, 1, 1, 0}, 2, 2)})
	require.Equal(t, []float64{21, 4, 3}, values(t, s.Call(linear, floats([]float64{3, 4}, 1, 2))))

	embed := NewEmbedding("e", floats([]float64{1, 2, 3, 4}, 2, 2))
	require.Equal(t, []float64{3, 4, 1, 2}, values(t, s.Call(embed, tensor.FromInts(tensor.Int32, []int{1, 0}, 2))))

	norm := NewRMSNorm("n", floats([]float64{1, 2}, 2), 0, false)
	require.InDeltaSlice(t, []float64{1, -2}, values(t, s.Call(norm, floats([]float64{5, -5}, 1, 2))), 1e-12)

	fused := NewRMSNorm("n", floats([]float64{1, 1}, 2), 0, true)
	x, residual := two(s.Call(fused, floats([]float64{1, 1}, 1, 2), floats([]float64{2, -4}, 1, 2)))
	require.InDeltaSlice(t, []float64{1, -1}, values(t, x), 1e-12)
	require.Equal(t, []float64{3, -3}, values(t, residual))

	act := NewSiluAndMul("s", 1)
	// silu(0)*7 and silu(1)*2
	require.InDeltaSlice(t, []float64{0, 2 / (1 + math.Exp(-1))}, values(t, s.Call(act, floats([]float64{0, 7, 1, 2}, 2, 2))), 1e-12)
}

// TestCheckInputs refuses what a module cannot take.
func TestCheckInputs(t *testing.T) {
	fused := NewRMSNorm("n", floats([]float64{1, 1}, 2), 0, true)
	x, wide := floats([]float64{1, 1}, 1, 2), floats([]float64{1, 1, 1}, 1, 3)
	require.NoError(t, CheckInputs(fused, tensor.Float64, il.Tuple{x, x}))
	require.ErrorContains(t, CheckInputs(fused, tensor.Float64, il.Tuple{x, wide}), "input 1 is")
	require.ErrorContains(t, CheckInputs(fused, tensor.Float64, il.Tuple{x, floats([]float64{1, 1, 1, 1}, 2, 2)}), "input 1 has 2 rows, another input 1")
	embed := NewEmbedding("e", x)
	require.ErrorContains(t, CheckInputs(embed, tensor.Float64, il.Tuple{x}), "expected integers (T,)")
}
