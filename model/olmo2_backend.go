package model

import (
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// OLMo-2 in vLLM since commit b83be00cdd (2026-07-09): transformers' modeling_olmo2.py in the
// transformers backend.

func newOlmo2Backend(b *builder) *CausalLM {
	return newBackend(b, backendParts{
		rope: func(b *builder) *nn.CosSin { // Olmo2RotaryEmbedding stays in float32
			return nn.NewCosSin(b.prefix+"rotary_emb", topology.BackendFloatRope, *b.configRope(), b.cfg.HiddenSize, b.cfg.HeadDim, true)
		},
		layer: func(b *builder, i int) backendLayer { return newOlmo2BackendLayer(b, i) },
		float: true,
	})
}

// olmo2BackendLayer is transformers' Olmo2DecoderLayer.
type olmo2BackendLayer struct {
	nn.Base
	selfAttn                                         *backendAttention
	mlp                                              *backendMLP
	postAttentionLayerNorm, postFeedForwardLayerNorm *nn.RMSNorm
}

func newOlmo2BackendLayer(b *builder, i int) *olmo2BackendLayer {
	m := &olmo2BackendLayer{}
	b = b.block(&m.Base, strconv.Itoa(i), topology.BackendLayer)
	m.selfAttn = register(b, newBackendAttention(b, i, false, true, true))
	m.mlp = register(b, newBackendMLP(b, false))
	m.postAttentionLayerNorm = b.olmo2RMSNorm("post_attention_layernorm", topology.BackendNorm, b.cfg.HiddenSize)
	m.postFeedForwardLayerNorm = b.olmo2RMSNorm("post_feedforward_layernorm", topology.BackendNorm, b.cfg.HiddenSize)
	nn.Give(m.selfAttn, 0, nn.Argument(m, 0), nn.Argument(m.selfAttn.qkv[0], 0))
	return m
}

func (m *olmo2BackendLayer) attention() *backendAttention { return m.selfAttn }

// Forward maps hidden (1, T, H), cos and sin to hidden.
func (m *olmo2BackendLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	residual := in.Tensor(0)
	x := nn.One(s.Call(m.selfAttn, residual, in[1], in[2]))
	residual = s.Add(residual, nn.One(s.Call(m.postAttentionLayerNorm, x)))
	x = nn.One(s.Call(m.mlp, residual))
	return s.Add(residual, nn.One(s.Call(m.postFeedForwardLayerNorm, x)))
}

// Inputs are hidden states, cosines and sines.
func (m *olmo2BackendLayer) Inputs() []nn.Input { return m.selfAttn.Inputs() }
