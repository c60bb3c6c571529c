package topology

// granite is the tree of vLLM's models/granite.py: Llama's, but norms take no residual, and
// layers return one tensor.
var granite = &Architecture{
	Names:        []string{"GraniteForCausalLM"},
	Root:         plainRoot,
	Layer:        plainNorms(replaced(decoderLayer(), "", GraniteDecoderLayer)),
	Transformers: graniteTransformers,
	Ties:         graniteTies,
}

// GraniteDecoderLayer takes and returns the sum: there is no residual beside it.
var GraniteDecoderLayer = &Spec{
	Class: "GraniteDecoderLayer", Kind: Layer, Single: true, State: KeysAndValues,
	In: []Tensor{positions, hidden}, Out: []Tensor{hidden},
}

// plainRoot is what a decoder whose norms take no residual has outside its layers.
var plainRoot = []Child{
	{EmbedTokensName, VocabParallelEmbedding},
	{FinalNormName, PlainRMSNorm},
	{LMHeadName, ParallelLMHead},
	{LogitsProcessorName, LogitsProcessor},
}

// plainNorms is a layer's list with norms that take no residual.
func plainNorms(layer []Child) []Child {
	return replaced(replaced(layer, InputNormName, PlainRMSNorm), PostAttnNormName, PlainRMSNorm)
}

var graniteTies = []Tie{
	{A: Given(InputNormName, "0"), B: Given("", "1")},
	{A: Given(QKVProjName, "0"), B: Returned(InputNormName)},
	{A: Given(RotaryName, "0"), B: Given("", "0")},
	{Before: true, A: Given("", "0"), B: Given("", "0")},
	{Before: true, A: Given("", "1"), B: Returned("")},
}
