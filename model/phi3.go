package model

// newPhi3ForCausalLM builds Phi3ForCausalLM, which vLLM derives from Llama (its
// models/phi3.py): the checkpoint holds qkv_proj and gate_up_proj packed, the
// rotation may be partial, and the rope longrope.
func newPhi3ForCausalLM(b *builder) *CausalLM { return newLlamaForCausalLM(b) }
