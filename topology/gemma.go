package topology

// gemma2 and gemma3 are the trees of vLLM's models/gemma2.py and models/gemma3.py: norms
// before and behind the attention and the MLP, of which none writes in place.
var (
	gemma2     = gemma("Gemma2ForCausalLM", Gemma2DecoderLayer, GeluAndMul, gemma2Transformers)
	gemma3     = gemma("Gemma3ForCausalLM", Gemma3DecoderLayer, GeluAndMul, gemma3Transformers, gemma3Norms...)
	gemma3Late = gemma("Gemma3ForCausalLM", Gemma3DecoderLayer, SharedGeluAndMul, gemma3LateTransformers, gemma3Norms...)
)

func init() {
	gemma3.Eras, gemma3.Some = []Era{Era2025}, []string{RotaryName}
	gemma3Late.Eras, gemma3Late.Some = []Era{Era2026}, []string{RotaryName}
}

var gemma3Norms = []Child{{QNormName, GemmaQNorm}, {KNormName, GemmaKNorm}}

func gemma(name string, layer, activation *Spec, table func(int) *Table, norms ...Child) *Architecture {
	l := []Child{{"", layer}, {SelfAttnName, SelfAttention}, {QKVProjName, QKVParallelLinear}, {OProjName, OProj}}
	l = append(l, norms...)
	return &Architecture{
		Names:        []string{name},
		Root:         []Child{{EmbedTokensName, VocabParallelEmbedding}, {FinalNormName, GemmaRMSNorm}, {LogitsProcessorName, LogitsProcessor}},
		Transformers: table,
		Layer: append(
			l,
			Child{RotaryName, RotaryEmbedding}, Child{AttnName, PagedAttention},
			Child{MLPName, DenseMLP}, Child{GateUpProjName, MergedColumnParallelLinear}, Child{DownProjName, DownProj}, Child{ActFnName, activation},
			Child{InputNormName, GemmaRMSNorm}, Child{PostAttnNormName, PlainGemmaRMSNorm},
			Child{PreFeedForwardNormName, GemmaRMSNorm}, Child{PostFeedForwardNormName, PlainGemmaRMSNorm},
		),
		Untied: []End{{PostAttnNormName, false, []string{"1"}}},
		Ties: []Tie{
			{A: Given(PostAttnNormName, "0"), B: Returned(SelfAttnName)},
			{A: Given(PreFeedForwardNormName, "0"), B: Returned(PostAttnNormName)},
			{A: Given(PreFeedForwardNormName, "1"), B: ReturnedAt(InputNormName, "1")},
			{A: Given(PreFeedForwardNormName, "1"), B: Given(InputNormName, "0"), When: FirstLayer},
			{A: Given(MLPName, "0"), B: ReturnedAt(PreFeedForwardNormName, "0")},
			{A: Given(PostFeedForwardNormName, "0"), B: Returned(MLPName)},
			{A: ReturnedAt("", "0"), B: Returned(PostFeedForwardNormName)},
			{A: ReturnedAt("", "1"), B: ReturnedAt(PreFeedForwardNormName, "1")},
		},
	}
}

// PreFeedForwardNormName is the norm before the MLP.
const PreFeedForwardNormName = "pre_feedforward_layernorm"

// Classes of Gemma.
var (
	// GemmaRMSNorm returns the sum with the residual beside what it normalises.
	GemmaRMSNorm = &Spec{
		Class: "GemmaRMSNorm", Kind: Norm, Rounding: []Point{Result},
		In: []Tensor{hidden, residual}, Out: []Tensor{hidden, residual},
	}
	// PlainGemmaRMSNorm is never given a residual.
	PlainGemmaRMSNorm = &Spec{
		Class: "GemmaRMSNorm", Kind: Norm, Single: true, Rounding: []Point{Result},
		In: []Tensor{hidden}, Out: []Tensor{hidden},
	}
	GemmaQNorm = gemmaHeadNorm(QHeadNorm)
	GemmaKNorm = gemmaHeadNorm(KHeadNorm)
	GeluAndMul = &Spec{
		Class: "GeluAndMul", Kind: Activation, Single: true, Rounding: SiluAndMul.Rounding, In: SiluAndMul.In, Out: SiluAndMul.Out,
	}
	// SharedGeluAndMul is one object for all layers (layers/activation.py of 2026 keeps those
	// that get_act_and_mul_fn makes).
	SharedGeluAndMul = &Spec{
		Class: "GeluAndMul", Kind: Activation, Single: true, Shared: true, Rounding: SiluAndMul.Rounding, In: SiluAndMul.In, Out: SiluAndMul.Out,
	}
	Gemma2DecoderLayer = gemmaLayer("Gemma2DecoderLayer")
	Gemma3DecoderLayer = gemmaLayer("Gemma3DecoderLayer")
)

// gemmaLayer carries the residual as Llama's does, and leaves what it is given as it is.
func gemmaLayer(class string) *Spec {
	return &Spec{
		Class: class, Kind: Layer, State: KeysAndValues,
		In: []Tensor{positions, hidden, residual}, Out: []Tensor{hidden, residual},
	}
}

func gemmaHeadNorm(s *Spec) *Spec {
	n := *s
	n.Class, n.Rounding = "GemmaRMSNorm", []Point{Result}
	return &n
}
