package normalize

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// slots of vLLM that no module of transformers has: rotated queries and keys,
// and positions, which transformers 5 passes by keyword. 6 tensors a layer.
const rotated = 6 * 3 * 3

// A session that transformers itself wrote has every tensor of the table.
func TestTransformers(t *testing.T) {
	for _, c := range []struct{ vllm, hf string }{{"llama3-gqa-fp32", "llama3-gqa-hf-fp32"}, {base, "llama3-gqa-hf-bf16"}} {
		vllm, hf := open(t, c.vllm), open(t, c.hf)
		r, tt, notes, err := Prepare(vllm, hf, Options{})
		require.NoError(t, err)
		require.Equal(t, slots(r), slots(tt))
		require.Len(t, slots(r), 330-rotated)
		// and of transformers, in each step, the table of rotary_emb and its input, and of a layer the result of act_fn and the attention weights
		require.Equal(t, rotated+3*(3+3+3), notes.NoPartner)
		for name := range slots(r) {
			x := load(t, r.Call(name.step, name.module, name.call).Slot(name.dir, name.path))
			y := load(t, tt.Call(name.step, name.module, name.call).Slot(name.dir, name.path))
			require.Equal(t, x.Shape, y.Shape, name)
			if x.DType == tensor.Float32 { // the largest gap of the two implementations is 6e-7
				require.InDelta(t, 0, gap(t, x, y), 1e-5, name)
			}
		}
		again, back, _, err := Prepare(hf, vllm, Options{})
		require.NoError(t, err)
		require.Equal(t, slots(again), slots(back))
	}
	a, b := open(t, "llama3-gqa-hf-fp32"), open(t, "llama3-gqa-hf-bf16")
	r, tt, _, err := Prepare(a, b, Options{})
	require.NoError(t, err)
	require.Same(t, a, r)
	require.Same(t, b, tt)
}

// The names tell the engine, and its weights eager attention.
func TestEngineOf(t *testing.T) {
	for name, want := range map[string][2]string{
		"hf-llama-sdpa": {"transformers", ""}, "hf-llama-eager": {"transformers", "eager"}, "hf-phi3-eager": {"transformers", "eager"},
		"hf-phi3-long-sdpa": {"transformers", ""}, base: {"vllm", ""}, base + "-filtered": {"vllm", ""},
	} {
		engine, attention, _ := open(t, name).EngineByNames()
		require.Equal(t, want, [2]string{engine, attention}, name)
	}
	engine, attention, _ := il.NewSession("", il.VariantA, []*il.Step{{Calls: []*il.Call{{Module: "model.norm"}}}}).EngineByNames()
	require.Equal(t, [2]string{}, [2]string{engine, attention})
}

// Two sessions of transformers keep its names where their forwards have as many
// tokens, without the weights that one side's attention returns, and are lined up
// under vLLM's where not.
func TestTransformersAlone(t *testing.T) {
	sdpa, eager, chunks := open(t, "hf-llama-sdpa"), open(t, "hf-llama-eager"), open(t, "hf-llama-chunks")
	for _, pair := range [][2]*il.Session{{sdpa, eager}, {eager, sdpa}} {
		r, tt, notes, err := Prepare(pair[0], pair[1], Options{})
		require.NoError(t, err)
		require.Equal(t, slots(r), slots(tt))
		require.Equal(t, 9, notes.NoPartner)
		require.NotNil(t, r.Call(0, "lm_head", 0))
	}
	r, tt, notes, err := Prepare(sdpa, chunks, Options{})
	require.NoError(t, err)
	require.Nil(t, r.Call(0, "lm_head", 0))
	require.Equal(t, slots(r), slots(tt))
	require.Contains(t, notes.Warnings, hfNamed)
	require.Contains(t, notes.Warnings, "the sessions lay out their tokens in other ways: rows are lined up by request and position")
}

// gap is the distance of two tensors relative to the first's norm.
func gap(t *testing.T, x, y *tensor.Tensor) float64 {
	a, b := make([]float64, x.Numel()), make([]float64, y.Numel())
	require.NoError(t, x.Float64s(a, 0))
	require.NoError(t, y.Float64s(b, 0))
	var d, n float64
	for i := range a {
		d += (a[i] - b[i]) * (a[i] - b[i])
		n += a[i] * a[i]
	}
	return math.Sqrt(d / n)
}

// What only one side's filter left out stays missing; a module that the table
// does not know keeps its name.
func TestTransformersFiltered(t *testing.T) {
	hf := changed(t, open(t, "llama3-gqa-hf-bf16"), same, func(step int, c *il.Call, s *il.Slot, x *tensor.Tensor) []*il.TensorFile {
		if strings.Contains(c.Module, "layers.1.") && !strings.HasSuffix(c.Module, "proj") {
			return nil
		}
		return []*il.TensorFile{held("cpu", x)}
	})
	hf.Steps[0].Calls = append(hf.Steps[0].Calls, &il.Call{Module: "model.probe", Slots: []*il.Slot{slotOf(il.Outputs, "", held("cpu", tensor.New(tensor.Float32, 1, 11, 4)))}})
	_, tt, _, err := Prepare(open(t, base), hf, Options{})
	require.NoError(t, err)
	held := slots(tt)
	require.False(t, held[slotName{0, "model.layers.1.input_layernorm", 0, il.Outputs, "0"}])
	require.True(t, held[slotName{0, "model.layers.1.input_layernorm", 0, il.Outputs, "1"}], "it is the layer's input as well")
	require.Equal(t, []int{11, 4}, load(t, tt.Call(0, "model.probe", 0).Slot(il.Outputs, "")).Shape)
}

