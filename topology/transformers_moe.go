package topology

import (
	"iter"
	"slices"
	"strings"
)

// mixtralTransformers is transformers' modeling_mixtral.py: its mixture is called mlp.
func mixtralTransformers(layers int) *Table {
	return normFirst(layers, func(i int) []Mapping { return transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj") }, func(i int) []Mapping {
		mlp, gate, experts := InLayer(i, MLPName), InLayer(i, MLPGateName), InLayer(i, MLPExpertsName)
		return []Mapping{
			{InLayer(i, SparseMoeName), 0, false, "0", []Source{argument(mlp)}},
			{InLayer(i, SparseMoeName), 0, true, "", []Source{result(mlp)}},
			{InLayer(i, SparseGateName), 0, false, "0", []Source{argument(gate)}},
			{InLayer(i, SparseGateName), 0, true, "0", []Source{result(gate)}},
			{InLayer(i, SparseExpertsName), 0, false, "0", []Source{argument(experts)}},
			{InLayer(i, SparseExpertsName), 0, false, "1", []Source{result(gate)}},
			{InLayer(i, SparseExpertsName), 0, true, "", []Source{result(experts)}},
		}
	})
}

// qwen3MoeTransformers is modeling_qwen3_moe.py. Of a layer's dense MLP and its mixture
// one is there.
func qwen3MoeTransformers(layers int) *Table {
	return mixed(normFirst(layers, func(i int) []Mapping {
		return slices.Concat(transformersQKNorms(i), transformersAttention(i, QNormName, KNormName))
	}, func(i int) []Mapping {
		return append(transformersMLP(i), qwenMixture(i, []Source{result(InLayer(i, MLPExpertsName))})...)
	}))
}

// qwen2MoeTransformers is modeling_qwen2_moe.py. In vLLM's model of 2026 experts return what
// the block does, and the shared expert, in whose down_proj transformers' result is seen
// too, has multiplied by its gate.
func qwen2MoeTransformers(era Era) func(layers int) *Table {
	return func(layers int) *Table {
		return mixed(normFirst(layers, func(i int) []Mapping { return transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj") }, func(i int) []Mapping {
			in := func(rel string) string { return InLayer(i, rel) }
			of2025 := func(rel string) []Source {
				if era == Era2026 {
					return nil
				}
				return []Source{result(in(rel))}
			}
			gate, up, down := in("mlp.shared_expert.gate_proj"), in("mlp.shared_expert.up_proj"), in(SharedDownName)
			return slices.Concat(transformersMLP(i), qwenMixture(i, of2025(MLPExpertsName)), []Mapping{
				{in(SharedExpertName), 0, false, "0", []Source{argument(in(SharedExpertName))}},
				{in(SharedExpertName), 0, true, "", of2025(SharedExpertName)},
				{in(SharedGateUpName), 0, false, "0", []Source{argument(gate)}},
				{in(SharedGateUpName), 0, true, "0", []Source{result(gate), result(up)}},
				{in(SharedActName), 0, false, "0", []Source{result(gate), result(up)}},
				{in(SharedActName), 0, true, "", []Source{argument(down)}},
				{down, 0, false, "0", []Source{argument(down)}},
				{down, 0, true, "0", []Source{result(down)}},
				{in(SharedExpertGateName), 0, false, "0", []Source{argument(in(SharedExpertGateName))}},
				{in(SharedExpertGateName), 0, true, "", of2025(SharedExpertGateName)},
				{in(SharedExpertGateName), 0, true, "0", nil},
				{in(SharedExpertsName), 0, false, "0", nil},
				{in(SharedExpertsName), 1, false, "0", nil},
			})
		}))
	}
}

// sharedExpertSame is what the modules of a shared expert hand on, nil for those of others.
func sharedExpertSame(s Source) []Source {
	p := Locate(s.Module)
	in := func(rel string) Source { return argument(InLayer(p.Layer, rel)) }
	switch p.Rel {
	case SharedExpertName, "mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj":
		if !s.Output {
			return []Source{s, in(SharedExpertName), in("mlp.shared_expert.gate_proj"), in("mlp.shared_expert.up_proj")}
		}
		if p.Rel == SharedExpertName {
			return []Source{s, result(InLayer(p.Layer, SharedDownName))}
		}
	case SharedMLPName, "mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj":
		if !s.Output {
			return []Source{s, in(SharedMLPName), in("mlp.shared_experts.gate_proj"), in("mlp.shared_experts.up_proj")}
		}
		if p.Rel == SharedMLPName {
			return []Source{s, result(InLayer(p.Layer, SharedMLPDownName))}
		}
	}
	return nil
}

// mixed is a table of which every layer has what a dense MLP has, and what a mixture has.
func mixed(t *Table) *Table {
	t.mixed = true
	return t
}

