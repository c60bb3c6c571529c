package topology

import "slices"

// qwen2Moe is the tree of vLLM's models/qwen2_moe.py: Qwen2's, where some layers have a
// mixture of experts as their MLP, beside which an expert goes that all tokens share.
var (
	qwen2Moe2025 = qwenMoe("Qwen2MoeForCausalLM", Era2025, decoderLayer(), nil, qwen2MoeTransformers(Era2025), []Child{
		{MLPExpertsName, FusedMoEPart},
		{MLPGateName, GateLinear},
		{SharedExpertName, SharedExpert},
		{SharedGateUpName, MergedColumnParallelLinear},
		{SharedDownName, DownProjPart},
		{SharedActName, SiluAndMul},
		{SharedExpertGateName, SharedExpertGate},
	})
	qwen2Moe2026 = qwenMoe("Qwen2MoeForCausalLM", Era2026, decoderLayer(), nil, qwen2MoeTransformers(Era2026), []Child{
		{MLPGateName, GateLinear},
		{SharedExpertGateName, SharedExpertGate2026},
		{SharedExpertName, SharedExpert},
		{SharedGateUpName, MergedColumnParallelLinear},
		{SharedDownName, DownProjPart},
		{SharedActName, SiluAndMul},
		{MLPExpertsName, SharedMoERunner},
		{SharedExpertsName, SharedExperts},
	})
)

// qwen3Moe is that of models/qwen3_moe.py: Qwen3's attention, and no shared expert.
var (
	qwen3MoeNorms = []Child{{"self_attn.q_norm", QHeadNorm}, {"self_attn.k_norm", KHeadNorm}}
	qwen3Moe2025  = qwenMoe("Qwen3MoeForCausalLM", Era2025, decoderLayer(qwen3MoeNorms...), qwen3MoeTies, qwen3MoeTransformers, []Child{
		{MLPExpertsName, FusedMoEKeyword},
		{MLPGateName, GateLinear},
	})
	qwen3Moe2026 = qwenMoe("Qwen3MoeForCausalLM", Era2026, decoderLayer(qwen3MoeNorms...), qwen3MoeTies, qwen3MoeTransformers, []Child{
		{MLPGateName, GateLinear},
		{MLPExpertsName, MoERunnerKeyword},
	})
)

// SparseOrDense is the MLP of a model of which some layers have mixtures: the dense
// ones have the same name, and hooks see the same of them.
var (
	SparseOrDense     = &Spec{Class: "Qwen2MoeSparseMoeBlock", Kind: MoE, Single: true, Reduces: true, In: []Tensor{written(hidden)}, Out: []Tensor{hidden}}
	SparseOrDense2026 = &Spec{Class: "Qwen2MoeSparseMoeBlock", Kind: MoE, Single: true, Reduces: true, In: []Tensor{hidden}, Out: []Tensor{hidden}}
)

// qwenMoe is a tree in whose layers the mlp is a mixture or Llama's.
func qwenMoe(name string, era Era, layer []Child, ties []Tie, transformers func(layers int) *Table, mixture []Child) *Architecture {
	block := SparseOrDense
	if era == Era2026 {
		block = SparseOrDense2026
	}
	modules := []Child{{MLPName, block}}
	modules = append(modules, mixture...)
	dense := []Child{{GateUpProjName, MergedColumnParallelLinear}, {DownProjName, DownProj}, {ActFnName, SiluAndMul}}
	a := &Architecture{
		Names: []string{name},
		Eras:  []Era{era},
		Root:  decoderRoot,
		Layer: within(layer, append(modules, dense...)...),
		Ties:  slices.Concat(qwenMoeTies, ties),

		Transformers: transformers,
	}
	for _, c := range append(mixture, dense...) {
		a.Some = append(a.Some, c.Name)
	}
	return a
}

// qwenMoeTies are the ties of the mixture in the place of an mlp.
var qwenMoeTies = []Tie{
	{A: Given(MLPGateName, "0"), B: Given(MLPName, "0")},
	{A: Given(SharedExpertName, "0"), B: Given(MLPName, "0")},
	{A: Given(SharedExpertGateName, "0"), B: Given(MLPName, "0")},
	{A: Given(SharedGateUpName, "0"), B: Given(SharedExpertName, "0")},
	{A: Given(SharedActName, "0"), B: Returned(SharedGateUpName)},
	{A: Given(SharedDownName, "0"), B: Returned(SharedActName)},
	{A: Given(SharedExpertsName, "0"), B: Given(MLPName, "0")},
}

// qwen3MoeTies: without a shared expert the experts' sum is what the mlp returns.
var qwen3MoeTies = []Tie{{A: Returned(MLPName), B: Returned(MLPExpertsName)}}
