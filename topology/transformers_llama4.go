package topology

import (
	"iter"
	"slices"
	"strings"
)

// llama4Transformers is transformers' modeling_llama4.py. It rotates pairs that stand side
// by side where vLLM has loaded the rows of q_proj and k_proj in another order; and its
// experts take every token.
func llama4Transformers(layers int, era Era) *Table {
	out := []Mapping{
		{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{EmbedTokensName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
	t := &Table{layers: layers, handedOn: llama4Same, fitted: fitLlama4}
	for i := range layers {
		out = slices.Concat(out, llamaStream(i, FeedForwardName), llama4Attention(i), llamaPostAttention(i, OProjName), llama4FeedForward(i), llama4Mixture(i, era))
		t.halved = append(t.halved, InLayer(i, QKVProjName))
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

// llama4Attention is that of layer i. Rotated queries and keys are tensors of neither's
// other side, and so are those of the norms.
func llama4Attention(i int) []Mapping {
	q, k, v := InLayer(i, "self_attn.q_proj"), InLayer(i, "self_attn.k_proj"), InLayer(i, "self_attn.v_proj")
	norm := InLayer(i, QKNormName)
	out := attentionOf(i, argument(q), []Source{result(q), result(k), result(v)}, nil, nil, []Source{result(v)})
	return append(
		out,
		Mapping{Module: norm, Slot: "0"}, Mapping{Module: norm, Output: true},
		Mapping{Module: norm, Index: 1, Slot: "0"}, Mapping{Module: norm, Index: 1, Output: true},
	)
}

// fitLlama4 numbers the calls of the rope: layers that rotate have a norm of what they
// have rotated. Of a model without such norms the names do not tell which rotate, and no
// call is told.
func fitLlama4(t *Table, modules iter.Seq[string]) {
	normed := map[int]bool{}
	for m := range modules {
		if p := Locate(m); p.Rel == QKNormName {
			normed[p.Layer] = true
		}
	}
	calls := map[int]int{} // of the rope, by layer
	for i := range t.layers {
		if normed[i] {
			calls[i] = len(calls)
		}
	}
	t.Mappings = slices.DeleteFunc(t.Mappings, func(m Mapping) bool {
		return m.Module == InLayer(0, RotaryName) && len(m.Sources) > 0 && !normed[m.Index]
	})
	for i := range t.Mappings {
		if m := &t.Mappings[i]; m.Module == InLayer(0, RotaryName) && len(m.Sources) > 0 {
			m.Index = calls[m.Index]
		}
	}
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
