package topology

// mixtral2025 and mixtral2026 are the tree of vLLM's models/mixtral.py: Llama's, with a
// mixture of experts in the place of the MLP.
var (
	mixtral2025 = mixtral(Era2025, SparseMoeBlock, FusedMoE)
	mixtral2026 = mixtral(Era2026, SparseMoeBlock2026, MoERunner)
)

func mixtral(era Era, block, experts *Spec) *Architecture {
	return &Architecture{
		Names: []string{"MixtralForCausalLM"},
		Eras:  []Era{era},
		Root:  decoderRoot,
		Layer: within(decoderLayer(), Child{SparseMoeName, block}, Child{SparseGateName, GateLinear}, Child{SparseExpertsName, experts}),
		Ties:  sparseTies,

		Transformers: mixtralTransformers,
	}
}

// sparseTies are the ties of block_sparse_moe.
var sparseTies = []Tie{
	{A: Given(SparseMoeName, "0"), B: Returned(PostAttnNormName)},
	{A: Given(SparseGateName, "0"), B: Given(SparseMoeName, "0")},
	{A: Given(SparseExpertsName, "0"), B: Given(SparseMoeName, "0")},
	{A: Given(SparseExpertsName, "1"), B: Returned(SparseGateName)},
	{A: Returned(SparseMoeName), B: Returned(SparseExpertsName)},
	{A: ReturnedAt("", "0"), B: Returned(SparseMoeName), When: ResidualApart},
}
