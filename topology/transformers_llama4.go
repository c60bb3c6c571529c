package topology

import (
	"slices"
	"strings"
)

// llama4Transformers is transformers' modeling_llama4.py. It rotates pairs that stand side
// by side where vLLM has loaded the rows of q_proj and k_proj in another order, so that
// queries and keys are tensors of neither's other side; and its experts take every token.
func llama4Transformers(layers int, era Era) *Table {
	out := []Mapping{
		{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{EmbedTokensName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
	t := &Table{layers: layers, handedOn: llama4Same}
	for i := range layers {
		out = slices.Concat(out, llamaStream(i, FeedForwardName), llama4Attention(i), llamaPostAttention(i, OProjName), llama4FeedForward(i), llama4Mixture(i, era))
		t.alone = append(t.alone, result(InLayer(i, "self_attn.q_proj")), result(InLayer(i, "self_attn.k_proj")), result(InLayer(i, FeedForwardExpertsName)))
	}
	t.Mappings = append(out, finalNorm(InLayer(layers-1, FeedForwardName), InLayer(layers-1, PostAttnNormName))...)
	return t
}

// llama4Same: both projections of an MLP, the shared one's too, are given one tensor.
func llama4Same(s Source, layers int) []Source {
	if block, of := strings.CutSuffix(s.Module, ".gate_proj"); of && s == argument(s.Module) {
		return []Source{s, argument(block + ".up_proj")}
	}
	return normFirstSame(s, layers)
}

// llama4Attention is that of layer i. Which layers rotate, the names do not tell: the calls
// of the rope, but for the first, are left out.
func llama4Attention(i int) []Mapping {
	qkv, norm := InLayer(i, QKVProjName), InLayer(i, QKNormName)
	out := attentionOf(i, argument(InLayer(i, "self_attn.q_proj")), nil, nil, nil, []Source{result(InLayer(i, "self_attn.v_proj"))})
	for k := range out {
		if m := &out[k]; m.Module == InLayer(0, RotaryName) && m.Index > 0 || m.Module == qkv && m.Output {
			m.Sources = nil
		}
	}
	return append(
		out,
		Mapping{norm, 0, false, "0", nil}, Mapping{norm, 0, true, "", nil},
		Mapping{norm, 1, false, "0", nil}, Mapping{norm, 1, true, "", nil},
	)
}

// llama4FeedForward is what the feed-forward part of layer i takes and returns, and what is
// in a dense one.
func llama4FeedForward(i int) []Mapping {
	block := InLayer(i, FeedForwardName)
	return append([]Mapping{
		{block, 0, false, "0", []Source{argument(block)}},
		{block, 0, true, "", []Source{result(block)}},
	}, gatedMLP(block)...)
}

// gatedMLP is what is in an MLP, in transformers of projections apart.
func gatedMLP(block string) []Mapping {
	gate, up, down := block+".gate_proj", block+".up_proj", block+".down_proj"
	return []Mapping{
		{block + ".gate_up_proj", 0, false, "0", []Source{argument(gate)}},
		{block + ".gate_up_proj", 0, true, "0", []Source{result(gate), result(up)}},
		{block + ".act_fn", 0, false, "0", []Source{result(gate), result(up)}},
		{block + ".act_fn", 0, true, "", []Source{argument(down)}},
		{down, 0, false, "0", []Source{argument(down)}},
		{down, 0, true, "0", []Source{result(down)}},
	}
}

// llama4Mixture is the mixture of layer i. transformers' router returns the scores first.
func llama4Mixture(i int, era Era) []Mapping {
	router, shared, experts := InLayer(i, FeedForwardRouterName), InLayer(i, FeedForwardSharedName), InLayer(i, FeedForwardExpertsName)
	out := append([]Mapping{
		{router, 0, false, "0", []Source{argument(router)}},
		{router, 0, true, "0", []Source{{Module: router, Output: true, Arg: "1"}}},
		{shared, 0, false, "0", []Source{argument(shared)}},
		{shared, 0, true, "", []Source{result(shared)}},
	}, gatedMLP(shared)...)
	if era == Era2025 {
		return append(out, Mapping{experts, 0, true, "0", []Source{result(shared)}}, Mapping{experts, 0, true, "1", nil})
	}
	return append(
		out, Mapping{experts, 0, true, "", []Source{result(InLayer(i, FeedForwardName))}},
		Mapping{experts + "._shared_experts", 0, false, "0", nil}, Mapping{experts + "._shared_experts", 1, false, "0", nil},
	)
}
