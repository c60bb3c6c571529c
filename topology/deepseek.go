package topology

import "slices"

// deepseek2025 and deepseek2026 are the trees of vLLM's models/deepseek_v2.py, of
// DeepSeek-V2, DeepSeek-V3 and Kimi K2. Which modules a layer has depends on the config:
// queries have a latent of their own or not, and layers are dense or mixtures.
var (
	deepseek2025 = deepseek(Era2025, latentClasses{
		layer:  DeepseekDecoderLayer,
		self:   DeepseekAttention,
		block:  MultiHeadLatentAttention,
		attend: LatentAttentionLayer,
		mlp:    DeepseekMLP,
		mixed:  SharedFusedMoE,
	})
	deepseek2026 = deepseek(Era2026, latentClasses{
		layer:  DeepseekDecoderLayer2026,
		self:   DeepseekAttention2026,
		block:  MultiHeadLatentAttention2026,
		attend: MLAAttention,
		mlp:    DeepseekMLP2026,
		mixed:  SharedMoERunner,
	})
)

// latentClasses are the classes that differ by era.
type latentClasses struct{ layer, self, block, attend, mlp, mixed *Spec }

// Names of the modules of latent attention, within a layer.
const (
	FusedQKVAProjName = "self_attn.fused_qkv_a_proj"
	QANormName        = "self_attn.q_a_layernorm"
	QBProjName        = "self_attn.q_b_proj"
	KVAProjName       = "self_attn.kv_a_proj_with_mqa"
	QProjName         = "self_attn.q_proj"
	KVANormName       = "self_attn.kv_a_layernorm"
	KVBProjName       = "self_attn.kv_b_proj"
	LatentBlockName   = "self_attn.mla_attn"
	LatentAttnName    = "self_attn.mla_attn.mla_attn"
)

func deepseek(era Era, c latentClasses) *Architecture {
	mixture := sharedMixture(era, GateLinear, c.mixed)
	a := &Architecture{
		Names: []string{"DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"},
		Eras:  []Era{era},
		Root:  decoderRoot,
		Layer: slices.Concat(
			[]Child{
				{"", c.layer},
				{SelfAttnName, c.self},
				{FusedQKVAProjName, FusedQKVAProj},
				{QANormName, QLatentNorm},
				{QBProjName, QBProj},
				{KVAProjName, KVAProj},
				{QProjName, LatentQProj},
				{KVANormName, KVLatentNorm},
				{KVBProjName, KVBProj},
				{OProjName, LatentOProj},
				{RotaryName, LatentRotaryEmbedding},
				{LatentBlockName, c.block},
				{LatentAttnName, c.attend},
				{MLPName, c.mlp},
			}, mixture, denseChildren,
			[]Child{{InputNormName, RMSNorm}, {PostAttnNormName, RMSNorm}},
		),
		Transformers: deepseekTransformers,
		Some:         []string{FusedQKVAProjName, QANormName, QBProjName, KVAProjName, QProjName},
		Ties:         slices.Concat(latentTies, sharedMixtureTies),
	}
	for _, c := range slices.Concat(mixture, denseChildren) {
		a.Some = append(a.Some, c.Name)
	}
	return a
}

// denseChildren are the modules of a dense mlp.
var denseChildren = []Child{{GateUpProjName, MergedColumnParallelLinear}, {DownProjName, DownProj}, {ActFnName, SiluAndMul}}

// sharedMixture is the modules of a mixture with shared experts, of DeepSeek and GLM.
func sharedMixture(era Era, gate, experts *Spec) []Child {
	l := []Child{
		{MLPGateName, gate},
		{SharedMLPName, SharedExpert},
		{SharedMLPGateUpName, MergedColumnParallelLinear},
		{SharedMLPDownName, DownProjPart},
		{SharedMLPActName, SiluAndMul},
		{MLPExpertsName, experts},
	}
	if era == Era2026 {
		l = append(l, Child{SharedExpertsName, SharedExperts})
	}
	return l
}

// sharedMixtureTies are its ties.
var sharedMixtureTies = []Tie{
	{A: Given(MLPName, "0"), B: Returned(PostAttnNormName)},
	{A: ReturnedAt("", "0"), B: Returned(MLPName), When: ResidualApart},
	{A: Given(MLPGateName, "0"), B: Given(MLPName, "0")},
	{A: Given(SharedMLPName, "0"), B: Given(MLPName, "0")},
	{A: Given(SharedMLPGateUpName, "0"), B: Given(SharedMLPName, "0")},
	{A: Given(SharedMLPActName, "0"), B: Returned(SharedMLPGateUpName)},
	{A: Given(SharedMLPDownName, "0"), B: Returned(SharedMLPActName)},
	{A: Returned(SharedMLPName), B: Returned(SharedMLPDownName)},
	{A: Given(SharedExpertsName, "0"), B: Given(MLPName, "0")},
}

// latentTies are the ties of latent attention.
var latentTies = []Tie{
	{A: Given(SelfAttnName, "0"), B: Given("", "0")},
	{A: Given(SelfAttnName, "1"), B: Returned(InputNormName)},
	{A: Given(LatentBlockName, "0"), B: Given("", "0")},
	{A: Given(LatentBlockName, "1"), B: Returned(InputNormName)},
	{A: Given(FusedQKVAProjName, "0"), B: Given(LatentBlockName, "1")},
	{A: Given(KVAProjName, "0"), B: Given(LatentBlockName, "1")},
	{A: Given(QProjName, "0"), B: Given(LatentBlockName, "1")},
	{A: Given(QBProjName, "0"), B: Returned(QANormName)},
	{A: Given(LatentAttnName, "1"), B: Returned(KVANormName)},
	{A: Given(LatentAttnName, "2"), B: ReturnedAt(RotaryName, "1")},
	{A: Given(OProjName, "0"), B: Returned(LatentAttnName)},
	{A: Returned(LatentBlockName), B: Returned(OProjName)},
	{A: Returned(SelfAttnName), B: Returned(LatentBlockName)},
}
