package nn

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// The forward of every module, by hand.

func ints(v ...int) *tensor.Tensor { return tensor.FromInts(tensor.Int64, v, len(v)) }

// inStep is a step whose rows are those of one request.
func inStep(t *testing.T, rows int, c *Cache) *Step {
	s := step(t)
	s.Spans = []Span{{Lo: 0, Hi: rows, Cache: c}}
	return s
}

func TestEmbedding(t *testing.T) {
	m := NewEmbedding("e", floats([]float64{1, 2, 3, 4}, 2, 2))
	require.Equal(t, []float64{3, 4, 1, 2}, values(t, step(t).Call(m, tensor.FromInts(tensor.Int32, []int{1, 0}, 2))))
}

func TestLinear(t *testing.T) {
	m := NewLinear("l", topology.MergedColumnParallelLinear,
		PackedWeight{Weight: Dense{floats([]float64{1, 2}, 1, 2)}, Bias: floats([]float64{10}, 1)},
		PackedWeight{Weight: Dense{floats([]float64{0, 1, 1, 0}, 2, 2)}})
	out := step(t).Call(m, floats([]float64{3, 4}, 1, 2))
	require.Equal(t, []float64{21, 4, 3}, values(t, out))
	require.Nil(t, out.(il.Tuple)[1]) // as vLLM's, the bias that is not added
}

func TestRMSNorm(t *testing.T) {
	m := NewRMSNorm("n", topology.PlainRMSNorm, floats([]float64{1, 2}, 2), 0, false)
	x := floats([]float64{5, -5}, 1, 2)
	require.InDeltaSlice(t, []float64{1, -2}, values(t, step(t).Call(m, x)), 1e-12)
	require.Equal(t, []float64{5, -5}, values(t, x)) // untouched

	fused := NewRMSNorm("n", topology.RMSNorm, floats([]float64{1, 1}, 2), 0, true)
	residual := floats([]float64{2, -4}, 1, 2)
	x = floats([]float64{1, 1}, 1, 2)
	a, b := Two(step(t).Call(fused, x, residual))
	require.InDeltaSlice(t, []float64{1, -1}, values(t, a), 1e-12)
	require.Equal(t, []float64{3, -3}, values(t, b))
	require.Same(t, x, a) // in place, both
	require.Same(t, residual, b)

	heads := NewRMSNorm("q", topology.QHeadNorm, floats([]float64{1, 1}, 2), 0, false) // each head alone
	out := step(t).Call(heads, ByHead(floats([]float64{3, 3, 7, -7}, 1, 4), 2))
	require.InDeltaSlice(t, []float64{1, 1, 1, -1}, values(t, out), 1e-12)
}

// TestRotary turns the pairs (x[j], x[j+Dim/2]) of each head by the position
// times the inverse frequency.
func TestRotary(t *testing.T) {
	shape := AttentionShape{Heads: 2, KVHeads: 1, HeadDim: 4}
	m := NewRotary("r", Rope{Theta: 100, Dim: 2}, shape) // a partial rotation, by 1 a position
	q, k := floats([]float64{1, 0, 8, 9, 0, 1, 8, 9}, 1, 8), floats([]float64{1, 1, 5, 6}, 1, 4)
	a, b := Two(step(t).Call(m, ints(3), q, k))
	sin, cos := math.Sincos(3)
	require.InDeltaSlice(t, []float64{cos, sin, 8, 9, -sin, cos, 8, 9}, values(t, a), 1e-12)
	require.InDeltaSlice(t, []float64{cos - sin, cos + sin, 5, 6}, values(t, b), 1e-12)
	require.Same(t, q, a)

	m.Rope.OutOfPlace = true
	q = floats([]float64{1, 0, 8, 9, 0, 1, 8, 9}, 1, 8)
	a, _ = Two(step(t).Call(m, ints(3), q, k))
	require.NotSame(t, q, a)
	require.Equal(t, []float64{1, 0, 8, 9, 0, 1, 8, 9}, values(t, q))
}

