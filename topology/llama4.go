package topology

// llama4For2025 and llama4For2026 are the tree of vLLM's models/llama4.py (the text part):
// Llama's, with norms of rotated queries and keys in some layers, and a mixture of experts
// as the feed-forward part of some.
var (
	llama4For2025 = llama4(Era2025, FeedForward, []Child{
		{FeedForwardRouterName, GateLinear},
		{FeedForwardSharedName, SharedExpert},
		{FeedForwardSharedName + ".gate_up_proj", MergedColumnParallelLinear},
		{FeedForwardSharedName + ".down_proj", DownProjPart},
		{FeedForwardSharedName + ".act_fn", SiluAndMul},
		{FeedForwardExpertsName, SharedFusedMoE},
	})
	llama4For2026 = llama4(Era2026, FeedForward2026, []Child{
		{FeedForwardRouterName, GateLinear},
		{FeedForwardSharedName, SharedExpert},
		{FeedForwardSharedName + ".gate_up_proj", MergedColumnParallelLinear},
		{FeedForwardSharedName + ".down_proj", DownProjPart},
		{FeedForwardSharedName + ".act_fn", SiluAndMul},
		{FeedForwardExpertsName, SharedMoERunner},
		{FeedForwardExpertsName + "._shared_experts", SharedExperts},
	})
)

// Names of the modules of Llama 4.
const (
	QKNormName             = "self_attn.qk_norm"
	FeedForwardName        = "feed_forward"
	FeedForwardGateUpName  = "feed_forward.gate_up_proj"
	FeedForwardDownName    = "feed_forward.down_proj"
	FeedForwardActName     = "feed_forward.act_fn"
	FeedForwardRouterName  = "feed_forward.router"
	FeedForwardSharedName  = "feed_forward.shared_expert"
	FeedForwardExpertsName = "feed_forward.experts"
)

func llama4(era Era, block *Spec, mixture []Child) *Architecture {
	dense := []Child{{FeedForwardGateUpName, MergedColumnParallelLinear}, {FeedForwardDownName, DownProj}, {FeedForwardActName, SiluAndMul}}
	layer := []Child{
		{"", DecoderLayer},
		{SelfAttnName, SelfAttention},
		{QKNormName, HeadsNorm},
		{QKVProjName, QKVParallelLinear},
		{OProjName, OProj},
		{RotaryName, RotaryEmbedding},
		{AttnName, PagedAttention},
		{FeedForwardName, block},
	}
	layer = append(append(layer, dense...), mixture...)
	a := &Architecture{
		Names:        []string{"Llama4ForCausalLM"},
		Eras:         []Era{era},
		Root:         decoderRoot,
		Layer:        append(layer, Child{InputNormName, RMSNorm}, Child{PostAttnNormName, RMSNorm}),
		Some:         []string{QKNormName, RotaryName},
		Ties:         llama4Ties,
		OwnTies:      true,
		Transformers: func(layers int) *Table { return llama4Transformers(layers, era) },
	}
	for _, c := range append(dense, mixture...) {
		a.Some = append(a.Some, c.Name)
	}
	return a
}

// Classes of Llama 4.
var (
	// FeedForward is a mixture, or Llama's MLP under the same name, of which hooks see the
	// same.
	FeedForward     = &Spec{Class: "Llama4MoE", Kind: MoE, Single: true, Reduces: true, In: []Tensor{written(hidden)}, Out: []Tensor{hidden}}
	FeedForward2026 = &Spec{Class: "Llama4MoE", Kind: MoE, Single: true, Reduces: true, In: []Tensor{hidden}, Out: []Tensor{hidden}}
	// HeadsNorm normalises the heads of queries and then those of keys, each a row, in
	// float32.
	HeadsNorm = &Spec{
		Class: "RMSNorm", Kind: QKNorm, Single: true, Rounding: []Point{Result},
		In: []Tensor{headRows}, Out: []Tensor{headRows},
	}
	headRows = Tensor{Name: "x", Shape: []Dim{THeads, HeadDim}}
)

// llama4Ties are all ties of its layers: what the attention is given is not what the rope
// returned.
var llama4Ties = []Tie{
	{A: Given(InputNormName, "0"), B: Given("", "1")},
	{A: Given(InputNormName, "1"), B: Given("", "2")},
	{A: Given(QKVProjName, "0"), B: Returned(InputNormName)},
	{A: Given(RotaryName, "0"), B: Given("", "0")},
	{A: Given(OProjName, "0"), B: Returned(AttnName)},
	{A: Returned(SelfAttnName), B: Returned(OProjName)},
	{A: Given(PostAttnNormName, "0"), B: Returned(SelfAttnName)},
	{A: Given(PostAttnNormName, "1"), B: ReturnedAt(InputNormName, "1")},
	{A: Given(PostAttnNormName, "1"), B: Given(InputNormName, "0"), When: FirstLayer},
	{A: Given(FeedForwardName, "0"), B: Returned(PostAttnNormName)},
	{A: Given(FeedForwardGateUpName, "0"), B: Given(FeedForwardName, "0")},
	{A: Given(FeedForwardActName, "0"), B: Returned(FeedForwardGateUpName)},
	{A: Given(FeedForwardDownName, "0"), B: Returned(FeedForwardActName)},
	{A: Returned(FeedForwardName), B: Returned(FeedForwardDownName)},
	{A: Given(FeedForwardRouterName, "0"), B: Given(FeedForwardName, "0")},
	{A: Given(FeedForwardSharedName, "0"), B: Given(FeedForwardName, "0")},
	{A: Given(FeedForwardSharedName+".gate_up_proj", "0"), B: Given(FeedForwardSharedName, "0")},
	{A: Given(FeedForwardSharedName+".act_fn", "0"), B: Returned(FeedForwardSharedName + ".gate_up_proj")},
	{A: Given(FeedForwardSharedName+".down_proj", "0"), B: Returned(FeedForwardSharedName + ".act_fn")},
	{A: Returned(FeedForwardSharedName), B: Returned(FeedForwardSharedName + ".down_proj")},
	{A: ReturnedAt("", "0"), B: Returned(FeedForwardName)},
	{A: ReturnedAt("", "1"), B: ReturnedAt(PostAttnNormName, "1")},
	{Before: true, A: Given("", "0"), B: Given("", "0")},
	{Before: true, A: Given("", "1"), B: ReturnedAt("", "0")},
	{Before: true, A: Given("", "2"), B: ReturnedAt("", "1")},
}
