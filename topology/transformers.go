package topology

import "iter"

// Mapping is a tensor of vLLM's and what it is in transformers: Sources joined
// along the last dimension, nothing where there are none.
type Mapping struct {
	Module  string
	Index   int // the call
	Output  bool
	Slot    string
	Sources []Source
}

// Source is a tensor of a module of transformers.
type Source struct {
	Module string
	Output bool
	Arg    string // the argument, or the key of a result that has some
}

func argument(module string) Source { return Source{Module: module, Arg: "0"} }
func result(module string) Source   { return Source{Module: module, Output: true} }

// PositionsSource is recorded where transformers' rotary embedding is given its
// positions as an argument and not by keyword (releases before 5).
var PositionsSource = Source{Module: "model.rotary_emb", Arg: "1"}

// TransformersLogits are the logits' mappings; vLLM logs them one step later.
var TransformersLogits = []Mapping{
	{LogitsProcessorName, 0, false, "1", []Source{argument(LMHeadName)}},
	{LogitsProcessorName, 0, true, "", []Source{result(LMHeadName)}},
}

// llamaTransformers is transformers' modeling_llama.py, and its kin's.
func llamaTransformers(layers int) []Mapping {
	out := []Mapping{
		{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{EmbedTokensName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
	for i := range layers {
		out = append(out, llamaStream(i)...)
		out = append(out, transformersAttention(i)...)
		out = append(out, llamaPostAttention(i)...)
		out = append(out, transformersMLP(i)...)
	}
	last := layers - 1
	return append(
		out,
		Mapping{FinalNormName, 0, false, "0", []Source{result(InLayer(last, MLPName))}},
		Mapping{FinalNormName, 0, false, "1", []Source{argument(InLayer(last, PostAttnNormName))}},
		Mapping{FinalNormName, 0, true, "0", []Source{result(FinalNormName)}},
		Mapping{FinalNormName, 0, true, "1", []Source{argument(FinalNormName)}},
	)
}

// llamaStream is what layer i and its first norm take and return. In vLLM the
// residual stream is the sum of two tensors until a norm adds them; in
// transformers it is one, seen as the input of the norms.
func llamaStream(i int) []Mapping {
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
		before := []Source{result(InLayer(i-1, MLPName))}
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
		{layer, 0, true, "0", []Source{result(InLayer(i, MLPName))}},
		{layer, 0, true, "1", []Source{argument(post)}},
		{norm, 0, true, normed, []Source{result(norm)}},
	}...)
}

// llamaPostAttention is the norm behind the attention of layer i.
func llamaPostAttention(i int) []Mapping {
	post := InLayer(i, PostAttnNormName)
	return []Mapping{
		{post, 0, false, "0", []Source{result(InLayer(i, OProjName))}},
		{post, 0, false, "1", []Source{argument(InLayer(i, InputNormName))}},
		{post, 0, true, "0", []Source{result(post)}},
		{post, 0, true, "1", []Source{argument(post)}},
	}
}

// transformersAttention is the attention of layer i. Rotated queries and keys
// are those of no module of transformers.
func transformersAttention(i int) []Mapping {
	self, qkv, o := InLayer(i, SelfAttnName), InLayer(i, QKVProjName), InLayer(i, OProjName)
	qNorm, kNorm, attn := InLayer(i, QNormName), InLayer(i, KNormName), InLayer(i, AttnName)
	q, k, v := InLayer(i, "self_attn.q_proj"), InLayer(i, "self_attn.k_proj"), InLayer(i, "self_attn.v_proj")
	return []Mapping{
		{self, 0, true, "", []Source{result(self)}},
		{qkv, 0, false, "0", []Source{argument(q)}},
		{qkv, 0, true, "0", []Source{result(q), result(k), result(v)}},
		{qNorm, 0, false, "0", []Source{argument(qNorm)}},
		{qNorm, 0, true, "", []Source{result(qNorm)}},
		{kNorm, 0, false, "0", []Source{argument(kNorm)}},
		{kNorm, 0, true, "", []Source{result(kNorm)}},
		{decoderRotaryFirst, i, false, "0", []Source{PositionsSource}},
		{decoderRotaryFirst, i, false, "1", []Source{result(q)}},
		{decoderRotaryFirst, i, false, "2", []Source{result(k)}},
		{decoderRotaryFirst, i, true, "0", nil},
		{decoderRotaryFirst, i, true, "1", nil},
		{attn, 0, false, "0", nil},
		{attn, 0, false, "1", nil},
		{attn, 0, false, "2", []Source{result(v)}},
		{attn, 0, true, "", []Source{argument(o)}},
		{o, 0, false, "0", []Source{argument(o)}},
		{o, 0, true, "0", []Source{result(o)}},
	}
}

// transformersMLP is the feed-forward part of layer i.
func transformersMLP(i int) []Mapping {
	mlp, gateUp, act, down := InLayer(i, MLPName), InLayer(i, GateUpProjName), InLayer(i, ActFnName), InLayer(i, DownProjName)
	gate, up := InLayer(i, "mlp.gate_proj"), InLayer(i, "mlp.up_proj")
	both := []Source{result(gate), result(up)}
	return []Mapping{
		{mlp, 0, false, "0", []Source{argument(mlp)}},
		{mlp, 0, true, "", []Source{result(mlp)}},
		{gateUp, 0, false, "0", []Source{argument(gate)}},
		{gateUp, 0, true, "0", both},
		{act, 0, false, "0", both},
		{act, 0, true, "", []Source{argument(down)}},
		{down, 0, false, "0", []Source{argument(down)}},
		{down, 0, true, "0", []Source{result(down)}},
	}
}

// Same lists the tensors of a model of so many layers that are the same as one
// by the way transformers' modules hand them on, itself first.
func (f Source) Same(layers int) []Source {
	p := Locate(f.Module)
	in := func(layer int, rel string) Source { return argument(InLayer(layer, rel)) }
	switch i := p.Layer; {
	case f == argument(FinalNormName):
		return []Source{f, result(InLayer(layers-1, ""))}
	case f == result(FinalNormName):
		return []Source{f, {Module: "model", Output: true, Arg: "last_hidden_state"}}
	case i < 0:
	case f == in(0, ""), f == in(0, InputNormName):
		return []Source{f, in(0, ""), in(0, InputNormName)}
	case f == in(i, InputNormName):
		return []Source{f, in(i, ""), result(InLayer(i-1, ""))}
	case f == in(i, "self_attn.q_proj"):
		return []Source{f, in(i, "self_attn.k_proj"), in(i, "self_attn.v_proj")}
	case f == in(i, "mlp.gate_proj"):
		return []Source{f, in(i, "mlp.up_proj")}
	case f == result(InLayer(i, "mlp.gate_proj")):
		return []Source{f, in(i, ActFnName)}
	}
	return []Source{f}
}

// TransformersAlone reports whether a tensor of transformers is one of no
// module of vLLM: what its model, its rope and its activation return, and
// attention's weights.
func TransformersAlone(module string, output bool, slot string) bool {
	switch LastWord(module) {
	case "model":
		return module == "model"
	case "rotary_emb":
		return module == PositionsSource.Module
	case "act_fn":
		return output
	case "self_attn":
		return output && slot == "1"
	}
	return false
}

// TransformersTable is the mapping for a session of transformers with so many
// layers: of the first architecture that has all its modules, Llama's where none
// has.
func TransformersTable(modules iter.Seq[string], layers int) []Mapping {
	for _, a := range architectures {
		if a.Transformers == nil {
			continue
		}
		table := a.Transformers(layers)
		known := map[string]bool{}
		for _, m := range table {
			for _, s := range m.Sources {
				for _, x := range s.Same(layers) {
					known[x.Module] = true
				}
			}
		}
		if all(modules, func(m string) bool { return known[m] || Locate(m).Layer < 0 }) {
			return table
		}
	}
	return llamaTransformers(layers)
}

func all(seq iter.Seq[string], ok func(string) bool) bool {
	for s := range seq {
		if !ok(s) {
			return false
		}
	}
	return true
}
