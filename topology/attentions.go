package topology

// AttentionNames are vLLM's names of the modules of an attention, within a layer.
type AttentionNames struct{ Block, QKV, Rotary, Attn, OProj string }

// Those that are known.
var (
	llamaAttention      = AttentionNames{SelfAttnName, QKVProjName, RotaryName, AttnName, OProjName}
	gptOssAttention2025 = AttentionNames{GptOssBlockName, "attn.qkv", GptOssRotaryName, GptOssAttnName, GptOssOProjName}
	gptOssAttention2026 = AttentionNames{GptOssBlockName, "attn.qkv_proj", GptOssRotaryName, GptOssAttnName, GptOssOProjName}
)

// Attentions are all of them.
var Attentions = []AttentionNames{llamaAttention, gptOssAttention2025, gptOssAttention2026}
