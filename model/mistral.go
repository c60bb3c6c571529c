package model

// newMistral describes MistralForCausalLM, which vLLM runs as Llama: a sliding
// window in all layers where the config gives one.
func newMistral(cfg *Config) decoder { return newLlama(cfg) }
