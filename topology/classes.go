package topology

// The classes that architectures are made of, under vLLM's names
// (model_executor/layers: vocab_parallel_embedding.py, linear.py, layernorm.py,
// rotary_embedding, activation.py, fused_moe, logits_processor.py; attention/layer.py).
var (
	unknownClass = &Spec{}

	VocabParallelEmbedding = &Spec{
		Class: "VocabParallelEmbedding", Kind: Embedding, Single: true, Reduces: true,
		In:  []Tensor{{Name: "input_ids", Shape: []Dim{T}, Sharding: Replicated}},
		Out: []Tensor{{Name: "hidden_states", Shape: []Dim{T, H}, Sharding: Replicated}},
	}
	QKVParallelLinear = &Spec{
		Class: "QKVParallelLinear", Kind: QKVLinear, Rounding: sums,
		In:  []Tensor{hidden},
		Out: []Tensor{{Name: "qkv", Shape: []Dim{T, QKV}, Sharding: PackedQKV}},
	}
	MergedColumnParallelLinear = &Spec{
		Class: "MergedColumnParallelLinear", Kind: MergedLinear, Rounding: sums,
		In:  []Tensor{hidden},
		Out: []Tensor{{Name: "gate_up", Shape: []Dim{T, GateUp}, Sharding: MergedColumn}},
	}
	// OProj and DownProj are RowParallelLinear over the heads and over the
	// intermediate values.
	OProj    = rowParallel("attn_output", Q)
	DownProj = rowParallel("x", I)

	// RMSNorm adds the residual where it is given one, and then writes both in
	// place and returns both; alone it returns one new tensor.
	RMSNorm = &Spec{
		Class: "RMSNorm", Kind: Norm, Rounding: []Point{Weighted, Result},
		In:  []Tensor{written(hidden), written(residual)},
		Out: []Tensor{hidden, residual},
	}
	// PlainRMSNorm never takes a residual.
	PlainRMSNorm = &Spec{
		Class: "RMSNorm", Kind: Norm, Single: true, Rounding: []Point{Weighted, Result},
		In: []Tensor{hidden}, Out: []Tensor{hidden},
	}
	// QHeadNorm and KHeadNorm normalise each head (Qwen3).
	QHeadNorm = headNorm("q", Heads, HeadAxis)
	KHeadNorm = headNorm("k", KVHeads, KVHeadAxis)

	RotaryEmbedding = &Spec{
		Class: "RotaryEmbedding", Kind: Rope, Shared: true, Rounding: []Point{CosSin, Products, Result},
		In:  []Tensor{positions, written(queries), written(keys)},
		Out: []Tensor{queries, keys},
	}
	PagedAttention = &Spec{
		Class: "Attention", Kind: Attention, Single: true, State: KeysAndValues, Rounding: []Point{SumOrder, Probabilities, SplitSums, Result},
		In:  []Tensor{queries, keys, {Name: "value", Shape: []Dim{T, K}, Sharding: KVColumn}},
		Out: []Tensor{{Name: "attn_output", Shape: []Dim{T, Q}, Sharding: Column}},
	}
	SiluAndMul = &Spec{
		Class: "SiluAndMul", Kind: Activation, Single: true, Rounding: []Point{Activated, Result},
		In:  []Tensor{{Name: "gate_up", Shape: []Dim{T, GateUp}, Sharding: MergedColumn}},
		Out: []Tensor{{Name: "x", Shape: []Dim{T, I}, Sharding: Column}},
	}
	LogitsProcessor = &Spec{
		Class: "LogitsProcessor", Kind: Logits, Single: true, Shared: true, Rounding: sums,
		In:  []Tensor{{Name: "lm_head", Sharding: Replicated}, {Name: "hidden_states", Shape: []Dim{N, H}, Sharding: Replicated}, {Name: "embedding_bias", Optional: true}},
		Out: []Tensor{{Name: "logits", Shape: []Dim{N, V}, Sharding: Replicated}},
	}
	ParallelLMHead = &Spec{
		Class: "ParallelLMHead", Kind: Head, Rounding: sums,
		In:  []Tensor{{Name: "hidden_states", Shape: []Dim{T, H}, Sharding: Replicated}},
		Out: []Tensor{{Name: "logits", Shape: []Dim{T, V}}},
	}
	// DecoderLayer carries the residual beside the hidden states.
	DecoderLayer = &Spec{
		Class: "LlamaDecoderLayer", Kind: Layer, State: KeysAndValues,
		In:  []Tensor{positions, written(hidden), written(residual)},
		Out: []Tensor{hidden, residual},
	}
	SelfAttention = &Spec{
		Class: "LlamaAttention", Kind: AttentionBlock, Keyword: true, Single: true, Reduces: true, State: KeysAndValues,
		In:  []Tensor{positions, hidden},
		Out: []Tensor{hidden},
	}
	DenseMLP = &Spec{
		Class: "LlamaMLP", Kind: MLP, Single: true, Reduces: true,
		In: []Tensor{hidden}, Out: []Tensor{hidden},
	}
	DecoderModel = &Spec{
		Class: "LlamaModel", Kind: Model,
		In:  []Tensor{{Name: "input_ids", Shape: []Dim{T}, Sharding: Replicated}, positions},
		Out: []Tensor{hidden},
	}
)

// Classes of modules that only transformers has, or only older architectures of
// vLLM, and of which the name tells the kind alone.
var (
	qProj      = columnParallel("q", Q, Column)
	kvProj     = columnParallel("k", K, KVColumn)
	gateOrUp   = columnParallel("x", I, Column)
	latentProj = &Spec{Kind: LatentLinear, Rounding: sums}
	anyProj    = &Spec{Kind: Linear, Rounding: sums}
	anyNorm    = &Spec{Kind: Norm, Rounding: []Point{Weighted, Result}}
	anyHeads   = &Spec{Kind: QKNorm, Rounding: []Point{Weighted, Result}}
)

// Tensors that many classes share.
var (
	sums      = []Point{SumOrder, SplitSums, Result}
	positions = Tensor{Name: "positions", Shape: []Dim{T}, Sharding: Replicated}
	hidden    = Tensor{Name: "hidden_states", Shape: []Dim{T, H}, Sharding: Replicated}
	residual  = Tensor{Name: "residual", Shape: []Dim{T, H}, Sharding: Replicated, Optional: true}
	queries   = Tensor{Name: "query", Shape: []Dim{T, Q}, Sharding: Column}
	keys      = Tensor{Name: "key", Shape: []Dim{T, K}, Sharding: KVColumn}
)

func written(t Tensor) Tensor {
	t.Written = true
	return t
}

func rowParallel(in string, width Dim) *Spec {
	return &Spec{
		Class: "RowParallelLinear", Kind: RowLinear, Reduces: true, Rounding: sums,
		In:  []Tensor{{Name: in, Shape: []Dim{T, width}, Sharding: Column}},
		Out: []Tensor{hidden},
	}
}

func columnParallel(out string, width Dim, sharding Sharding) *Spec {
	return &Spec{
		Class: "ColumnParallelLinear", Kind: ColumnLinear, Rounding: sums,
		In:  []Tensor{hidden},
		Out: []Tensor{{Name: out, Shape: []Dim{T, width}, Sharding: sharding}},
	}
}

func headNorm(name string, heads Dim, sharding Sharding) *Spec {
	x := Tensor{Name: name, Shape: []Dim{T, heads, HeadDim}, Sharding: sharding}
	return &Spec{
		Class: "RMSNorm", Kind: QKNorm, Single: true, Rounding: []Point{Weighted, Result},
		In: []Tensor{x}, Out: []Tensor{x},
	}
}
