package topology

import "slices"

// gemma2Transformers is transformers' modeling_gemma2.py: what its embedding returns is
// scaled, as vLLM's first layer is given it; its norms take and return one tensor.
func gemma2Transformers(layers int) *Table {
	t := gemmaTable(layers, func(i int) []Mapping { return transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj") })
	t.Scaled = true // capped, as a rule
	return t
}

// gemma3Transformers is modeling_gemma3.py, whose heads stand before the tokens where they
// are normalised. Which layers share a rope, the names do not tell.
func gemma3Transformers(layers int) *Table {
	t := gemmaTable(layers, func(i int) []Mapping {
		out := transformersAttention(i, QNormName, KNormName)
		return append(transformersQKNorms(i), slices.DeleteFunc(out, func(m Mapping) bool { return m.Module == InLayer(0, RotaryName) })...)
	})
	t.HeadsFirst, t.NoRope = true, true
	return t
}

// gemma3LateTransformers is that for vLLM of 2026, whose layers share an activation.
func gemma3LateTransformers(layers int) *Table {
	t := gemma3Transformers(layers)
	for i := range t.Mappings {
		if m := &t.Mappings[i]; Locate(m.Module).Rel == ActFnName {
			m.Module, m.Index = InLayer(0, ActFnName), Locate(m.Module).Layer
		}
	}
	return t
}

func gemmaTable(layers int, attention func(i int) []Mapping) *Table {
	out := []Mapping{{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}}, {EmbedTokensName, 0, true, "", nil}}
	for i := range layers {
		out = slices.Concat(out, gemmaStream(i), attention(i), gemmaNorms(i), transformersMLP(i))
	}
	last := layers - 1
	return &Table{layers: layers, handedOn: gemmaSame, alone: []Source{result(EmbedTokensName)}, Mappings: append(
		out, finalNorm(InLayer(last, PostFeedForwardNormName), InLayer(last, PreFeedForwardNormName))...,
	)}
}

// gemmaStream is what layer i and its first norm take and return.
func gemmaStream(i int) []Mapping {
	layer, norm, pre, post := InLayer(i, ""), InLayer(i, InputNormName), InLayer(i, PreFeedForwardNormName), InLayer(i, PostFeedForwardNormName)
	normed := "0"
	var out []Mapping
	if i == 0 {
		normed = ""
		out = []Mapping{
			{layer, 0, false, "1", []Source{argument(layer)}},
			{norm, 0, false, "0", []Source{argument(norm)}},
		}
	} else {
		before, stream := []Source{result(InLayer(i-1, PostFeedForwardNormName))}, []Source{argument(InLayer(i-1, PreFeedForwardNormName))}
		out = []Mapping{
			{layer, 0, false, "1", before},
			{layer, 0, false, "2", stream},
			{norm, 0, false, "0", before},
			{norm, 0, false, "1", stream},
			{norm, 0, true, "1", []Source{argument(norm)}},
		}
	}
	return append(out, []Mapping{
		{layer, 0, false, "0", []Source{PositionsSource}},
		{layer, 0, true, "0", []Source{result(post)}},
		{layer, 0, true, "1", []Source{argument(pre)}},
		{norm, 0, true, normed, []Source{result(norm)}},
	}...)
}

// gemmaNorms are the norms behind the attention, and before and behind the MLP of layer i.
func gemmaNorms(i int) []Mapping {
	attn, pre := InLayer(i, PostAttnNormName), InLayer(i, PreFeedForwardNormName)
	return slices.Concat(normBehind(attn), []Mapping{
		{pre, 0, false, "0", []Source{result(attn)}},
		{pre, 0, false, "1", []Source{argument(InLayer(i, InputNormName))}},
		{pre, 0, true, "0", []Source{result(pre)}},
		{pre, 0, true, "1", []Source{argument(pre)}},
	}, normBehind(InLayer(i, PostFeedForwardNormName)))
}

// gemmaSame: what the attention and the MLP return their norms are given.
func gemmaSame(s Source, layers int) []Source {
	i := Locate(s.Module).Layer
	switch s {
	case argument(InLayer(i, PostAttnNormName)):
		return []Source{s, result(InLayer(i, SelfAttnName)), result(InLayer(i, OProjName))}
	case argument(InLayer(i, PostFeedForwardNormName)):
		return []Source{s, result(InLayer(i, MLPName)), result(InLayer(i, DownProjName))}
	}
	return normFirstSame(s, layers)
}
