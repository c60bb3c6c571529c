package nn

import (
	"fmt"
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
		require.Equal(t, []Source{{Module: shared, Call: call, Output: true, Index: 1}}, b.Sources(1, 0))
		require.Empty(t, b.Sources(0, 0))
	}
}

// TestGive keeps sources in order, the best first.
func TestGive(t *testing.T) {
	norm, rope := newBlock("norm"), newBlock("rope")
	b := newBlock("b")
	Give(b, 0, Result(norm, 0))
	Give(b, 0, Source{Module: rope, Any: true})
	require.Equal(t, []Source{{Module: norm, Output: true}, {Module: rope, Any: true}}, b.Sources(0, 0))
}

// TestParams names the parts of a packed linear.
func TestParams(t *testing.T) {
	w := floats([]float64{1, 2}, 1, 2)
	l := NewLinear("l", topology.QKVParallelLinear, PackedWeight{Name: "q_proj", Weight: Dense{w}, Bias: w}, PackedWeight{Weight: Dense{w}})
	var names []string
	for _, p := range l.Params() {
		names = append(names, p.Name)
	}
	require.Equal(t, []string{"q_proj.weight", "q_proj.bias", "weight"}, names)
	require.Empty(t, newBlock("b", l).Params())
}

// calls records what hooks see.
type calls struct{ seen []string }

func (c *calls) Pre(module string, args il.Tuple) il.Tuple {
	c.seen = append(c.seen, fmt.Sprint(module, " ", len(args)))
	return args
}

func (c *calls) Post(module string, _ il.Tuple, _ il.Value) { c.seen = append(c.seen, module+" done") }

// TestCall fires the hooks, which see no keyword arguments, and computes by what
// is put around a module.
func TestCall(t *testing.T) {
	keyword := &block{NewBase("attn", topology.SelfAttention)}
	plain := newBlock("mlp")
	hooks := &calls{}
	s := step(t)
	s.Hooks = hooks
	s.Compute = func(_ *Step, m Module, in il.Tuple) il.Value { return il.Tuple{len(in)} }
	x := floats([]float64{1}, 1, 1)
	require.Equal(t, il.Tuple{2}, s.Call(keyword, x, x))
	require.Equal(t, il.Tuple{1}, s.Call(plain, x))
	require.Equal(t, []string{"attn 0", "attn done", "mlp 1", "mlp done"}, hooks.seen)
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
