package topology

// olmo2 is the tree of vLLM's models/olmo2.py (v0.10.2): norms stand behind the
// attention and the MLP and not before them, the residual is added outside any
// norm, and queries and keys are normalised whole.
var olmo2 = &Architecture{
	Names:        []string{"Olmo2ForCausalLM"},
	Eras:         []Era{Era2025},
	Transformers: olmo2Transformers,
	Root: []Child{
		{EmbedTokensName, VocabParallelEmbedding},
		{FinalNormName, PlainRMSNorm},
		{LMHeadName, ParallelLMHead},
		{LogitsProcessorName, LogitsProcessor},
	},
	Layer: []Child{
		{"", Olmo2DecoderLayer},
		{SelfAttnName, Olmo2Attention},
		{QKVProjName, QKVParallelLinear},
		{KNormName, KFullNorm},
		{QNormName, QFullNorm},
		{AttnName, PagedAttention},
		{RotaryName, RotaryEmbedding},
		{OProjName, OProj},
		{MLPName, DenseMLP},
		{GateUpProjName, MergedColumnParallelLinear},
		{ActFnName, SiluAndMul},
		{DownProjName, DownProj},
		{PostAttnNormName, PlainRMSNorm},
		{PostFeedForwardNormName, PlainRMSNorm},
	},
	Ties: olmo2Ties,
}

// olmo3 is the tree of the same file and of models/olmo3.py since: OLMo-2's, whose layers of
// one type share a rope, so that another may be found in the first layer of the other type.
var olmo3 = &Architecture{
	Names:        []string{"Olmo3ForCausalLM"},
	Transformers: olmo3Transformers,
	Root:         olmo2.Root,
	Layer:        olmo2.Layer,
	Some:         []string{RotaryName},
	Ties:         olmo2Ties,
}

var olmo2Ties = []Tie{
	{A: Given(SelfAttnName, "0"), B: Given("", "0")},
	{A: Given(SelfAttnName, "1"), B: Given("", "1")},
	{A: Given(QKVProjName, "0"), B: Given(SelfAttnName, "1")},
	{A: Given(RotaryName, "0"), B: Given("", "0")},
	{A: Given(PostAttnNormName, "0"), B: Returned(SelfAttnName)},
	{A: Given(DownProjName, "0"), B: Returned(ActFnName)},
	{A: Given(PostFeedForwardNormName, "0"), B: Returned(MLPName)},
	{Before: true, A: Given("", "0"), B: Given("", "0")},
	{Before: true, A: Given("", "1"), B: Returned("")},
}

// PostFeedForwardNormName is the norm behind the MLP.
const PostFeedForwardNormName = "post_feedforward_layernorm"

// Classes of OLMo-2.
var (
	// Olmo2DecoderLayer takes and returns the sum: there is no residual beside it.
	Olmo2DecoderLayer = &Spec{
		Class: "Olmo2DecoderLayer", Kind: Layer, Single: true, State: KeysAndValues,
		In: []Tensor{positions, hidden}, Out: []Tensor{hidden},
	}
	// Olmo2Attention is called with positional arguments.
	Olmo2Attention = &Spec{
		Class: "Olmo2Attention", Kind: AttentionBlock, Single: true, Reduces: true, State: KeysAndValues,
		In: []Tensor{positions, hidden}, Out: []Tensor{hidden},
	}
	// QFullNorm and KFullNorm normalise the whole projection, which
	// tensor-parallel ranks gather first.
	QFullNorm = fullNorm("q", Q)
	KFullNorm = fullNorm("k", K)
)

func fullNorm(name string, width Dim) *Spec {
	x := Tensor{Name: name, Shape: []Dim{T, width}, Sharding: Replicated}
	return &Spec{
		Class: "RMSNorm", Kind: QKNorm, Single: true, Rounding: []Point{Weighted, Result},
		In: []Tensor{x}, Out: []Tensor{x},
	}
}
