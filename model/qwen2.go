package model

// newQwen2 describes Qwen2ForCausalLM: biases on q, k and v; tied embeddings
// leave no lm_head module.
func newQwen2(*Config) decoder { return decoder{qkvBias: true, tiedHead: true} }
