package model

// newMistral describes MistralForCausalLM: Llama's modules, with a sliding
// window in all layers where the config gives one.
func newMistral(*Config) decoder { return decoder{} }
