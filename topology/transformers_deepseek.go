package topology

import (
	"iter"
	"slices"
	"strings"
)

// deepseekTransformers is transformers' modeling_deepseek_v2.py and modeling_deepseek_v3.py.
// It has keys and values of all heads for all tokens and no way in the space of latents. What
// it rotates it returns in another order than vLLM does, from no module. Its routers'
// weights have the factor that vLLM multiplies the experts' sum by, so that this is another.
func deepseekTransformers(layers int) *Table {
	t := mixed(normFirst(layers, transformersLatent, func(i int) []Mapping { return transformersSharedMixture(i, "0") }))
	t.suited, t.handedOn, t.alone, t.sometimes = latentsOf, latentSame, expertsAlone(layers), []string{KVBProjName}
	return t
}

// expertsAlone are the sums of experts, which vLLM's are not.
func expertsAlone(layers int) []Source {
	var list []Source
	for i := range layers {
		list = append(list, result(InLayer(i, MLPExpertsName)), Source{InLayer(i, MLPExpertsName), true, ""})
	}
	return list
}

// transformersLatent is the latent attention of layer i. What self_attn is given in 2026,
// mla_attn is given in both eras.
func transformersLatent(i int) []Mapping {
	in := func(rel string) string { return InLayer(i, rel) }
	qa, kva, o := in("self_attn.q_a_proj"), in(KVAProjName), in(OProjName)
	out := []Mapping{
		{in(SelfAttnName), 0, false, "0", nil},
		{in(SelfAttnName), 0, false, "1", nil},
		{in(SelfAttnName), 0, true, "", []Source{result(in(SelfAttnName))}},
		{in(LatentBlockName), 0, false, "0", []Source{PositionsSource}},
		{in(LatentBlockName), 0, false, "1", []Source{argument(kva)}},
		{in(LatentBlockName), 0, true, "", []Source{result(in(SelfAttnName))}},
		{in(FusedQKVAProjName), 0, false, "0", []Source{argument(kva)}},
		{in(FusedQKVAProjName), 0, true, "0", []Source{result(qa), result(kva)}},
	}
	linear := func(rels ...string) {
		for _, rel := range rels {
			out = append(out, Mapping{in(rel), 0, false, "0", []Source{argument(in(rel))}}, Mapping{in(rel), 0, true, "0", []Source{result(in(rel))}})
		}
	}
	out = append(out, normBehind(in(QANormName))...) // in the order of the calls
	linear(KVAProjName, QProjName, QBProjName)
	out = slices.Concat(out, normBehind(in(KVANormName)), []Mapping{
		{InLayer(0, RotaryName), i, false, "0", []Source{PositionsSource}},
		{InLayer(0, RotaryName), i, false, "1", nil},
		{InLayer(0, RotaryName), i, false, "2", nil},
		{InLayer(0, RotaryName), i, true, "0", nil},
		{InLayer(0, RotaryName), i, true, "1", nil},
		{in(LatentAttnName), 0, false, "0", nil},
		{in(LatentAttnName), 0, false, "1", []Source{result(in(KVANormName))}},
		{in(LatentAttnName), 0, false, "2", nil},
		{in(LatentAttnName), 0, true, "", []Source{argument(o)}},
	})
	linear(KVBProjName, OProjName)
	return out
}

// latentSame: projections of latents are given what the first norm returns.
func latentSame(s Source, layers int) []Source {
	i := Locate(s.Module).Layer
	in := func(rel string) Source { return argument(InLayer(i, rel)) }
	switch s {
	case in(KVAProjName):
		return []Source{s, in("self_attn.q_a_proj"), in(QProjName)}
	case in(QProjName): // of its own mapping: the other does not stand for it
		return []Source{s}
	}
	return normFirstSame(s, layers)
}

// latentsOf leaves out the projections that a model does not have: with a latent of queries
// one packs both, and without one of keys and values stands alone.
func latentsOf(modules iter.Seq[string], m Mapping) bool {
	queries := false
	for name := range modules {
		queries = queries || strings.HasSuffix(name, "self_attn.q_a_proj")
	}
	switch Locate(m.Module).Rel {
	case FusedQKVAProjName:
		return queries
	case KVAProjName:
		return !queries
	}
	return true
}

// transformersSharedMixture is the mixture of layer i with shared experts, and what a dense
// layer has in its place. The logits of vLLM's gate have a slot.
func transformersSharedMixture(i int, logits string) []Mapping {
	in := func(rel string) string { return InLayer(i, rel) }
	gate, up, down := in("mlp.shared_experts.gate_proj"), in("mlp.shared_experts.up_proj"), in(SharedMLPDownName)
	return slices.Concat(transformersMLP(i), []Mapping{
		{in(MLPGateName), 0, false, "0", []Source{argument(in(MLPGateName))}},
		{in(MLPGateName), 0, true, logits, []Source{result(in(MLPGateName))}},
		{in(MLPExpertsName), 0, false, "0", nil},
		{in(MLPExpertsName), 0, false, "1", nil},
		{in(MLPExpertsName), 0, true, "", nil},
		{in(MLPExpertsName), 0, true, "0", nil},
		{in(MLPExpertsName), 0, true, "1", nil},
		{in(SharedExpertsName), 0, false, "0", nil},
		{in(SharedExpertsName), 1, false, "0", nil},
		{in(SharedMLPName), 0, false, "0", []Source{argument(in(SharedMLPName))}},
		{in(SharedMLPName), 0, true, "", []Source{result(in(SharedMLPName))}},
		{in(SharedMLPGateUpName), 0, false, "0", []Source{argument(gate)}},
		{in(SharedMLPGateUpName), 0, true, "0", []Source{result(gate), result(up)}},
		{in(SharedMLPActName), 0, false, "0", []Source{result(gate), result(up)}},
		{in(SharedMLPActName), 0, true, "", []Source{argument(down)}},
		{down, 0, false, "0", []Source{argument(down)}},
		{down, 0, true, "0", []Source{result(down)}},
	})
}

// glm4MoeTransformers is modeling_glm4_moe.py, with norms of queries and keys or without.
func glm4MoeTransformers(layers int) *Table {
	t := mixed(normFirst(layers, func(i int) []Mapping {
		q, k := InLayer(i, QNormName), InLayer(i, KNormName)
		rotated := []Mapping{
			{InLayer(0, RotaryName), i, false, "1", []Source{result(q)}},
			{InLayer(0, RotaryName), i, false, "2", []Source{result(k)}},
		}
		return slices.Concat(transformersQKNorms(i), transformersAttention(i, "self_attn.q_proj", "self_attn.k_proj"), rotated)
	}, func(i int) []Mapping { return transformersSharedMixture(i, "") }))
	t.suited, t.alone = glm4Norms, expertsAlone(layers)
	return t
}

// glm4Norms leaves out, of what is rotated, what is not: projections beside norms.
func glm4Norms(modules iter.Seq[string], m Mapping) bool {
	if m.Module != InLayer(0, RotaryName) || m.Output || m.Slot == "0" {
		return true
	}
	norms := false
	for name := range modules {
		norms = norms || LastWord(name) == LastWord(QNormName)
	}
	return norms == strings.HasSuffix(m.Sources[0].Module, "norm")
}
