package view

import (
	"fmt"

	"github.com/ilref/ilref/il"
)

// hfSlot is a tensor of transformers' LlamaForCausalLM and its kin.
type hfSlot struct {
	module string
	output bool // else the first argument
	arg    string
}

// hfWord are the last words of modules that transformers alone has, and
// vllmWord those that vLLM alone has.
var (
	hfWord   = map[string]bool{"q_proj": true, "k_proj": true, "v_proj": true, "gate_proj": true, "up_proj": true, "lm_head": true}
	vllmWord = map[string]bool{"qkv_proj": true, "gate_up_proj": true, "attn": true, "logits_processor": true}
)

// hfLayer is the table of a decoder layer: which of transformers' tensors,
// joined along the last dimension, a tensor of vLLM's is. In vLLM the residual
// stream is the sum of two tensors until a norm adds them; in transformers it
// is one, seen as the input of the norms. Rotated queries and keys are those
// of no module of transformers.
func hfLayer(i int) []mapped {
	name := func(layer int, m string) string { return fmt.Sprintf("model.layers.%d.%s", layer, m) }
	in := func(m string) hfSlot { return hfSlot{module: name(i, m), arg: "0"} }
	out := func(m string) hfSlot { return hfSlot{module: name(i, m), output: true} }
	rope := "model.layers.0.self_attn.rotary_emb"
	layer := fmt.Sprintf("model.layers.%d", i)
	normOut, stream := "", []mapped(nil)
	if i == 0 {
		stream = []mapped{
			{layer, 0, il.Inputs, "1", []hfSlot{{module: layer, arg: "0"}}},
			{name(0, "input_layernorm"), 0, il.Inputs, "0", []hfSlot{in("input_layernorm")}},
		}
	} else {
		normOut = "0"
		before := []hfSlot{{module: name(i-1, "mlp"), output: true}}
		residual := []hfSlot{{module: name(i-1, "post_attention_layernorm"), arg: "0"}}
		stream = []mapped{
			{layer, 0, il.Inputs, "1", before},
			{layer, 0, il.Inputs, "2", residual},
			{name(i, "input_layernorm"), 0, il.Inputs, "0", before},
			{name(i, "input_layernorm"), 0, il.Inputs, "1", residual},
			{name(i, "input_layernorm"), 0, il.Outputs, "1", []hfSlot{in("input_layernorm")}},
		}
	}
	gateUp := []hfSlot{out("mlp.gate_proj"), out("mlp.up_proj")}
	return append(stream, []mapped{
		{layer, 0, il.Inputs, "0", []hfSlot{hfPositions}},
		{layer, 0, il.Outputs, "0", []hfSlot{out("mlp")}},
		{layer, 0, il.Outputs, "1", []hfSlot{in("post_attention_layernorm")}},
		{name(i, "input_layernorm"), 0, il.Outputs, normOut, []hfSlot{out("input_layernorm")}},
		{name(i, "self_attn"), 0, il.Outputs, "", []hfSlot{out("self_attn")}},
		{name(i, "self_attn.qkv_proj"), 0, il.Inputs, "0", []hfSlot{in("self_attn.q_proj")}},
		{name(i, "self_attn.qkv_proj"), 0, il.Outputs, "0", []hfSlot{out("self_attn.q_proj"), out("self_attn.k_proj"), out("self_attn.v_proj")}},
		{name(i, "self_attn.q_norm"), 0, il.Inputs, "0", []hfSlot{in("self_attn.q_norm")}},
		{name(i, "self_attn.q_norm"), 0, il.Outputs, "", []hfSlot{out("self_attn.q_norm")}},
		{name(i, "self_attn.k_norm"), 0, il.Inputs, "0", []hfSlot{in("self_attn.k_norm")}},
		{name(i, "self_attn.k_norm"), 0, il.Outputs, "", []hfSlot{out("self_attn.k_norm")}},
		{rope, i, il.Inputs, "0", []hfSlot{hfPositions}},
		{rope, i, il.Inputs, "1", []hfSlot{out("self_attn.q_proj")}},
		{rope, i, il.Inputs, "2", []hfSlot{out("self_attn.k_proj")}},
		{rope, i, il.Outputs, "0", nil},
		{rope, i, il.Outputs, "1", nil},
		{name(i, "self_attn.attn"), 0, il.Inputs, "0", nil},
		{name(i, "self_attn.attn"), 0, il.Inputs, "1", nil},
		{name(i, "self_attn.attn"), 0, il.Inputs, "2", []hfSlot{out("self_attn.v_proj")}},
		{name(i, "self_attn.attn"), 0, il.Outputs, "", []hfSlot{in("self_attn.o_proj")}},
		{name(i, "self_attn.o_proj"), 0, il.Inputs, "0", []hfSlot{in("self_attn.o_proj")}},
		{name(i, "self_attn.o_proj"), 0, il.Outputs, "0", []hfSlot{out("self_attn.o_proj")}},
		{name(i, "post_attention_layernorm"), 0, il.Inputs, "0", []hfSlot{out("self_attn.o_proj")}},
		{name(i, "post_attention_layernorm"), 0, il.Inputs, "1", []hfSlot{in("input_layernorm")}},
		{name(i, "post_attention_layernorm"), 0, il.Outputs, "0", []hfSlot{out("post_attention_layernorm")}},
		{name(i, "post_attention_layernorm"), 0, il.Outputs, "1", []hfSlot{in("post_attention_layernorm")}},
		{name(i, "mlp"), 0, il.Inputs, "0", []hfSlot{in("mlp")}},
		{name(i, "mlp"), 0, il.Outputs, "", []hfSlot{out("mlp")}},
		{name(i, "mlp.gate_up_proj"), 0, il.Inputs, "0", []hfSlot{in("mlp.gate_proj")}},
		{name(i, "mlp.gate_up_proj"), 0, il.Outputs, "0", gateUp},
		{name(i, "mlp.act_fn"), 0, il.Inputs, "0", gateUp},
		{name(i, "mlp.act_fn"), 0, il.Outputs, "", []hfSlot{in("mlp.down_proj")}},
		{name(i, "mlp.down_proj"), 0, il.Inputs, "0", []hfSlot{in("mlp.down_proj")}},
		{name(i, "mlp.down_proj"), 0, il.Outputs, "0", []hfSlot{out("mlp.down_proj")}},
	}...)
}

