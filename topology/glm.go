package topology

// glm4 is the tree of vLLM's models/glm4.py: Llama's with norms behind the attention and the MLP.
var glm4 = &Architecture{
	Names: []string{"Glm4ForCausalLM"},
	Root:  decoderRoot,
	Layer: append(
		replaced(decoderLayer(), "", Glm4DecoderLayer),
		Child{PostSelfAttnNormName, PlainRMSNorm},
		Child{PostMLPNormName, PlainRMSNorm},
	),
	Transformers: glm4Transformers,
	Ties: []Tie{
		{A: Given(PostSelfAttnNormName, "0"), B: Returned(SelfAttnName)},
		{A: Given(PostAttnNormName, "0"), B: Returned(PostSelfAttnNormName)},
		{A: Given(PostMLPNormName, "0"), B: Returned(MLPName)},
		{A: ReturnedAt("", "0"), B: Returned(PostMLPNormName)},
	},
}

// Names of Glm4's norms.
const (
	PostSelfAttnNormName = "post_self_attn_layernorm"
	PostMLPNormName      = "post_mlp_layernorm"
)

// Glm4DecoderLayer carries the residual as Llama's does.
var Glm4DecoderLayer = &Spec{
	Class: "Glm4DecoderLayer", Kind: Layer, State: KeysAndValues,
	In:  []Tensor{positions, written(hidden), written(residual)},
	Out: []Tensor{hidden, residual},
}

// replaced is a layer's list with another class of one module.
func replaced(layer []Child, name string, spec *Spec) []Child {
	for i := range layer {
		if layer[i].Name == name {
			layer[i].Spec = spec
		}
	}
	return layer
}
