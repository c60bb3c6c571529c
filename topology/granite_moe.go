package topology

// graniteMoe is the tree of vLLM's models/granitemoe.py: Mixtral's, but norms take no
// residual, and layers return one tensor.
var (
	graniteMoe2025 = graniteMoe(Era2025, SparseMoeBlock, FusedMoE)
	graniteMoe2026 = graniteMoe(Era2026, SparseMoeBlock2026, MoERunner)
)

// GraniteMoeDecoderLayer takes and returns the sum: there is no residual beside it.
var GraniteMoeDecoderLayer = &Spec{
	Class: "GraniteMoeDecoderLayer", Kind: Layer, Single: true, State: KeysAndValues,
	In: []Tensor{positions, hidden}, Out: []Tensor{hidden},
}

func graniteMoe(era Era, block, experts *Spec) *Architecture {
	return &Architecture{
		Names: []string{"GraniteMoeForCausalLM"},
		Eras:  []Era{era},
		Root: []Child{
			{EmbedTokensName, VocabParallelEmbedding},
			{FinalNormName, PlainRMSNorm},
			{LMHeadName, ParallelLMHead},
			{LogitsProcessorName, LogitsProcessor},
		},
		Layer: []Child{
			{"", GraniteMoeDecoderLayer},
			{SelfAttnName, SelfAttention},
			{QKVProjName, QKVParallelLinear},
			{OProjName, OProj},
			{RotaryName, RotaryEmbedding},
			{AttnName, PagedAttention},
			{SparseMoeName, block},
			{SparseGateName, GateLinear},
			{SparseExpertsName, experts},
			{InputNormName, PlainRMSNorm},
			{PostAttnNormName, PlainRMSNorm},
		},
		Ties: append([]Tie{
			{A: Given(InputNormName, "0"), B: Given("", "1")},
			{A: Given(QKVProjName, "0"), B: Returned(InputNormName)},
			{A: Given(RotaryName, "0"), B: Given("", "0")},
			{Before: true, A: Given("", "0"), B: Given("", "0")},
			{Before: true, A: Given("", "1"), B: Returned("")},
		}, sparseTies[:5]...),
		Transformers: graniteMoeTransformers,
	}
}
