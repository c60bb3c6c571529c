package model

// newPhi3 describes Phi3ForCausalLM: the checkpoint holds qkv_proj and
// gate_up_proj packed, the rotation may be partial, and the rope longrope.
func newPhi3(*Config) decoder { return decoder{} }
