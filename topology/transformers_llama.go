package topology

import "slices"

// llamaTransformers is transformers' modeling_llama.py, and its kin's: what is
// rotated are the projections.
func llamaTransformers(layers int) *Table {
	return normFirst(layers, func(i int) []Mapping { return transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj") }, transformersMLP)
}

// phi3Transformers is modeling_phi3.py: queries, keys and values are one
// projection there too, and gate and up are, so that none is a tensor by itself.
func phi3Transformers(layers int) *Table {
	return normFirst(layers, phi3Attention, phi3MLP)
}

// qwen3Transformers is modeling_qwen3.py: what is rotated is what the norms over
// each head return, with a dimension of heads that vLLM does not have there.
func qwen3Transformers(layers int) *Table {
	return normFirst(layers, func(i int) []Mapping {
		return slices.Concat(transformersQKNorms(i), transformersAttention(i, QNormName, KNormName))
	}, transformersMLP)
}

// normFirst is the table of decoders whose norms stand before the attention and
// the MLP.
func normFirst(layers int, attention, mlp func(layer int) []Mapping) *Table {
	out := []Mapping{
		{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{EmbedTokensName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
	for i := range layers {
		out = append(out, llamaStream(i, MLPName)...)
		out = append(out, attention(i)...)
		out = append(out, llamaPostAttention(i, OProjName)...)
		out = append(out, mlp(i)...)
	}
	return &Table{layers: layers, handedOn: normFirstSame, Mappings: append(out, finalNorm(InLayer(layers-1, MLPName), InLayer(layers-1, PostAttnNormName))...)}
}

// finalNorm is the last norm, which adds what the last layer's feed-forward part returned
// to the stream that its norm was given.
func finalNorm(mlp, postNorm string) []Mapping {
	return []Mapping{
		{FinalNormName, 0, false, "0", []Source{result(mlp)}},
		{FinalNormName, 0, false, "1", []Source{argument(postNorm)}},
		{FinalNormName, 0, true, "0", []Source{result(FinalNormName)}},
		{FinalNormName, 0, true, "1", []Source{argument(FinalNormName)}},
	}
}

// normFirstSame: a layer is given what the layer before returned, and hands it
// to its first norm.
func normFirstSame(s Source, _ int) []Source {
	i := Locate(s.Module).Layer
	in := func(rel string) Source { return argument(InLayer(i, rel)) }
	switch {
	case i == 0 && (s == in("") || s == in(InputNormName)):
		return []Source{s, in(""), in(InputNormName)}
	case s == in(InputNormName):
		return []Source{s, in(""), result(InLayer(i-1, ""))}
	case s == in("self_attn.q_proj"):
		return []Source{s, in("self_attn.k_proj"), in("self_attn.v_proj")}
	}
	return []Source{s}
}

// llamaStream is what layer i and its first norm take and return. In vLLM the
// residual stream is the sum of two tensors until a norm adds them; in
// transformers it is one, seen as the input of the norms. branch is the layer's last module.
func llamaStream(i int, branch string) []Mapping {
	layer, norm, post := InLayer(i, ""), InLayer(i, InputNormName), InLayer(i, PostAttnNormName)
	normed := "0"
	var out []Mapping
	if i == 0 {
		normed = ""
		out = []Mapping{
			{layer, 0, false, "1", []Source{argument(layer)}},
			{norm, 0, false, "0", []Source{argument(norm)}},
		}
	} else {
		before := []Source{result(InLayer(i-1, branch))}
		stream := []Source{argument(InLayer(i-1, PostAttnNormName))}
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
		{layer, 0, true, "0", []Source{result(InLayer(i, branch))}},
		{layer, 0, true, "1", []Source{argument(post)}},
		{norm, 0, true, normed, []Source{result(norm)}},
	}...)
}

// llamaPostAttention is the norm behind the attention of layer i, which is given what
// branch returns.
func llamaPostAttention(i int, branch string) []Mapping {
	post := InLayer(i, PostAttnNormName)
	return []Mapping{
		{post, 0, false, "0", []Source{result(InLayer(i, branch))}},
		{post, 0, false, "1", []Source{argument(InLayer(i, InputNormName))}},
		{post, 0, true, "0", []Source{result(post)}},
		{post, 0, true, "1", []Source{argument(post)}},
	}
}

// transformersAttention is the attention of layer i, which rotates the results
// of the modules rotatedQ and rotatedK. Rotated queries and keys are those of no
// module of transformers.
func transformersAttention(i int, rotatedQ, rotatedK string) []Mapping {
	q, k, v := InLayer(i, "self_attn.q_proj"), InLayer(i, "self_attn.k_proj"), InLayer(i, "self_attn.v_proj")
	return attentionOf(
		i, argument(q), []Source{result(q), result(k), result(v)},
		[]Source{result(InLayer(i, rotatedQ))}, []Source{result(InLayer(i, rotatedK))}, []Source{result(v)},
	)
}

// phi3Attention is that of layer i where one projection makes all three.
func phi3Attention(i int) []Mapping {
	qkv := InLayer(i, QKVProjName)
	return attentionOf(i, argument(qkv), []Source{result(qkv)}, nil, nil, nil)
}

// attentionOf is the attention of layer i, in the order of its calls: its
// projections take one tensor and make queries, keys and values; q and k are what
// is rotated, v the values, as far as they are tensors by themselves.
func attentionOf(i int, taken Source, made, q, k, v []Source) []Mapping {
	return llamaAttention.mappings(i, taken, made, q, k, v)
}

// mappings are those of layer i; in transformers the block is self_attn, and o_proj is
// within it.
func (n AttentionNames) mappings(i int, taken Source, made, q, k, v []Source) []Mapping {
	block, qkv, attn, o := InLayer(i, n.Block), InLayer(i, n.QKV), InLayer(i, n.Attn), InLayer(i, n.OProj)
	rotary, oThere := InLayer(0, n.Rotary), InLayer(i, OProjName)
	return []Mapping{
		{block, 0, true, "", []Source{result(InLayer(i, SelfAttnName))}},
		{qkv, 0, false, "0", []Source{taken}},
		{qkv, 0, true, "0", made},
		{rotary, i, false, "0", []Source{PositionsSource}},
		{rotary, i, false, "1", q},
		{rotary, i, false, "2", k},
		{rotary, i, true, "0", nil},
		{rotary, i, true, "1", nil},
		{attn, 0, false, "0", nil},
		{attn, 0, false, "1", nil},
		{attn, 0, false, "2", v},
		{attn, 0, true, "", []Source{argument(oThere)}},
		{o, 0, false, "0", []Source{argument(oThere)}},
		{o, 0, true, "0", []Source{result(oThere)}},
	}
}

// transformersQKNorms are the norms of queries and keys of layer i.
func transformersQKNorms(i int) []Mapping {
	q, k := InLayer(i, QNormName), InLayer(i, KNormName)
	return []Mapping{
		{q, 0, false, "0", []Source{argument(q)}},
		{q, 0, true, "", []Source{result(q)}},
		{k, 0, false, "0", []Source{argument(k)}},
		{k, 0, true, "", []Source{result(k)}},
	}
}

// transformersMLP is the feed-forward part of layer i.
func transformersMLP(i int) []Mapping {
	gate, up := InLayer(i, "mlp.gate_proj"), InLayer(i, "mlp.up_proj")
	return mlpOf(i, argument(gate), result(gate), result(up))
}

// phi3MLP is that of layer i where one projection makes gate and up.
func phi3MLP(i int) []Mapping {
	gateUp := InLayer(i, GateUpProjName)
	return mlpOf(i, argument(gateUp), result(gateUp))
}

// mlpOf is the feed-forward part of layer i, whose projections take one tensor
// and make gate and up.
func mlpOf(i int, taken Source, made ...Source) []Mapping {
	mlp, gateUp, act, down := InLayer(i, MLPName), InLayer(i, GateUpProjName), InLayer(i, ActFnName), InLayer(i, DownProjName)
	return []Mapping{
		{mlp, 0, false, "0", []Source{argument(mlp)}},
		{mlp, 0, true, "", []Source{result(mlp)}},
		{gateUp, 0, false, "0", []Source{taken}},
		{gateUp, 0, true, "0", made},
		{act, 0, false, "0", made},
		{act, 0, true, "", []Source{argument(down)}},
		{down, 0, false, "0", []Source{argument(down)}},
		{down, 0, true, "0", []Source{result(down)}},
	}
}
