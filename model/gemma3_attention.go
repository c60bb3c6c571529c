package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// gemma3Attention is vLLM's Gemma3Attention: Llama's, with each head of q and k normalised
// before the rotation, and a rope for each type of layer.
type gemma3Attention struct {
	llamaAttention
	qNorm, kNorm *nn.GemmaRMSNorm
}

func newGemma3Attention(b *builder, i int) *gemma3Attention {
	c := b.cfg
	shape := b.attentionShape(i)
	shape.Scale = c.Gemma.scale()
	m := &gemma3Attention{}
	b = b.block(&m.Base, "self_attn", topology.SelfAttention)
	m.qkvProj = b.qkvParallelLinear("qkv_proj", c.QKVBias)
	m.oProj = b.rowParallelLinear("o_proj", topology.OProj, shape.Heads*shape.HeadDim, c.HiddenSize, c.AttentionBias)
	m.qNorm = b.gemmaRMSNorm("q_norm", topology.GemmaQNorm, c.HeadDim, false)
	m.kNorm = b.gemmaRMSNorm("k_norm", topology.GemmaKNorm, c.HeadDim, false)
	m.rotaryEmb = register(b, b.ropeObject("rotary_emb", b.layerRope(i)))
	m.attn = b.attention("attn", shape)
	for i, norm := range []*nn.GemmaRMSNorm{m.qNorm, m.kNorm} {
		normed := nn.Result(norm, 0)
		normed.Flat = true
		nn.Give(m.rotaryEmb, 1+i, normed)
	}
	rotated(m.attn, m.rotaryEmb)
	q, kv := shape.Heads*shape.HeadDim, shape.KVHeads*shape.HeadDim
	nn.Give(m.attn, 2, nn.Result(m.qkvProj, 0).Columns(q+kv, q+2*kv))
	positions := nn.Argument(m.rotaryEmb, 0)
	positions.Any = true
	nn.Give(m, 0, positions)
	return m
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *gemma3Attention) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	q, k, v := splitQKV(nn.One(s.Call(m.qkvProj, hidden)), m.attn)
	q = nn.Flatten(nn.One(s.Call(m.qNorm, nn.ByHead(q, m.attn.HeadDim)))) // (T, nh, D) and back
	k = nn.Flatten(nn.One(s.Call(m.kNorm, nn.ByHead(k, m.attn.HeadDim))))
	q, k = nn.Two(s.Call(m.rotaryEmb, positions, q, k))
	out := nn.One(s.Call(m.attn, q, k, v)) // (T, Q)
	return nn.One(s.Call(m.oProj, out))    // (T, H)
}
