package foreign

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

func TestDumped(t *testing.T) {
	for name, want := range map[string]dumped{
		"step=3___rank=1___dump_index=20___name=positions___recompute_status=disabled___layer_id=2.pt":                        {3, 1, 20, "positions", 2, false},
		"step=0___rank=0___dump_index=1___name=a___b___recompute_status=recompute___tp_rank=0.pt":                             {0, 0, 1, "a___b", -1, true},
		"step=0___rank=0___dump_index=1___name=x___recompute_status=disabled___layer_id=None___phase=a=b.pt":                  {0, 0, 1, "x", -1, false},
		"step=0___rank=0___dump_index=1___name=non_intrusive__model.norm.output.0___recompute_status=disabled___ep_rank=1.pt": {0, 0, 1, "non_intrusive__model.norm.output.0", -1, false},
	} {
		d, ok := parseDumped(name)
		require.True(t, ok, name)
		require.Equal(t, want, d, name)
	}
	for _, name := range []string{
		"", ".pt", "step=0.pt", "step=0___rank=0___dump_index=1.pt", "step=a___rank=0___dump_index=1___name=x.pt", "step=-1___rank=0___dump_index=1___name=x.pt",
		"step=0___step=0___rank=0___dump_index=1___name=x.pt", "step=0___rank=0___dump_index=99999999999___name=x.pt", "step=0___rank=0___dump_index=1___name=x.safetensors", "step=0___b___rank=0.pt",
	} {
		_, ok := parseDumped(name)
		require.False(t, ok, name)
	}
}

func TestHooked(t *testing.T) {
	type at struct {
		module string
		d      il.Direction
		slot   string
	}
	for name, want := range map[string]at{
		"model.norm.output":                         {"model.norm", il.Outputs, ""},
		"model.norm.output.1":                       {"model.norm", il.Outputs, "1"},
		"model.layers.0.inputs.3":                   {"model.layers.0", il.Inputs, "3"},
		"model.layers.0.self_attn.inputs.hidden":    {"model.layers.0.self_attn", il.Inputs, "hidden"},
		"model.inputs.2.residual":                   {"model", il.Inputs, "2_residual"},
		"bert.output.dense.inputs.0":                {"bert.output.dense", il.Inputs, "0"},
		"bert.output.dense.output":                  {"bert.output.dense", il.Outputs, ""},
		"a.output.output":                           {"a.output", il.Outputs, ""},
		"logits_processor.output.next_token_logits": {"logits_processor", il.Outputs, "next_token_logits"},
		"output.next_token_logits":                  {"", il.Outputs, "next_token_logits"},
		"inputs.0":                                  {"", il.Inputs, "0"},
		"a.inputs.output":                           {"a", il.Inputs, "output"},
	} {
		module, d, slot, ok := hooked(name)
		require.True(t, ok, name)
		require.Equal(t, want, at{module, d, slot}, name)
	}
	for _, name := range []string{"", "model.norm", "a/../b.output", "..", "a.\x1b[31m.output"} {
		_, _, _, ok := hooked(name)
		require.False(t, ok, name)
	}
}

func TestProbedModule(t *testing.T) {
	for name, want := range map[string]callID{
		"Module.model.layers.0.self_attn.rotary_emb.RotaryEmbedding.forward.2": {"model.layers.0.self_attn.rotary_emb", 2},
		"Module.module.model.norm.RMSNorm.forward.0":                           {"model.norm", 0},
		"Module.module.Wrapper.forward.0":                                      {"module", 0},
	} {
		module, call, ok := probedModule(name)
		require.True(t, ok, name)
		require.Equal(t, want, callID{module, call})
	}
	for _, name := range []string{"", "Functional.linear.0.forward", "Module.Llama.forward.0", "Module.model.norm.RMSNorm.backward.0", "Module.model.norm.RMSNorm.forward.x", "Module.a/b.M.forward.0"} {
		_, _, ok := probedModule(name)
		require.False(t, ok, name)
	}
}

