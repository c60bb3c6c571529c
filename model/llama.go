package model

// newLlama builds LlamaForCausalLM: Llama 1 to 3.2 and the many models that
// use its class.
func newLlama(c *Checkpoint) (*CausalLM, error) {
	cfg := c.Config
	return decoder{qkvBias: cfg.QKVBias, oBias: cfg.AttentionBias, mlpBias: cfg.MLPBias}.build(c)
}
