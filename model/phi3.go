package model

// newPhi3ForCausalLM builds Phi3ForCausalLM, which vLLM derives from Llama (its
// models/phi3.py): the checkpoint holds qkv_proj and gate_up_proj packed, the
// rotation may be partial, and the rope longrope. transformers takes other ropes for
// longrope (configuration_phi3.py), and vLLM does not.
func newPhi3ForCausalLM(b *builder) *CausalLM {
	if t := b.cfg.Rope.Type; t != "default" && t != "longrope" {
		b.refuse("rope_type %q is not supported for %s: expected default or longrope", t, b.arch)
	}
	b.checkLongRope()
	return newLlamaForCausalLM(b)
}

// checkLongRope refuses the fields of longrope that one engine alone reads: vLLM passes over
// attention_factor and factor (rotary_embedding/__init__.py), transformers over the mscales
// (modeling_rope_utils.py).
func (b *builder) checkLongRope() {
	r := b.cfg.Rope
	if r.Type != "longrope" {
		return
	}
	transformers := b.options.DynamicRope == DynamicTransformers
	original := max(r.OriginalMaxPositionEmbeddings, 1)
	switch ratio := float64(b.cfg.MaxPositionEmbeddings) / float64(original); {
	case transformers && (r.ShortMScale != 0 || r.LongMScale != 0):
		b.refuse("short_mscale and long_mscale are not read by transformers' %s: remove them from a copy of the file, or take a profile of vLLM", b.arch)
	case !transformers && r.AttentionFactor != 0:
		b.refuse("attention_factor %v is not read by vLLM's %s: remove it from a copy of the file, or take a profile of transformers", r.AttentionFactor, b.arch)
	case r.Factor != 1 && r.OriginalMaxPositionEmbeddings != 0 && r.Factor != ratio:
		b.refuse("factor %v of longrope is not max_position_embeddings / original_max_position_embeddings, which is %v and what vLLM takes", r.Factor, ratio)
	}
}
