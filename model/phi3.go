package model

// newPhi3ForCausalLM builds Phi3ForCausalLM, which vLLM derives from Llama (its
// models/phi3.py): the checkpoint holds qkv_proj and gate_up_proj packed, the
// rotation may be partial, and the rope longrope. transformers takes other ropes for
// longrope (configuration_phi3.py), and vLLM does not.
func newPhi3ForCausalLM(b *builder) *CausalLM {
	if t := b.cfg.Rope.Type; t != "default" && t != "longrope" {
		b.refuse("rope_type %q is not supported for %s: expected default or longrope", t, b.arch)
	}
	return newLlamaForCausalLM(b)
}
