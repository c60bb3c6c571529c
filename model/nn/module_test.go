package nn

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
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
	x := One(v).Clone()
	out := make([]float64, x.Numel())
	tensor.LoadFloat64(out, x.DType, x.Data)
	return out
}

// block is a module that holds others.
type block struct{ Base }

func (*block) Forward(*Step, il.Tuple) il.Value { return nil }
func (*block) Inputs() []Input                  { return nil }

func newBlock(name string, children ...Module) *block {
	b := &block{NewBase(name, topology.DenseMLP)}
	for _, c := range children {
		b.Register(c)
	}
	return b
}

// TestNamed lists parents before children in the order of registration, and an
// object that two parents share at the first.
func TestNamed(t *testing.T) {
	shared := NewRotary("a.rotary_emb", Rope{}, AttentionShape{})
	b := newBlock("b", newBlock("b.x"), shared, newBlock("b.y"))
	var names []string
	for _, m := range Named(newBlock("a", newBlock("a.y", newBlock("a.y.z")), shared, newBlock("a.x")), b) {
		names = append(names, m.Name())
	}
	require.Equal(t, []string{"a", "a.y", "a.y.z", "a.rotary_emb", "a.x", "b", "b.x", "b.y"}, names)
}

// TestSharedCalls numbers the calls of a shared module by the registrations
// before.
func TestSharedCalls(t *testing.T) {
	shared := NewRotary("a.rotary_emb", Rope{}, AttentionShape{})
	require.Equal(t, 0, Argument(shared, 0).Call)
	for call := range 3 {
		b := newBlock("b", shared)
		Give(b, 1, Result(shared, 1))
		require.Equal(t, []Source{{Module: shared, Call: call, Output: true, Index: 1}}, b.Sources(1))
		require.Empty(t, b.Sources(0))
	}
}

// TestForward computes small modules by hand.
func TestForward(t *testing.T) {
	s := step(t)
	linear := NewLinear("l", topology.DownProj,
		PackedWeight{Weight: Dense{floats([]float64{1, 2}, 1, 2)}, Bias: floats([]float64{10}, 1)},
		PackedWeight{Weight: Dense{floats([]float64{0, 1, 1, 0}, 2, 2)}})
	require.Equal(t, []float64{21, 4, 3}, values(t, s.Call(linear, floats([]float64{3, 4}, 1, 2))))

	embed := NewEmbedding("e", floats([]float64{1, 2, 3, 4}, 2, 2))
	require.Equal(t, []float64{3, 4, 1, 2}, values(t, s.Call(embed, tensor.FromInts(tensor.Int32, []int{1, 0}, 2))))

	norm := NewRMSNorm("n", topology.RMSNorm, floats([]float64{1, 2}, 2), 0, false)
	require.InDeltaSlice(t, []float64{1, -2}, values(t, s.Call(norm, floats([]float64{5, -5}, 1, 2))), 1e-12)

	fused := NewRMSNorm("n", topology.RMSNorm, floats([]float64{1, 1}, 2), 0, true)
	x, residual := Two(s.Call(fused, floats([]float64{1, 1}, 1, 2), floats([]float64{2, -4}, 1, 2)))
	require.InDeltaSlice(t, []float64{1, -1}, values(t, x), 1e-12)
	require.Equal(t, []float64{3, -3}, values(t, residual))

	act := NewSiluAndMul("s", 1)
	// silu(0)*7 and silu(1)*2
	require.InDeltaSlice(t, []float64{0, 2 / (1 + math.Exp(-1))}, values(t, s.Call(act, floats([]float64{0, 7, 1, 2}, 2, 2))), 1e-12)
}

// TestCheckInputs refuses what a module cannot take.
func TestCheckInputs(t *testing.T) {
	fused := NewRMSNorm("n", topology.RMSNorm, floats([]float64{1, 1}, 2), 0, true)
	x, wide := floats([]float64{1, 1}, 1, 2), floats([]float64{1, 1, 1}, 1, 3)
	require.NoError(t, CheckInputs(fused, tensor.Float64, il.Tuple{x, x}))
	require.ErrorContains(t, CheckInputs(fused, tensor.Float64, il.Tuple{x, wide}), "input 1 is")
	require.ErrorContains(t, CheckInputs(fused, tensor.Float64, il.Tuple{x, floats([]float64{1, 1, 1, 1}, 2, 2)}), "input 1 has 2 rows, another input 1")
	embed := NewEmbedding("e", x)
	require.ErrorContains(t, CheckInputs(embed, tensor.Float64, il.Tuple{x}), "expected integers (T,)")
}
