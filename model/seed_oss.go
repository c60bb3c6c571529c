package model

import "github.com/ilref/ilref/model/nn"

// seedOssDialect has transformers' defaults (configuration_seed_oss.py).
var seedOssDialect = dialect{
	fields:   []string{"residual_dropout"},
	defaults: map[string]string{"attention_bias": "true", "head_dim": "128", "rms_norm_eps": "1e-6", "max_position_embeddings": "524288"},
}

// newSeedOssForCausalLM builds SeedOssForCausalLM (vLLM's models/seed_oss.py): Llama with
// biases on q, k and v, whatever the config says.
func newSeedOssForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkFullAttention()
	if b.cfg.MLPBias {
		b.refuse("mlp_bias is true, but %s has no such biases", b.arch)
	}
	if !b.cfg.AttentionBias {
		b.refuse("attention_bias is false, but %s of vLLM has biases on q, k and v: expected true", b.arch)
	}
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newLlamaAttention(b, i, true, false) },
			func(b *builder) nn.Module { return newLlamaMLP(b, false) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor(b.headClass(), b.lmHead(m.embedTokens))}
}
