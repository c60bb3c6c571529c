package model

// newQwen3 describes Qwen3ForCausalLM: each head of q and k is normalised
// before the rotation.
func newQwen3(cfg *Config) decoder {
	return decoder{qkvBias: cfg.AttentionBias, oBias: cfg.AttentionBias, qkNorm: true, tiedHead: true}
}
