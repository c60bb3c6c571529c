package topology

// Dimensions of latent attention.
const (
	QLatent   Dim = "Lq"        // a latent of queries
	KVLatent  Dim = "Lkv"       // one of keys and values
	QKVA      Dim = "Lq+Lkv+R"  // both, and the key of all heads that is rotated
	KVA       Dim = "Lkv+R"     //
	QKHead    Dim = "P+R"       // a head's query or key: the part that is not rotated, and that which is
	RopeHead  Dim = "R"         //
	QKHeads   Dim = "nh*(P+R)"  //
	KVHeadsUp Dim = "nh*(P+Vd)" // keys and values of all heads, but what is rotated
	VHeads    Dim = "nh*Vd"     //
	Prefill   Dim = "Tp"        // tokens of prompts
)

// Classes of latent attention (vLLM's layers/mla.py, models/deepseek_v2.py).
var (
	// DeepseekDecoderLayer carries the residual beside the hidden states.
	DeepseekDecoderLayer = &Spec{
		Class: "DeepseekV2DecoderLayer", Kind: Layer, State: Latents,
		In:  []Tensor{positions, written(hidden), written(residual)},
		Out: []Tensor{hidden, residual},
	}
	// DeepseekDecoderLayer2026 is given a scale of queries too, which is None.
	DeepseekDecoderLayer2026 = &Spec{
		Class: "DeepseekV2DecoderLayer", Kind: Layer, State: Latents,
		In:  []Tensor{positions, written(hidden), written(residual), queryScale},
		Out: []Tensor{hidden, residual},
	}
	// DeepseekAttention is called with keywords, DeepseekAttention2026 is not.
	DeepseekAttention = &Spec{
		Class: "DeepseekV2MLAAttention", Kind: AttentionBlock, Keyword: true, Single: true, Reduces: true, State: Latents,
		In: []Tensor{positions, hidden}, Out: []Tensor{hidden},
	}
	DeepseekAttention2026 = &Spec{
		Class: "DeepseekV2MLAAttention", Kind: AttentionBlock, Single: true, Reduces: true, State: Latents,
		In: []Tensor{positions, hidden, queryScale}, Out: []Tensor{hidden},
	}
	// MultiHeadLatentAttention calls all modules of the attention.
	MultiHeadLatentAttention = &Spec{
		Class: "MultiHeadLatentAttention", Kind: AttentionBlock, Single: true, Reduces: true, State: Latents, Calls: latentModules,
		In: []Tensor{positions, hidden}, Out: []Tensor{hidden},
	}
	MultiHeadLatentAttention2026 = &Spec{
		Class: "MultiHeadLatentAttentionWrapper", Kind: AttentionBlock, Single: true, Reduces: true, State: Latents, Calls: latentModules,
		In: []Tensor{positions, hidden, queryScale}, Out: []Tensor{hidden},
	}
	// LatentAttentionLayer is vLLM's Attention with a latent cache; its output_shape is by
	// keyword. MLAAttention is what it became.
	LatentAttentionLayer = latentAttention("Attention")
	MLAAttention         = latentAttention("MLAAttention")

	FusedQKVAProj = latentLinear("MergedReplicatedLinear", hidden, Tensor{Name: "qkv_lora", Shape: []Dim{T, QKVA}, Sharding: Replicated})
	KVAProj       = latentLinear("ReplicatedLinear", hidden, Tensor{Name: "kv_lora", Shape: []Dim{T, KVA}, Sharding: Replicated})
	QBProj        = latentLinear("ColumnParallelLinear", qLatent, latentQ)
	LatentQProj   = latentLinear("ColumnParallelLinear", hidden, latentQ)
	// KVBProj is called for the tokens of prompts alone, and for each chunk of what came
	// before them: its calls are numbered.
	KVBProj = latentLinear("ColumnParallelLinear",
		Tensor{Name: "kv_c_normed", Shape: []Dim{Prefill, KVLatent}, Sharding: Replicated},
		Tensor{Name: "kv_nope", Shape: []Dim{Prefill, KVHeadsUp}, Sharding: Column})
	LatentOProj = rowParallel("attn_output", VHeads)

	QLatentNorm  = latentNorm(qLatent)
	KVLatentNorm = latentNorm(kvLatent)

	// LatentRotaryEmbedding turns a part of queries, and the one key of all heads: in place
	// where the rope has no scaling, into new tensors otherwise.
	LatentRotaryEmbedding = &Spec{
		Class: "DeepseekScalingRotaryEmbedding", Kind: Rope, Shared: true, Rounding: []Point{CosSin, Products, Result},
		In:  []Tensor{positions, written(ropeQ), written(ropeK)},
		Out: []Tensor{ropeQ, ropeK},
	}
)

// DeepseekMLP is the feed-forward part of a layer: a mixture, or in dense layers
// DeepseekV2MLP, of the same arguments. What it is given, the experts of 2025 write over.
var (
	DeepseekMLP = &Spec{
		Class: "DeepseekV2MoE", Kind: MoE, Single: true, Reduces: true,
		In: []Tensor{written(hidden)}, Out: []Tensor{hidden},
	}
	DeepseekMLP2026 = &Spec{
		Class: "DeepseekV2MoE", Kind: MoE, Single: true, Reduces: true,
		In: []Tensor{hidden}, Out: []Tensor{hidden},
	}
)

// latentModules are those that mla_attn calls.
var latentModules = []string{FusedQKVAProjName, KVAProjName, QProjName, QANormName, QBProjName, KVANormName, RotaryName, OProjName}

// Tensors of latent attention.
var (
	queryScale = Tensor{Name: "llama_4_scaling", Optional: true}
	qLatent    = Tensor{Name: "q_c", Shape: []Dim{T, QLatent}, Sharding: Replicated}
	kvLatent   = Tensor{Name: "kv_c", Shape: []Dim{T, KVLatent}, Sharding: Replicated}
	latentQ    = Tensor{Name: "q", Shape: []Dim{T, QKHeads}, Sharding: Column}
	ropeQ      = Tensor{Name: "q_pe", Shape: []Dim{T, Heads, RopeHead}, Sharding: HeadAxis}
	ropeK      = Tensor{Name: "k_pe", Shape: []Dim{T, One, RopeHead}, Sharding: Replicated}
)

func latentLinear(class string, in, out Tensor) *Spec {
	return &Spec{Class: class, Kind: LatentLinear, Rounding: sums, In: []Tensor{in}, Out: []Tensor{out}}
}

func latentNorm(x Tensor) *Spec {
	return &Spec{Class: "RMSNorm", Kind: Norm, Single: true, Rounding: []Point{Weighted, Result}, In: []Tensor{x}, Out: []Tensor{x}}
}

func latentAttention(class string) *Spec {
	return &Spec{
		Class: class, Kind: Attention, Single: true, State: Latents, Calls: []string{KVBProjName}, Rounding: []Point{SumOrder, Probabilities, SplitSums, Result},
		In: []Tensor{
			{Name: "q", Shape: []Dim{T, Heads, QKHead}, Sharding: HeadAxis},
			{Name: "kv_c_normed", Shape: []Dim{T, KVLatent}, Sharding: Replicated},
			ropeK,
		},
		Out: []Tensor{{Name: "attn_output", Shape: []Dim{T, VHeads}, Sharding: Column}},
	}
}
