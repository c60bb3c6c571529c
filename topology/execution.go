package topology

import (
	"cmp"
	"slices"
	"strings"
)

// execution lists the words of module names in the order in which a decoder calls
// them, within its layer and outside.
var execution = []string{
	"embed_tokens", "input_layernorm", "self_attn", "mla_attn", "fused_qkv_a_proj", "q_a_proj", "q_a_layernorm", "q_b_proj", "kv_a_proj_with_mqa", "kv_a_layernorm", "kv_b_proj", "qkv", "qkv_proj", "q_proj", "k_proj", "v_proj", "q_norm", "k_norm", "rotary_emb", "qk_norm", "attn", "o_proj",
	"post_attention_layernorm", "pre_feedforward_layernorm", "mlp", "feed_forward", "block_sparse_moe", "gate", "router", "experts", "_shared_experts", "shared_expert", "shared_expert_gate", "shared_experts", "gate_up_proj", "gate_proj", "up_proj", "act_fn", "down_proj",
	"post_feedforward_layernorm",
}

// ByExecution orders modules as a decoder calls them: the embedding, the layers, a
// module before those in it, what stands outside behind the layers.
func ByExecution(a, b string) int {
	x, y := Locate(a), Locate(b)
	if c := cmp.Or(cmp.Compare(stage(x), stage(y)), cmp.Compare(x.Layer, y.Layer)); c != 0 {
		return c
	}
	return cmp.Or(slices.CompareFunc(called(x.Rel), called(y.Rel), func(p, q string) int {
		return cmp.Or(cmp.Compare(turn(p), turn(q)), cmp.Compare(p, q))
	}), cmp.Compare(a, b))
}

// called are the words of a module's name within its layer as they would be were it
// registered where it is called: latent attention calls what stands beside it, and what
// has its own name in it is the attention itself.
func called(rel string) []string {
	words := strings.Split(rel, ".")
	switch block, latent, _ := strings.Cut(LatentBlockName, "."); {
	case words[0] != block || len(words) < 2:
	case len(words) == 2 && rel == KVBProjName: // by the attention
		words = []string{block, latent, "attn", words[1]}
	case words[1] != latent:
		words = slices.Insert(words, 1, latent)
	case len(words) == 3 && words[2] == latent:
		words[2] = "attn"
	}
	return words
}

// stage is 0 before the layers, 1 in them, 2 behind.
func stage(p Place) int {
	switch kind := Of(p.Name()).Kind; {
	case p.Layer >= 0:
		return 1
	case kind == Embedding, kind == Rope:
		return 0
	case kind.IsHead():
		return 3
	}
	return 2
}

// turn is when a word comes; "" is the module that holds the others.
func turn(word string) int {
	if word == "" {
		return -1
	}
	if i := slices.Index(execution, word); i >= 0 {
		return i
	}
	return len(execution)
}