func TestAttention(t *testing.T) {
	m := NewAttention("a", AttentionShape{Heads: 2, KVHeads: 1, HeadDim: 1, Scale: 0.5})
	c := NewCache()
	// The first row sees itself alone; the second weighs by exp(q·k/2).
	q, k, v := floats([]float64{1, 1, 2, 0}, 2, 2), floats([]float64{0, 1}, 2, 1), floats([]float64{10, 20}, 2, 1)
	e := math.Exp(1) // of the query 2 and the key 1
	want := []float64{10, 10, (10 + 20*e) / (1 + e), 15}
	require.InDeltaSlice(t, want, values(t, inStep(t, 2, c).Call(m, q, k, v)), 1e-12)
	require.Equal(t, 2, c.State(m).Len())

	// Decode goes on where the prompt ended, and a window forgets.
	m.Window = 2
	out := values(t, inStep(t, 1, c).Call(m, floats([]float64{0, 0}, 1, 2), floats([]float64{0}, 1, 1), floats([]float64{40}, 1, 1)))
	require.InDeltaSlice(t, []float64{30, 30}, out, 1e-12) // of 20 and 40
	require.Equal(t, 3, c.State(m).Len())

	// Rows of no request give zeros.
	require.Equal(t, []float64{0, 0}, values(t, step(t).Call(m, floats([]float64{1, 1}, 1, 2), floats([]float64{1}, 1, 1), floats([]float64{1}, 1, 1))))
}

// TestStates keeps apart what each module stores, and forks.
func TestStates(t *testing.T) {
	shape := AttentionShape{Heads: 1, KVHeads: 1, HeadDim: 1, Scale: 1}
	a, b := NewAttention("a", shape), NewAttention("b", shape)
	c := NewCache()
	one := floats([]float64{1}, 1, 1)
	a.Store(inStep(t, 1, c), il.Tuple{nil, one, one})
	fork := c.Fork()
	b.Store(inStep(t, 1, fork), il.Tuple{nil, one, one})
	a.Store(inStep(t, 1, fork), il.Tuple{nil, one, one})
	for m, want := range map[*Attention][2]int{a: {1, 2}, b: {0, 1}} {
		require.Equal(t, want, [2]int{c.State(m).Len(), fork.State(m).Len()}, m.Name())
	}
	require.Equal(t, []Stateful{a, b}, StatesOf(newBlock("layer", newBlock("x", a), b)))
	require.Empty(t, StatesOf(newBlock("mlp")))
}

func TestSiluAndMul(t *testing.T) {
	m := NewSiluAndMul("s", 1)
	// silu(0)*7 and silu(1)*2
	require.InDeltaSlice(t, []float64{0, 2 / (1 + math.Exp(-1))}, values(t, step(t).Call(m, floats([]float64{0, 7, 1, 2}, 2, 2))), 1e-12)
}

func TestLogitsProcessor(t *testing.T) {
	m := NewLogitsProcessor("logits_processor", "ParallelLMHead", Dense{floats([]float64{1, 0, 0, 1, 1, 1}, 3, 2)})
	require.Equal(t, []float64{3, 4, 7}, values(t, step(t).Call(m, m.Object, floats([]float64{3, 4}, 1, 2), nil)))
	require.Equal(t, "ParallelLMHead(num_embeddings=3, embedding_dim=2, org_vocab_size=3, num_embeddings_padded=64, tp_size=1)", m.Object.Repr)
	require.Equal(t, m.Object, m.Inputs()[0].Value)
}

func TestAdd(t *testing.T) {
	x := floats([]float64{1, 2}, 1, 2)
	require.Equal(t, []float64{11, 22}, values(t, step(t).Add(x, floats([]float64{10, 20}, 1, 2))))
	require.Equal(t, []float64{1, 2}, values(t, x))
}

func TestViews(t *testing.T) {
	x := floats([]float64{1, 2, 3, 4, 5, 6, 7, 8}, 2, 4)
	parts := Split(x, 1, 3)
	require.Equal(t, []float64{1, 5}, values(t, parts[0]))
	require.Equal(t, []float64{2, 3, 4, 6, 7, 8}, values(t, parts[1]))
	heads := ByHead(x.Narrow(1, 2, 4), 1) // of a view
	require.Equal(t, []int{2, 2, 1}, heads.Shape)
	require.Equal(t, []float64{3, 4, 7, 8}, values(t, Flatten(heads.Clone())))
}
