package model

// newLlama describes LlamaForCausalLM: Llama 1 to 3.2 and the many models that
// use its class.
func newLlama(cfg *Config) decoder {
	return decoder{qkvBias: cfg.QKVBias, oBias: cfg.AttentionBias, mlpBias: cfg.MLPBias}
}