// hfPositions is recorded where the rotary embedding is given its positions as
// an argument and not by keyword (transformers before 5).
var hfPositions = hfSlot{module: "model.rotary_emb", arg: "1"}

// mapped is a tensor of vLLM's and what it is in transformers: nothing, where
// sources is empty.
type mapped struct {
	module  string
	index   int
	dir     il.Direction
	path    string
	sources []hfSlot
}

// hfTable is the table of a model of so many layers, without the logits.
func hfTable(layers int) []mapped {
	embed := "model.embed_tokens"
	out := []mapped{
		{embed, 0, il.Inputs, "0", []hfSlot{{module: embed, arg: "0"}}},
		{embed, 0, il.Outputs, "", []hfSlot{{module: embed, output: true}}},
	}
	for i := range layers {
		out = append(out, hfLayer(i)...)
	}
	norm, last := "model.norm", fmt.Sprintf("model.layers.%d.", layers-1)
	return append(
		out,
		mapped{norm, 0, il.Inputs, "0", []hfSlot{{module: last + "mlp", output: true}}},
		mapped{norm, 0, il.Inputs, "1", []hfSlot{{module: last + "post_attention_layernorm", arg: "0"}}},
		mapped{norm, 0, il.Outputs, "0", []hfSlot{{module: norm, output: true}}},
		mapped{norm, 0, il.Outputs, "1", []hfSlot{{module: norm, arg: "0"}}},
	)
}

// hfLogits is the table of the logits, which vLLM logs one step later.
var hfLogits = []mapped{
	{logitsModule, 0, il.Inputs, "1", []hfSlot{{module: "lm_head", arg: "0"}}},
	{logitsModule, 0, il.Outputs, "", []hfSlot{{module: "lm_head", output: true}}},
}

// equals lists the tensors that are the same as one by the way transformers'
// modules hand them on, itself first.
func (f hfSlot) equals(layers int) []hfSlot {
	layer := layerOf(f.module)
	in := func(m string) hfSlot { return hfSlot{module: m, arg: "0"} }
	out := func(m string) hfSlot { return hfSlot{module: m, output: true} }
	name := func(i int) string { return fmt.Sprintf("model.layers.%d", i) }
	self := name(layer) + "."
	switch {
	case f == in("model.norm"):
		return []hfSlot{f, out(name(layers - 1))}
	case f == out("model.norm"):
		return []hfSlot{f, {module: "model", output: true, arg: "last_hidden_state"}}
	case layer < 0:
	case f == in(name(0)), f == in(self+"input_layernorm") && layer == 0:
		return []hfSlot{f, in(name(0)), in(self + "input_layernorm")}
	case f == in(self+"input_layernorm"):
		return []hfSlot{f, in(name(layer)), out(name(layer - 1))}
	case f == in(self+"self_attn.q_proj"):
		return []hfSlot{f, in(self + "self_attn.k_proj"), in(self + "self_attn.v_proj")}
	case f == in(self+"mlp.gate_proj"):
		return []hfSlot{f, in(self + "mlp.up_proj")}
	case f == out(self+"mlp.gate_proj"):
		return []hfSlot{f, in(self + "mlp.act_fn")}
	}
	return []hfSlot{f}
}

// hfAlone are the tensors of transformers that no module of vLLM has.
func hfAlone(c *il.Call, s *il.Slot) bool {
	return c.Module == "model" || c.Module == "model.rotary_emb" ||
		lastWord(c.Module) == "act_fn" && s.Direction == il.Outputs ||
		lastWord(c.Module) == "self_attn" && s.Direction == il.Outputs && s.Path == "1" // attention weights
}