// What Python writes of numbers that JSON has no word for is no fault of the file.
func TestProbedNumbers(t *testing.T) {
	p, err := parseProbed([]byte(`{"data": {"Module.m.M.forward.0": {"input_args": [{"type": "torch.Tensor", "dtype": "torch.int64", "shape": [2], "Max": NaN, "Min": -Infinity, "Norm": Infinity, "data_name": "a \"NaN\" Infinity"}, null, {"type": "int", "value": 3}], "output": []}}}`))
	require.NoError(t, err)
	require.Equal(t, &probedTensor{"torch.int64", []int{2}, `a "NaN" Infinity`}, p.entries[0].args[0].tensor)
	require.Len(t, p.entries[0].args, 3)
}

// Prefills and decodes come in the order of the positions that requests reach.
func TestNeuronOrder(t *testing.T) {
	f := func(name string, requests []string, positions ...int) *neuronForward {
		x, ok := parseNeuronForward(name)
		require.True(t, ok, name)
		x.path, x.requests, x.positions = name, requests, positions
		return &x
	}
	a, b, ab := []string{"a"}, []string{"b"}, []string{"a", "b"}
	ordered, sure := inOrder([]*neuronForward{
		f("decode_b4_0", a, 3), f("decode_b4_1", ab, 4, 2), f("decode_b4_2", ab, 5, 3), f("prefill_s8_0", a, 0, 1, 2), f("prefill_s8_1", b, 0, 1),
	})
	var names []string
	for _, x := range ordered {
		names = append(names, x.path)
	}
	require.Equal(t, []string{"prefill_s8_0", "decode_b4_0", "prefill_s8_1", "decode_b4_1", "decode_b4_2"}, names)
	require.True(t, sure)
	_, sure = inOrder([]*neuronForward{f("decode_b4_0", a, 30), f("prefill_s8_0", a, 7)})
	require.False(t, sure)
	for _, name := range []string{"prefill_8_0", "decode_s8_0", "decode_b1", "other_s8_0", "prefill_s8_x"} {
		_, ok := parseNeuronForward(name)
		require.False(t, ok, name)
	}
}

// The calls of a shared rotary embedding are those of the layers that made them,
// also in a stage of a pipeline and behind a filter.
func TestNumberByLayer(t *testing.T) {
	rope := topology.Of("model.layers.16.self_attn.rotary_emb")
	calls := []*seenCall{{layer: 16}, {layer: 19}}
	numberByLayer(rope, calls)
	require.Equal(t, 3, calls[1].index)
	unknown := []*seenCall{{layer: -1, index: 0}, {layer: -1, index: 1}}
	numberByLayer(rope, unknown)
	require.Equal(t, 1, unknown[1].index)
}

// Of calls that are listed as they return the module comes before those in it, as in
// a list of calls as they begin; the layers' rotary embedding lies within.
func TestParentsFirst(t *testing.T) {
	begun := []string{
		"model.embed_tokens", "model.layers.0", "model.layers.0.self_attn", "model.layers.0.self_attn.qkv_proj", "model.layers.0.self_attn.rotary_emb", "model.layers.0.self_attn.o_proj",
		"model.layers.0.mlp", "model.layers.0.mlp.down_proj", "model.layers.1", "model.layers.1.self_attn", "model.layers.1.self_attn.qkv_proj", "model.layers.0.self_attn.rotary_emb",
		"model.layers.1.mlp", "model.layers.1.mlp.down_proj", "model.norm",
	}
	returned := []string{
		"model.embed_tokens", "model.layers.0.self_attn.qkv_proj", "model.layers.0.self_attn.rotary_emb", "model.layers.0.self_attn.o_proj", "model.layers.0.self_attn",
		"model.layers.0.mlp.down_proj", "model.layers.0.mlp", "model.layers.0", "model.layers.1.self_attn.qkv_proj", "model.layers.0.self_attn.rotary_emb", "model.layers.1.self_attn",
		"model.layers.1.mlp.down_proj", "model.layers.1.mlp", "model.layers.1", "model.norm",
	}
	for _, order := range [][]string{begun, returned} {
		var calls []*il.Call
		for _, m := range order {
			calls = append(calls, il.NewCall(m, 0, "", nil))
		}
		parentsFirst(calls)
		var names []string
		for _, c := range calls {
			names = append(names, c.Module)
		}
		require.Equal(t, begun, names)
	}
}

