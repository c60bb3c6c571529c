package topology

import "slices"

// olmo2Transformers is transformers' modeling_olmo2.py: it has no norm before the
// attention and the MLP, so what a layer is given is what its projections are
// given, and vLLM's modules see one stream as transformers' do.
func olmo2Transformers(layers int) *Table {
	out := []Mapping{
		{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{EmbedTokensName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
	for i := range layers {
		out = slices.Concat(
			out, olmo2Stream(i), transformersQKNorms(i),
			transformersAttention(i, QNormName, KNormName), normBehind(InLayer(i, PostAttnNormName)),
			transformersMLP(i), normBehind(InLayer(i, PostFeedForwardNormName)),
		)
	}
	return &Table{layers: layers, handedOn: olmo2Same, Mappings: append(out, normBehind(FinalNormName)...)}
}

// olmo3Transformers is modeling_olmo3.py: OLMo-2's modules. The calls of vLLM's ropes, of which
// there may be two, are not those of the layers.
func olmo3Transformers(layers int) *Table {
	t := olmo2Transformers(layers)
	t.Mappings, t.NoRope = ropeless(t.Mappings), true
	return t
}

// olmo2Stream is what layer i and its attention take, and what the layer returns.
func olmo2Stream(i int) []Mapping {
	layer, self := InLayer(i, ""), InLayer(i, SelfAttnName)
	return []Mapping{
		{layer, 0, false, "0", []Source{PositionsSource}},
		{layer, 0, false, "1", []Source{argument(layer)}},
		{layer, 0, true, "", []Source{result(layer)}},
		{self, 0, false, "0", []Source{PositionsSource}},
		{self, 0, false, "1", []Source{argument(layer)}},
	}
}

// normBehind is a norm that takes no residual.
func normBehind(norm string) []Mapping {
	return []Mapping{
		{norm, 0, false, "0", []Source{argument(norm)}},
		{norm, 0, true, "", []Source{result(norm)}},
	}
}

// olmo2Same: the projections are given what the layer is given, and that is what
// the layer before returned.
func olmo2Same(s Source, layers int) []Source {
	i := Locate(s.Module).Layer
	in := func(rel string) Source { return argument(InLayer(i, rel)) }
	switch s {
	case in(""), in("self_attn.q_proj"):
		same := []Source{s, in(""), in("self_attn.q_proj"), in("self_attn.k_proj"), in("self_attn.v_proj")}
		if i > 0 {
			same = append(same, result(InLayer(i-1, "")))
		}
		return same
	case in(PostAttnNormName):
		return []Source{s, result(InLayer(i, SelfAttnName)), result(InLayer(i, OProjName))}
	case in(PostFeedForwardNormName):
		return []Source{s, result(InLayer(i, MLPName)), result(InLayer(i, DownProjName))}
	}
	return []Source{s}
}
