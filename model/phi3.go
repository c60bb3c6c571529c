package model

// newPhi3 describes Phi3ForCausalLM, which vLLM derives from Llama: the
// checkpoint holds qkv_proj and gate_up_proj packed, the rotation may be
// partial, and the rope longrope.
func newPhi3(cfg *Config) decoder { return newLlama(cfg) }
