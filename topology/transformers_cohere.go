package topology

import "slices"

// cohereTransformers is transformers' modeling_cohere2.py and modeling_cohere.py: norms take and
// return one tensor, and layers too. What vLLM hands beside it is what a layer is given.
func cohereTransformers(layers int) *Table {
	out := embedded()
	for i := range layers {
		out = slices.Concat(out, cohereStream(i), cohereAttention(i), transformersMLP(i))
	}
	last := []Source{argument(InLayer(layers-1, ""))}
	return &Table{layers: layers, handedOn: cohereSame, Scaled: true, Mappings: append(
		out,
		Mapping{FinalNormName, 0, false, "0", []Source{argument(FinalNormName)}},
		Mapping{FinalNormName, 0, false, "1", last},
		Mapping{FinalNormName, 0, true, "0", []Source{result(FinalNormName)}},
		Mapping{FinalNormName, 0, true, "1", last},
	)}
}

// cohereStream is what layer i and its norm take and return.
func cohereStream(i int) []Mapping {
	layer, norm := InLayer(i, ""), InLayer(i, InputNormName)
	given := []Source{argument(layer)}
	out := []Mapping{
		{layer, 0, false, "0", []Source{PositionsSource}},
		{layer, 0, false, "1", given},
		{layer, 0, true, "0", []Source{result(layer)}},
		{layer, 0, true, "1", given},
		{norm, 0, false, "0", []Source{argument(norm)}},
		{norm, 0, false, "1", []Source{argument(norm)}},
		{norm, 0, true, "0", []Source{result(norm)}},
		{norm, 0, true, "1", []Source{argument(norm)}},
	}
	if i > 0 {
		out = append(out, Mapping{layer, 0, false, "2", []Source{argument(InLayer(i-1, ""))}})
	}
	return out
}

// cohereAttention is that of layer i. Which call of the rope is a layer's is not known where
// layers are not rotated, and its tensors are those of no module.
func cohereAttention(i int) []Mapping {
	out := transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj")
	out = slices.DeleteFunc(out, func(m Mapping) bool { return m.Module == InLayer(0, RotaryName) })
	for _, n := range []string{QNormName, KNormName} {
		norm := InLayer(i, n)
		out = append(
			out,
			Mapping{norm, 0, false, "0", []Source{argument(norm)}},
			Mapping{norm, 0, true, "0", []Source{result(norm)}},
		)
	}
	return out
}

// cohereSame: the norm, and what it returns, are given to more than one.
func cohereSame(s Source, layers int) []Source {
	i := Locate(s.Module).Layer
	in := func(rel string) Source { return argument(InLayer(i, rel)) }
	switch s {
	case in("self_attn.q_proj"), in("mlp.gate_proj"):
		return []Source{
			s, in("self_attn.q_proj"), in("self_attn.k_proj"), in("self_attn.v_proj"), in(MLPName), in("mlp.gate_proj"), in("mlp.up_proj"),
			result(InLayer(i, InputNormName)),
		}
	}
	return normFirstSame(s, layers)
}