func TestExecution(t *testing.T) {
	order := []string{"model.embed_tokens", "model.layers.0", "model.layers.0.input_layernorm", "model.layers.0.self_attn", "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.o_proj", "model.layers.0.mlp", "model.layers.0.other", "model.layers.2", "model.layers.10", "model.norm", "lm_head"}
	for i := range order[1:] {
		require.Negative(t, topology.ByExecution(order[i], order[i+1]), order[i])
	}
}

func FuzzDumped(f *testing.F) {
	f.Add("step=3___rank=1___dump_index=20___name=non_intrusive__model.norm.output.0___recompute_status=disabled___layer_id=2.pt")
	f.Add("step=0___rank=0___dump_index=1___name=a___b=.pt")
	f.Fuzz(func(t *testing.T, name string) {
		d, ok := parseDumped(name)
		if !ok {
			return
		}
		if d.step < 0 || d.rank < 0 || d.index < 0 || d.layer < -1 || d.name == "" {
			t.Fatalf("%q: %+v", name, d)
		}
		if module, _, slot, ok := hooked(d.name); ok && (module != "" && !isModule(module) || !isSlot(slot)) {
			t.Fatalf("%q: %q %q", name, module, slot)
		}
	})
}

func FuzzRanks(f *testing.F) {
	for _, s := range []string{"TP0_PP0_Rank0_pid4711", "prefill_s128_0", "decode_b4_12", "rank3", "proc12", "Module.model.norm.RMSNorm.forward.0", "step0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p, _ := parsePassRank(name)
		n, _ := parseNeuronForward(name)
		q, _ := parseProbeRank(name)
		module, call, ok := probedModule(name)
		if p.rank < 0 || p.tp < 0 || n.n < 0 || q.rank < 0 || call < 0 || ok && !isModule(module) {
			t.Fatal(name)
		}
	})
}

func FuzzProbed(f *testing.F) {
	f.Add([]byte(`{"task": "tensor", "data": {"Module.m.M.forward.0": {"input_args": [{"type": "torch.Tensor", "dtype": "torch.int64", "shape": [2], "Max": NaN, "data_name": "a.pt"}, null, [{"type": "int", "value": 3}]], "input_kwargs": {"k": null}, "output": []}}}`))
	f.Add([]byte(`{"data": {"a": {"output": [[[{"b": {"type": "x", "shape": [-1]}}]]]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProbed(bytes.Clone(data))
		if err != nil {
			return
		}
		for _, c := range p.entries {
			for _, v := range c.args {
				v.walk("0", func(v probedValue, slot string) {
					if s := v.tensor.stub(); s.Numel < 0 {
						t.Fatal(s)
					}
				})
			}
		}
	})
}

func FuzzMeta(f *testing.F) {
	f.Add([]byte(`{"req_ids": ["a", 1], "positions": [0, 1, 2], "dp_rank": 0}`), []byte(`[0, 1, "norm"]`))
	f.Add([]byte(`{"positions": [[0, 1], [5]]}`), []byte(`[1e400]`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, meta, ids []byte) {
		if os.WriteFile(filepath.Join(dir, "prefill_s8_0_meta.json"), meta, 0o644) != nil || os.WriteFile(filepath.Join(dir, layerIDsFile), ids, 0o644) != nil {
			t.Skip()
		}
		x := &neuronForward{path: dir}
		if x.meta(dir, "prefill_s8_0") == nil {
			inOrder([]*neuronForward{x, x})
		}
		if slots, err := layerIDs(dir); err == nil {
			for _, s := range slots {
				if !isModule(s.module) {
					t.Fatal(s)
				}
			}
		}
	})
}
