package topology

// llama is the tree of vLLM's models/llama.py, which Mistral and Ernie share, and of
// models/qwen2.py and seed_oss.py.
var llama = &Architecture{
	Names: []string{
		"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "SeedOssForCausalLM", "Ernie4_5ForCausalLM",
	},
	Root:         decoderRoot,
	Layer:        decoderLayer(),
	Transformers: llamaTransformers,
}

// phi3 is that of vLLM's models/phi3.py: Llama's. In transformers it is another.
var phi3 = &Architecture{
	Names:        []string{"Phi3ForCausalLM"},
	Root:         decoderRoot,
	Layer:        decoderLayer(),
	Transformers: phi3Transformers,
}

// glm is that of vLLM's models/glm.py: Llama's.
var glm = &Architecture{
	Names:        []string{"GlmForCausalLM"},
	Root:         decoderRoot,
	Layer:        decoderLayer(),
	Transformers: glmTransformers,
}

// qwen3 is that of models/qwen3.py: Llama's, with norms over each head.
var qwen3 = &Architecture{
	Names:        []string{"Qwen3ForCausalLM"},
	Root:         decoderRoot,
	Layer:        decoderLayer(Child{"self_attn.q_norm", QHeadNorm}, Child{"self_attn.k_norm", KHeadNorm}),
	Transformers: qwen3Transformers,
}

// Names of modules in the trees of Llama and its kin: whole outside layers, and
// within a layer for [InLayer].
const (
	EmbedTokensName     = "model.embed_tokens"
	FinalNormName       = "model.norm"
	LogitsProcessorName = "logits_processor"
	LMHeadName          = "lm_head"

	SelfAttnName     = "self_attn"
	QKVProjName      = "self_attn.qkv_proj"
	QNormName        = "self_attn.q_norm"
	KNormName        = "self_attn.k_norm"
	RotaryName       = "self_attn.rotary_emb" // one object, listed under the first layer
	AttnName         = "self_attn.attn"
	OProjName        = "self_attn.o_proj"
	MLPName          = "mlp"
	GateUpProjName   = "mlp.gate_up_proj"
	ActFnName        = "mlp.act_fn"
	DownProjName     = "mlp.down_proj"
	InputNormName    = "input_layernorm"
	PostAttnNormName = "post_attention_layernorm"
)

// decoderRoot is what a decoder has outside its layers.
var decoderRoot = []Child{
	{EmbedTokensName, VocabParallelEmbedding},
	{FinalNormName, RMSNorm},
	{LMHeadName, ParallelLMHead},
	{LogitsProcessorName, LogitsProcessor},
}

// decoderLayer is Llama's layer, with more modules of its attention.
func decoderLayer(attention ...Child) []Child {
	l := []Child{
		{"", DecoderLayer},
		{SelfAttnName, SelfAttention},
		{QKVProjName, QKVParallelLinear},
		{OProjName, OProj},
		{RotaryName, RotaryEmbedding},
		{AttnName, PagedAttention},
	}
	l = append(l, attention...)
	return append(
		l,
		Child{MLPName, DenseMLP},
		Child{GateUpProjName, MergedColumnParallelLinear},
		Child{DownProjName, DownProj},
		Child{ActFnName, SiluAndMul},
		Child{InputNormName, RMSNorm},
		Child{PostAttnNormName, RMSNorm},
	)
}
