package topology

// cohere is the tree of vLLM's models/commandr.py: one norm a layer, whose result attention
// and MLP are both given. Norms take a residual and return it as it is.
var cohere = &Architecture{
	Names: []string{"Cohere2ForCausalLM", "CohereForCausalLM"},
	Root: []Child{
		{LogitsProcessorName, LogitsProcessor},
		{EmbedTokensName, VocabParallelEmbedding},
		{FinalNormName, CohereLayerNorm},
	},
	Layer: []Child{
		{"", CohereDecoderLayer},
		{SelfAttnName, SelfAttention},
		{QKVProjName, QKVParallelLinear},
		{OProjName, OProj},
		{RotaryName, RotaryEmbedding},
		{AttnName, PagedAttention},
		{QNormName, CohereQNorm},
		{KNormName, CohereKNorm},
		{MLPName, DenseMLP},
		{GateUpProjName, MergedColumnParallelLinear},
		{DownProjName, DownProj},
		{ActFnName, SiluAndMul},
		{InputNormName, CohereLayerNorm},
	},
	Some:         []string{QNormName, KNormName},
	Transformers: cohereTransformers,
	Untied:       []End{Returned("")},
	Ties: []Tie{
		{A: Given(InputNormName, "0"), B: Given("", "1")},
		{A: Given(InputNormName, "1"), B: Given("", "1")},
		{A: ReturnedAt("", "1"), B: Given("", "1")},
		{A: ReturnedAt(InputNormName, "1"), B: Given(InputNormName, "1")},
		{A: Given(QKVProjName, "0"), B: ReturnedAt(InputNormName, "0")},
		{A: Given(MLPName, "0"), B: ReturnedAt(InputNormName, "0")},
		{Before: true, A: Given("", "2"), B: Given("", "1")},
	},
}

// Classes of Cohere.
var (
	// CohereLayerNorm leaves the residual that it is given alone.
	CohereLayerNorm = &Spec{
		Class: "LayerNorm", Kind: Norm, Rounding: []Point{Result},
		In: []Tensor{hidden, residual}, Out: []Tensor{hidden, residual},
	}
	CohereQNorm = cohereHeadNorm(QHeadNorm)
	CohereKNorm = cohereHeadNorm(KHeadNorm)
	// CohereDecoderLayer is given what the layer before was given too, and does not read it.
	CohereDecoderLayer = &Spec{
		Class: "CohereDecoderLayer", Kind: Layer, State: KeysAndValues,
		In:  []Tensor{positions, hidden, residual},
		Out: []Tensor{hidden, residual},
	}
)

// cohereHeadNorm normalises each head with weights of its own, and returns None beside it.
func cohereHeadNorm(s *Spec) *Spec {
	n := *s
	n.Class, n.Single, n.Rounding = "LayerNorm", false, []Point{Result}
	return &n
}