// Rows of transformers are lined up as well: its positions are known.
func TestTransformersAligned(t *testing.T) {
	r, tt, notes, err := Prepare(open(t, "llama3-gqa-hf-bf16"), open(t, base+"-chunk4"), Options{})
	require.NoError(t, err)
	require.Equal(t, slots(r), slots(tt))
	require.Len(t, slots(r), 330-rotated)
	require.Equal(t, 2, notes.Unmatched)
}

// transformers before 5 records positions, and returns tuples.
func TestOlderTransformers(t *testing.T) {
	ids := held("cpu", tensor.FromInts(tensor.Int64, []int{0, 1, 2}, 1, 3))
	values := make([]float64, 24)
	for i := range values {
		values[i] = float64(i)
	}
	x := held("cpu", tensor.FromFloat64s(tensor.Float32, values, 1, 3, 8))
	one := func(d il.Direction, path string) []*il.Slot { return []*il.Slot{slotOf(d, path, x)} }
	hf := sessionOf(&il.Step{Calls: []*il.Call{
		{Module: "model.rotary_emb", Slots: []*il.Slot{slotOf(il.Inputs, "0", x), slotOf(il.Inputs, "1", ids)}},
		{Module: "model.layers.0", Slots: one(il.Outputs, "0")},
		{Module: "model.layers.0.self_attn", Slots: one(il.Outputs, "0")},
		{Module: "model.layers.0.self_attn.q_proj", Slots: one(il.Inputs, "0")},
		{Module: "model.layers.0.mlp", Slots: one(il.Outputs, "")},
		{Module: "lm_head", Slots: one(il.Outputs, "")},
	}})
	h, v, _, _ := renamed(hf, open(t, base), true)
	got := slots(h)
	for _, want := range []slotName{
		{0, "model.layers.0", 0, il.Inputs, "0"},
		{0, "model.layers.0.self_attn.rotary_emb", 0, il.Inputs, "0"},
		{0, "model.layers.0.self_attn", 0, il.Outputs, ""},
		{0, "model.layers.0.self_attn.qkv_proj", 0, il.Inputs, "0"},
		{0, "model.norm", 0, il.Inputs, "0"},
		{0, "model.norm", 0, il.Outputs, "1"}, // the last layer's result
		{1, topology.LogitsProcessorName, 0, il.Outputs, ""},
	} {
		require.True(t, got[want], want)
	}
	require.Equal(t, []int{3}, load(t, h.Call(0, "model.layers.0", 0).Slot(il.Inputs, "0")).Shape)
	logits := load(t, h.Call(1, topology.LogitsProcessorName, 0).Slot(il.Outputs, ""))
	require.Equal(t, []int{1, 8}, logits.Shape)
	first := make([]float64, 1)
	require.NoError(t, logits.Float64s(first, 0))
	require.Equal(t, 16.0, first[0], "of the last token")
	require.True(t, slots(v)[slotName{0, "model.layers.0", 0, il.Inputs, "0"}], "positions are recorded on both sides")
}

// Heads that lie in a dimension of their own are put side by side, without a copy
// where they lie so already.
func TestFolded(t *testing.T) {
	x := tensor.FromInts(tensor.Int32, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 3, 2, 2)
	for _, c := range []struct {
		x    *tensor.Tensor
		n    int
		want []int
	}{
		{x, 2, []int{3, 4}},
		{x, 1, []int{12}},
		{x, 0, []int{3, 2, 2}},
		{x, 4, []int{3, 2, 2}},
		{x.Narrow(2, 0, 1), 2, []int{3, 2}},
	} {
		y, err := folded(c.x, c.n)
		require.NoError(t, err)
		require.Equal(t, c.want, y.Shape)
		a, err := c.x.Ints()
		require.NoError(t, err)
		b, err := y.Ints()
		require.NoError(t, err)
		require.Equal(t, a, b)
	}
}

func TestFlat(t *testing.T) {
	x := tensor.FromInts(tensor.Int32, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 2, 3, 2)
	for _, c := range []struct {
		x    *tensor.Tensor
		want []int
	}{
		{x, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{x.Narrow(0, 1, 2), []int{7, 8, 9, 10, 11, 12}},
		{x.Narrow(1, 1, 3), []int{3, 4, 5, 6, 9, 10, 11, 12}}, // the batch is not contiguous
	} {
		y, err := flat(c.x)
		require.NoError(t, err)
		v, err := y.Ints()
		require.NoError(t, err)
		require.Equal(t, c.want, v)
		require.Len(t, y.Shape, 2)
	}
	_, err := flat(tensor.New(tensor.Float32, 3))
	require.EqualError(t, err, "is float32[3], expected a batch dimension before that of the tokens, as transformers has")
}
