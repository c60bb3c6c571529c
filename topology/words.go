package topology

import "strings"

// words says what an attribute is in any tree, vLLM's or transformers', known
// or not. What architectures use one word for in two ways is not here but in
// their entries.
var words = map[string]*Spec{
	"embed_tokens":     VocabParallelEmbedding,
	"embedding":        VocabParallelEmbedding,
	"qkv_proj":         QKVParallelLinear,
	"qkv":              QKVParallelLinear,
	"q_proj":           qProj,
	"k_proj":           kvProj,
	"v_proj":           kvProj,
	"o_proj":           OProj,
	"rotary_emb":       RotaryEmbedding,
	"attn":             PagedAttention,
	"q_norm":           QHeadNorm,
	"k_norm":           KHeadNorm,
	"q_layernorm":      anyHeads,
	"k_layernorm":      anyHeads,
	"qk_norm":          HeadsNorm,
	"self_attn":        SelfAttention,
	"feed_forward":     DenseMLP,
	"mlp":              DenseMLP,
	"gate_up_proj":     MergedColumnParallelLinear,
	"gate_proj":        gateOrUp,
	"up_proj":          gateOrUp,
	"act_fn":           SiluAndMul,
	"down_proj":        DownProj,
	"block_sparse_moe": SparseMoeBlock,
	"gate":             GateLinear,
	"router":           GateLinear,
	"experts":          FusedMoE,
	"shared_expert":    SharedExpert,
	"shared_experts":   SharedExpert,
	"_shared_experts":  SharedExperts,
	"norm":             RMSNorm,
	"model":            DecoderModel,
	"lm_head":          ParallelLMHead,
	"logits_processor": LogitsProcessor,

	"shared_expert_gate": SharedExpertGate,

	"q_a_proj": latentProj, "q_b_proj": latentProj, "kv_a_proj_with_mqa": latentProj,
	"fused_qkv_a_proj": latentProj, "kv_b_proj": latentProj,
	"mla_attn": MultiHeadLatentAttention, "mla_attn.mla_attn": LatentAttentionLayer,
}

// blocks are words that mean another thing where the layer itself holds what is called so.
var blocks = map[string]*Spec{"attn": GptOssAttention}

// byWord is the class that a module's last word tells, nil where it tells none.
func byWord(p Place) *Spec {
	last := LastWord(p.Rel)
	if within := LastWord(Parent(p.Rel)); within == last { // an attribute of its own name
		last = within + "." + last
	}
	switch s := words[last]; {
	case p.IsLayer():
		return DecoderLayer
	case p.Layer >= 0 && blocks[p.Rel] != nil: // the word, of a child of the layer
		return blocks[p.Rel]
	case s != nil:
		return s
	case strings.HasSuffix(last, "layernorm"):
		return RMSNorm
	case strings.HasSuffix(last, "norm"):
		return anyNorm
	case strings.HasSuffix(last, "_proj"):
		return anyProj
	}
	return nil
}

// Convention is whose names a module has.
type Convention uint8

// Conventions, the ones that decide last: a model of transformers may pack
// projections as vLLM's do (Phi-3), and one of vLLM may have some apart.
const (
	AnyConvention Convention = iota
	LikeTransformers
	LikeVLLM
	Transformers
	VLLM
)

// IsTransformers reports whether names are more likely transformers' than vLLM's.
func (c Convention) IsTransformers() bool { return c == Transformers || c == LikeTransformers }

// IsVLLM reports whether names are more likely vLLM's than transformers'.
func (c Convention) IsVLLM() bool { return c == VLLM || c == LikeVLLM }

// ConventionOf tells whether a name is one that vLLM or transformers alone has.
func ConventionOf(module string) Convention {
	switch LastWord(module) {
	case "attn", "logits_processor", "mla_attn", "fused_qkv_a_proj":
		return VLLM
	case "lm_head", "activation_fn":
		return Transformers
	case "qkv_proj", "gate_up_proj":
		return LikeVLLM
	case "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj":
		return LikeTransformers
	}
	return AnyConvention
}

// FixedByNature reports whether the name of a module speaks of what is the same
// in every layer and step: tables of positions, masks. rotates says that it is
// given queries and keys, which no table is.
func FixedByNature(module string, rotates bool) bool {
	last := LastWord(module)
	for _, w := range []string{"rotary", "rope", "position", "pos_emb", "mask", "relative"} {
		if strings.Contains(last, w) {
			return !(w == "rotary" && rotates)
		}
	}
	return false
}
