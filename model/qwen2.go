package model

import "github.com/ilref/ilref/model/nn"

// newQwen2ForCausalLM builds Qwen2ForCausalLM (vLLM's models/qwen2.py): biases
// on q, k and v alone.
func newQwen2ForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(false, false)
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newLlamaAttention(b, i, true, false) },
			func(b *builder) nn.Module { return newLlamaMLP(b, false) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor(b.headClass(), b.lmHead(m.embedTokens))}
}
