package model

// newMistralForCausalLM builds MistralForCausalLM, which vLLM runs as Llama: a
// sliding window in all layers where the config gives one.
func newMistralForCausalLM(b *builder) *CausalLM { return newLlamaForCausalLM(b) }
