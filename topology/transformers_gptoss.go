package topology

import "slices"

// gptOssTransformers is transformers' modeling_gpt_oss.py: Llama's layer with a mixture of
// experts, against vLLM's own names and order of arguments.
func gptOssTransformers(layers int, names AttentionNames) *Table {
	out := []Mapping{
		{GptOssEmbeddingName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{GptOssEmbeddingName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
	for i := range layers {
		q, k, v := InLayer(i, "self_attn.q_proj"), InLayer(i, "self_attn.k_proj"), InLayer(i, "self_attn.v_proj")
		out = slices.Concat(
			out, gptOssStream(i), []Mapping{
				{InLayer(i, GptOssBlockName), 0, false, "0", []Source{argument(q)}},
				{InLayer(i, GptOssBlockName), 0, false, "1", []Source{PositionsSource}},
			},
			names.mappings(i, argument(q), []Source{result(q), result(k), result(v)}, []Source{result(q)}, []Source{result(k)}, []Source{result(v)}),
			llamaPostAttention(i, OProjName), gptOssMLP(i),
		)
	}
	return &Table{layers: layers, handedOn: normFirstSame, Mappings: append(out, finalNorm(InLayer(layers-1, MLPName), InLayer(layers-1, PostAttnNormName))...)}
}

// gptOssStream is what layer i and its first norm take and return.
func gptOssStream(i int) []Mapping {
	out := llamaStream(i, MLPName)
	place := map[string]string{"0": "1", "1": "0"} // positions and hidden states
	for k := range out {
		if m := &out[k]; m.Module == InLayer(i, "") && !m.Output && place[m.Slot] != "" {
			m.Slot = place[m.Slot]
		}
	}
	return out
}

// gptOssMLP is the mixture of layer i.
func gptOssMLP(i int) []Mapping {
	mlp, router, experts := InLayer(i, MLPName), InLayer(i, MLPRouterName), InLayer(i, MLPExpertsName)
	return []Mapping{
		{mlp, 0, false, "0", []Source{argument(mlp)}},
		{mlp, 0, true, "", []Source{result(mlp)}},
		{router, 0, false, "0", []Source{argument(router)}},
		{router, 0, true, "", []Source{result(router)}},
		{experts, 0, true, "", []Source{result(experts)}},
	}
}