// fit leaves out the modules of a dense MLP in layers of which no session shows one: what
// they are given is what the mixture is given, too.
func (t *Table) fit(modules iter.Seq[string]) {
	if t.suited != nil {
		t.Mappings = slices.DeleteFunc(t.Mappings, func(m Mapping) bool { return !t.suited(modules, m) })
	}
	if t.fitted != nil {
		t.fitted(t, modules)
	}
	if !t.mixed {
		return
	}
	dense := map[int]bool{}
	for m := range modules {
		switch p := Locate(m); p.Rel {
		case "mlp.gate_proj", "mlp.up_proj", DownProjName, ActFnName:
			dense[p.Layer] = true
		}
	}
	t.Mappings = slices.DeleteFunc(t.Mappings, func(m Mapping) bool {
		switch p := Locate(m.Module); p.Rel {
		case GateUpProjName, DownProjName, ActFnName:
			return !dense[p.Layer]
		}
		return false
	})
}

// qwenMixture is the router and the experts of layer i, which vLLM gives their arguments
// by keyword; sum is what its experts return.
func qwenMixture(i int, sum []Source) []Mapping {
	gate := InLayer(i, MLPGateName)
	return []Mapping{
		{gate, 0, false, "0", []Source{argument(gate)}},
		{gate, 0, true, "0", []Source{result(gate)}},
		{InLayer(i, MLPExpertsName), 0, true, "", sum},
	}
}

// graniteMoeTransformers is modeling_granitemoe.py: a layer takes and returns the stream,
// which each norm is given. What the lm_head returns has not been divided yet.
func graniteMoeTransformers(layers int) *Table {
	out := []Mapping{
		{EmbedTokensName, 0, false, "0", []Source{argument(EmbedTokensName)}},
		{EmbedTokensName, 0, true, "", []Source{result(EmbedTokensName)}},
	}
	for i := range layers {
		layer, block, router := InLayer(i, ""), InLayer(i, SparseMoeName), InLayer(i, "block_sparse_moe.router.layer")
		out = slices.Concat(out, []Mapping{
			{layer, 0, false, "0", []Source{PositionsSource}},
			{layer, 0, false, "1", []Source{argument(layer)}},
			{layer, 0, true, "", []Source{result(layer)}},
		}, normBehind(InLayer(i, InputNormName)), transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj"), normBehind(InLayer(i, PostAttnNormName)), []Mapping{
			{block, 0, false, "0", []Source{argument(block)}},
			{block, 0, true, "", []Source{result(block)}},
			{InLayer(i, SparseGateName), 0, false, "0", []Source{argument(router)}},
			{InLayer(i, SparseGateName), 0, true, "0", []Source{result(router)}},
			{InLayer(i, SparseExpertsName), 0, false, "0", []Source{argument(block)}},
			{InLayer(i, SparseExpertsName), 0, false, "1", []Source{result(router)}},
			{InLayer(i, SparseExpertsName), 0, true, "", []Source{result(block)}},
		})
	}
	return &Table{layers: layers, handedOn: graniteMoeSame, Scaled: true, Mappings: append(out, normBehind(FinalNormName)...)}
}

// graniteMoeSame: a layer is given what the layer before returned, and hands it to its
// first norm.
func graniteMoeSame(s Source, layers int) []Source {
	i := Locate(s.Module).Layer
	in := func(rel string) Source { return argument(InLayer(i, rel)) }
	switch s {
	case in(""), in(InputNormName):
		same := []Source{s, in(""), in(InputNormName)}
		if i > 0 {
			same = append(same, result(InLayer(i-1, "")))
		}
		return same
	case in("self_attn.q_proj"):
		return []Source{s, in("self_attn.k_proj"), in("self_attn.v_proj")}
	case in(SparseMoeName):
		return []Source{s, result(InLayer(i, PostAttnNormName))}
	case in("block_sparse_moe.router.layer"):
		return []Source{s, in("block_sparse_moe.router")}
	}
	return []Source{s}
}

// inMixtureAlone reports whether a module of a layer is one within transformers'
// mixtures that no module of vLLM stands for: experts' activation and products.
func inMixtureAlone(module string) bool {
	for _, m := range []string{".experts.act_fn", ".shared_expert.act_fn", ".shared_experts.act_fn", "block_sparse_moe.activation", "block_sparse_moe.input_linear", "block_sparse_moe.output_linear", "block_sparse_moe.router"} {
		if strings.HasSuffix(module, m) {
			return true
		}
	}
	return false
}

// ofRouterAlone reports whether a slot is one of the weights and the ids of the chosen
// experts, which transformers' routers return, or of what its experts are given, which
// vLLM's may be given by keyword.
func ofRouterAlone(module string, output bool, slot string) bool {
	if output {
		return LastWord(module) == "gate" && (slot == "1" || slot == "2")
	}
	return LastWord(module) == "experts"
}
