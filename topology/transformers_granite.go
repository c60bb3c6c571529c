package topology

import "slices"

// graniteTransformers is transformers' modeling_granite.py. Its layers return one tensor, as
// vLLM's do; branches are multiplied outside modules, and so are embeddings and logits.
func graniteTransformers(layers int) *Table {
	out := embedded()
	for i := range layers {
		out = slices.Concat(
			out, plainStream(i), normBehind(InLayer(i, InputNormName)),
			transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj"), normBehind(InLayer(i, PostAttnNormName)), transformersMLP(i),
		)
	}
	return &Table{layers: layers, handedOn: normFirstSame, Scaled: true, Mappings: append(out, normBehind(FinalNormName)...)}
}

// plainStream is what layer i takes and returns: the sum.
func plainStream(i int) []Mapping {
	layer := InLayer(i, "")
	return []Mapping{
		{layer, 0, false, "0", []Source{PositionsSource}},
		{layer, 0, false, "1", []Source{argument(layer)}},
		{layer, 0, true, "", []Source{result(layer)}},
	}
}
