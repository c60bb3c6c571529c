package model

import (
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// ernie45Dialect has transformers' defaults (configuration_ernie4_5.py).
var ernie45Dialect = dialect{
	defaults: map[string]string{
		"head_dim": "128", "rms_norm_eps": "1e-5", "tie_word_embeddings": "true", "max_position_embeddings": "131072",
	},
	fields: []string{"use_bias"},
	read: func(c *Config, o *object) {
		if o.bool("use_bias", false) {
			o.failKey("use_bias", "is true, which vLLM's Ernie4_5ForCausalLM leaves out: expected false")
		}
		o.requireTheta("500000, and vLLM 10000")
	},
}

// newErnie45ForCausalLM builds Ernie4_5ForCausalLM (vLLM's models/ernie45.py): Llama, whose
// rope turns neighbours, without a bias in o_proj. transformers' class keeps its rope in
// float32.
func newErnie45ForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkFullAttention()
	b.configRope().Interleaved, b.configRope().Float = true, true
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newLlamaAttention(b, i, false, false) },
			func(b *builder) nn.Module { return newLlamaMLP(b, false) },
		)
	})
	return &CausalLM{
		model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens)),
		RootBypassed: b.options.Era == topology.Era2026, // @support_torch_compile stands on the class itself
	}
}
