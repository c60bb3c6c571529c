package topology

import "slices"

// exaone4 is the tree of vLLM's models/exaone4.py: norms stand behind the attention and the
// MLP as OLMo-2's do, each head of q and k is normalised as Qwen-3's are, and a layer
// returns the sum after its attention beside the whole one.
var exaone4 = &Architecture{
	Names:        []string{"Exaone4ForCausalLM"},
	Transformers: exaone4Transformers,
	Root: []Child{
		{EmbedTokensName, VocabParallelEmbedding},
		{FinalNormName, PlainRMSNorm},
		{LMHeadName, ParallelLMHead},
		{LogitsProcessorName, LogitsProcessor},
	},
	Layer: []Child{
		{"", Exaone4DecoderLayer},
		{SelfAttnName, SelfAttention},
		{QKVProjName, QKVParallelLinear},
		{OProjName, OProj},
		{QNormName, QHeadNorm},
		{KNormName, KHeadNorm},
		{RotaryName, RotaryEmbedding},
		{AttnName, PagedAttention},
		{MLPName, DenseMLP},
		{GateUpProjName, MergedColumnParallelLinear},
		{DownProjName, DownProj},
		{ActFnName, SiluAndMul},
		{PostAttnNormName, PlainRMSNorm},
		{PostFeedForwardNormName, PlainRMSNorm},
	},
	Ties: []Tie{
		{A: Given(QKVProjName, "0"), B: Given("", "1")},
		{A: Given(DownProjName, "0"), B: Returned(ActFnName)},
		{A: Given(PostFeedForwardNormName, "0"), B: Returned(MLPName)},
		{A: ReturnedAt("", "1"), B: Given(MLPName, "0")},
	},
}

// Exaone4DecoderLayer is given a residual that it does not read, and writes nothing in
// place.
var Exaone4DecoderLayer = &Spec{
	Class: "Exaone4DecoderLayer", Kind: Layer, State: KeysAndValues,
	In: []Tensor{positions, hidden, residual}, Out: []Tensor{hidden, residual},
}

// exaone4Transformers is transformers' modeling_exaone4.py. Layers that attend to all
// positions rotate nothing where others have a window, so that the calls of vLLM's rope are
// not those of the layers.
func exaone4Transformers(layers int) *Table {
	out := []Mapping{
		{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{EmbedTokensName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
	for i := range layers {
		layer := InLayer(i, "")
		out = append(
			out,
			Mapping{layer, 0, false, "0", []Source{PositionsSource}},
			Mapping{layer, 0, false, "1", []Source{argument(layer)}},
			Mapping{layer, 0, true, "0", []Source{result(layer)}},
			Mapping{layer, 0, true, "1", []Source{argument(InLayer(i, MLPName))}},
		)
		if i > 0 {
			out = append(out, Mapping{layer, 0, false, "2", []Source{argument(InLayer(i-1, MLPName))}})
		}
		out = slices.Concat(
			out, transformersQKNorms(i), ropeless(transformersAttention(i, QNormName, KNormName)), normBehind(InLayer(i, PostAttnNormName)),
			transformersMLP(i), normBehind(InLayer(i, PostFeedForwardNormName)),
		)
	}
	return &Table{layers: layers, NoRope: true, HeadsFirst: true, handedOn: olmo2Same, Mappings: append(out, normBehind(FinalNormName)...)}
}

// ropeless is an attention's mappings without those of the rope.
func ropeless(m []Mapping) []Mapping {
	return slices.DeleteFunc(m, func(x Mapping) bool { return x.Module == InLayer(0, RotaryName) })
}
