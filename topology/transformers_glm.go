package topology

import "slices"

// glmTransformers is transformers' modeling_glm.py: Llama's, with one projection that makes
// gate and up.
func glmTransformers(layers int) *Table {
	return normFirst(layers, func(i int) []Mapping { return transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj") }, phi3MLP)
}

// glm4Transformers is modeling_glm4.py: norms stand behind the attention and the MLP too.
func glm4Transformers(layers int) *Table {
	out := embedded()
	for i := range layers {
		out = slices.Concat(
			out, llamaStream(i, PostMLPNormName),
			transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj"), normBehind(InLayer(i, PostSelfAttnNormName)),
			llamaPostAttention(i, PostSelfAttnNormName), phi3MLP(i), normBehind(InLayer(i, PostMLPNormName)),
		)
	}
	return &Table{layers: layers, handedOn: glm4Same, Mappings: append(out, finalNorm(InLayer(layers-1, PostMLPNormName), InLayer(layers-1, PostAttnNormName))...)}
}

// embedded is the embedding.
func embedded() []Mapping {
	return []Mapping{
		{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{EmbedTokensName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
}

// glm4Same: what the attention and the MLP return their norms are given.
func glm4Same(s Source, layers int) []Source {
	i := Locate(s.Module).Layer
	switch s {
	case argument(InLayer(i, PostSelfAttnNormName)):
		return []Source{s, result(InLayer(i, SelfAttnName)), result(InLayer(i, OProjName))}
	case argument(InLayer(i, PostMLPNormName)):
		return []Source{s, result(InLayer(i, MLPName)), result(InLayer(i, DownProjName))}
	}
	return normFirstSame(s, layers)
}
