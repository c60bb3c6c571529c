package topology

// gptOss2025 and gptOss2026 are the tree of vLLM's models/gpt_oss.py: its layers are given
// the hidden states before the positions, the attention is called attn as the module in it
// is, and the embedding has a name of its own.
var (
	gptOss2025 = gptOss(Era2025, gptOssAttention2025, FusedMoEKeyword, GptOssMLP)
	gptOss2026 = gptOss(Era2026, gptOssAttention2026, MoERunnerKeyword, GptOssMLP2026)
)

// Names of the modules of GPT-OSS.
const (
	GptOssEmbeddingName = "model.embedding"
	GptOssBlockName     = "attn"
	GptOssRotaryName    = "attn.rotary_emb"
	GptOssOProjName     = "attn.o_proj"
	GptOssAttnName      = "attn.attn"
	MLPRouterName       = "mlp.router"
)

func gptOss(era Era, names AttentionNames, experts, mlp *Spec) *Architecture {
	return &Architecture{
		Names: []string{"GptOssForCausalLM"},
		Eras:  []Era{era},
		Root: []Child{
			{GptOssEmbeddingName, VocabParallelEmbedding},
			{FinalNormName, RMSNorm},
			{LMHeadName, ParallelLMHead},
			{LogitsProcessorName, LogitsProcessor},
		},
		Layer: []Child{
			{"", GptOssDecoderLayer},
			{GptOssBlockName, GptOssAttention},
			{GptOssRotaryName, RotaryEmbedding},
			{names.QKV, QKVParallelLinear},
			{GptOssOProjName, OProj},
			{GptOssAttnName, PagedAttention},
			{MLPName, mlp},
			{MLPRouterName, PlainRouter},
			{MLPExpertsName, experts},
			{InputNormName, RMSNorm},
			{PostAttnNormName, RMSNorm},
		},
		Ties:         gptOssTies(names.QKV),
		OwnTies:      true,
		Transformers: func(layers int) *Table { return gptOssTransformers(layers, names) },
	}
}

// Classes of GPT-OSS.
var (
	// GptOssDecoderLayer is given the positions second.
	GptOssDecoderLayer = &Spec{
		Class: "TransformerBlock", Kind: Layer, State: KeysAndValues,
		In:  []Tensor{written(hidden), positions, written(residual)},
		Out: []Tensor{hidden, residual},
	}
	// GptOssAttention is called with positional arguments.
	GptOssAttention = &Spec{
		Class: "OAIAttention", Kind: AttentionBlock, Single: true, Reduces: true, State: KeysAndValues,
		In: []Tensor{hidden, positions}, Out: []Tensor{hidden},
	}
	// GptOssMLP holds the router and the experts. What it is given, its experts of 2025
	// write over.
	GptOssMLP = &Spec{
		Class: "MLPBlock", Kind: MoE, Single: true, Reduces: true,
		In: []Tensor{written(hidden)}, Out: []Tensor{hidden},
	}
	// GptOssMLP2026 leaves it as it is.
	GptOssMLP2026 = &Spec{
		Class: "MLPBlock", Kind: MoE, Single: true, Reduces: true,
		In: []Tensor{hidden}, Out: []Tensor{hidden},
	}
	// PlainRouter is a router that returns the logits alone: torch's Linear in 2025,
	// ReplicatedLinear with return_bias=False in 2026.
	PlainRouter = &Spec{
		Class: "Linear", Kind: Router, Single: true, Rounding: sums,
		In: []Tensor{hidden}, Out: []Tensor{routerLogits},
	}
)

// gptOssTies are all ties of its layers: its names and the order of a layer's arguments
// are its own.
func gptOssTies(qkv string) []Tie {
	return []Tie{
		{A: Given(InputNormName, "0"), B: Given("", "0")},
		{A: Given(InputNormName, "1"), B: Given("", "2")},
		{A: Given(GptOssBlockName, "0"), B: Returned(InputNormName)},
		{A: Given(GptOssBlockName, "1"), B: Given("", "1")},
		{A: Given(qkv, "0"), B: Given(GptOssBlockName, "0")},
		{A: Given(GptOssRotaryName, "0"), B: Given(GptOssBlockName, "1")},
		{A: Given(GptOssAttnName, "0"), B: ReturnedAt(GptOssRotaryName, "0")},
		{A: Given(GptOssAttnName, "1"), B: ReturnedAt(GptOssRotaryName, "1")},
		{A: Given(GptOssOProjName, "0"), B: Returned(GptOssAttnName)},
		{A: Returned(GptOssBlockName), B: Returned(GptOssOProjName)},
		{A: Given(PostAttnNormName, "0"), B: Returned(GptOssBlockName)},
		{A: Given(PostAttnNormName, "1"), B: ReturnedAt(InputNormName, "1")},
		{A: Given(PostAttnNormName, "1"), B: Given(InputNormName, "0"), When: FirstLayer},
		{A: Given(MLPName, "0"), B: Returned(PostAttnNormName)},
		{A: Given(MLPRouterName, "0"), B: Given(MLPName, "0")},
		{A: Returned(MLPName), B: Returned(MLPExpertsName)},
		{A: ReturnedAt("", "0"), B: Returned(MLPName)},
		{A: ReturnedAt("", "1"), B: ReturnedAt(PostAttnNormName, "1")},
		{Before: true, A: Given("", "0"), B: ReturnedAt("", "0")},
		{Before: true, A: Given("", "1"), B: Given("", "1")},
		{Before: true, A: Given("", "2"), B: ReturnedAt("", "1")},
	}
}
