package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// newQwen3ForCausalLM builds Qwen3ForCausalLM (vLLM's models/qwen3.py).
func newQwen3ForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(true, false)
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newQwen3Attention(b, i) },
			func(b *builder) nn.Module { return newLlamaMLP(b, false) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor(b.headClass(), b.lmHead(m.embedTokens))}
}

// qwen3Attention is vLLM's Qwen3Attention: Llama's, with each head of q and k
// normalised before the rotation.
type qwen3Attention struct {
	llamaAttention
	qNorm, kNorm *nn.RMSNorm
}

func newQwen3Attention(b *builder, i int) *qwen3Attention {
	m := &qwen3Attention{}
	m.norms(m.build(b, i, b.cfg.AttentionBias, b.cfg.AttentionBias))
	return m
}

// norms makes those of each head.
func (m *qwen3Attention) norms(b *builder) {
	m.qNorm = b.rmsNorm("q_norm", topology.QHeadNorm, b.cfg.HeadDim, false)
	m.kNorm = b.rmsNorm("k_norm", topology.KHeadNorm, b.cfg.HeadDim, false)
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *qwen3Attention) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	q, k, v := splitQKV(nn.One(s.Call(m.qkvProj, hidden)), m.attn)
	q = nn.Flatten(nn.One(s.Call(m.qNorm, nn.ByHead(q, m.attn.HeadDim)))) // (T, nh, D) and back
	k = nn.Flatten(nn.One(s.Call(m.kNorm, nn.ByHead(k, m.attn.HeadDim))))
	q, k = nn.Two(s.Call(m.rotaryEmb, positions, q, k))
	out := nn.One(s.Call(m.attn, q, k, v)) // (T, Q)
	return nn.One(s.Call(m.oProj, out))    // (T, H)
}
