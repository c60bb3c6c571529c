package model

import (
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/llama.py: Llama 1 to 3.2 and the many models that use its class.
// Its parts are those of the other architectures here too.

// newLlamaForCausalLM builds LlamaForCausalLM. A tied head stays a module of
// its own, with the embedding's weight.
func newLlamaForCausalLM(b *builder) *CausalLM {
	cfg := b.cfg
	b.checkAct("silu")
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newLlamaAttention(b, i, cfg.QKVBias, cfg.AttentionBias) },
			func(b *builder) nn.Module { return newLlamaMLP(b, cfg.MLPBias) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// checkAct refuses another activation than that of the architecture's MLP.
func (b *builder) checkAct(act string) {
	if b.cfg.HiddenAct != act {
		b.refuse("hidden_act %q is not supported: expected %q", b.cfg.HiddenAct, act)
	}
}

// checkBiases refuses biases of the config that the architecture does not
// have.
func (b *builder) checkBiases(oProj, mlp bool) {
	if b.cfg.MLPBias && !mlp {
		b.refuse("mlp_bias is true, but %s has no such biases", b.arch)
	}
	if b.cfg.AttentionBias && !oProj {
		b.refuse("attention_bias is true, but %s has no bias in o_proj", b.arch)
	}
}

// llamaModel is vLLM's LlamaModel.
type llamaModel struct {
	embedTokens *nn.Embedding
	layers      []nn.Module
	norm        *nn.RMSNorm
}

// newLlamaModel builds a decoder of layers that take and return the residual
// beside the hidden states.
func newLlamaModel(b *builder, layer func(b *builder, i int) nn.Module) *llamaModel {
	b = b.at("model")
	m := &llamaModel{embedTokens: b.vocabParallelEmbedding("embed_tokens")}
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, layer(b.at("layers"), i)))
	}
	m.norm = b.rmsNorm("norm", topology.RMSNorm, b.cfg.HiddenSize, true)
	return m
}

// Forward implements decoder.
func (m *llamaModel) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedTokens, inputIDs)) // (T, H)
	var residual il.Value                             // None before the first layer
	for _, layer := range m.layers {
		hidden, residual = nn.Two(s.Call(layer, positions, hidden, residual))
	}
	hidden, _ = nn.Two(s.Call(m.norm, hidden, residual))
	return hidden
}

// llamaDecoderLayer is vLLM's LlamaDecoderLayer.
type llamaDecoderLayer struct {
	nn.Base
	selfAttn               nn.Module
	mlp                    nn.Module
	inputLayerNorm         *nn.RMSNorm
	postAttentionLayerNorm *nn.RMSNorm
}

// newLlamaDecoderLayer builds layer i around an attention, which is given
// positions and hidden states, and an MLP.
func newLlamaDecoderLayer(b *builder, i int, attention, mlp func(*builder) nn.Module) *llamaDecoderLayer {
	m := &llamaDecoderLayer{}
	m.build(b.block(&m.Base, strconv.Itoa(i), topology.DecoderLayer), m, i, attention, mlp)
	return m
}

// build makes the children of layer, which m is part of.
func (m *llamaDecoderLayer) build(b *builder, layer nn.Module, i int, attention, mlp func(*builder) nn.Module) {
	m.selfAttn = register(b, attention(b))
	m.mlp = register(b, mlp(b))
	m.inputLayerNorm = b.rmsNorm("input_layernorm", topology.RMSNorm, b.cfg.HiddenSize, i > 0)
	m.postAttentionLayerNorm = b.rmsNorm("post_attention_layernorm", topology.RMSNorm, b.cfg.HiddenSize, true)
	nn.Give(m.selfAttn, 0, nn.Argument(layer, 0))
	nn.Give(m.selfAttn, 1, nn.Result(m.inputLayerNorm, 0))
}

// Forward maps (positions (T,), hidden (T, H), residual (T, H) or None) to
// (hidden, residual).
func (m *llamaDecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden, residual := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if residual == nil {
		residual = hidden
		hidden = nn.One(s.Call(m.inputLayerNorm, hidden))
	} else {
		hidden, residual = nn.Two(s.Call(m.inputLayerNorm, hidden, residual))
	}
	hidden = nn.One(s.Call(m.selfAttn, positions, hidden))
	hidden, residual = nn.Two(s.Call(m.postAttentionLayerNorm, hidden, residual))
	hidden = nn.One(s.Call(m.mlp, hidden))
	return il.Tuple{hidden, residual}
}

// Inputs are positions, hidden and residual, which is None before the first
// layer.
func (m *llamaDecoderLayer) Inputs() []nn.Input {
	in := m.inputLayerNorm.Inputs()
	if !m.inputLayerNorm.Fused {
		return []nn.Input{nn.Ints(), in[0], nn.Fixed(nil)}
	}
	return []nn.Input{nn.Ints(), in[0], in[1]}
}

// llamaAttention is vLLM's LlamaAttention.
type llamaAttention struct {
	nn.Base
	qkvProj   *nn.Linear
	oProj     *nn.Linear
	rotaryEmb *nn.Rotary
	attn      *nn.Attention
}

// newLlamaAttention builds the attention of layer i.
func newLlamaAttention(b *builder, i int, qkvBias, oBias bool) *llamaAttention {
	m := &llamaAttention{}
	m.build(b, i, qkvBias, oBias)
	projected(m.qkvProj, m.rotaryEmb, m.attn)
	return m
}

// build makes the children that its kin have too, and returns the builder of
// more.
func (m *llamaAttention) build(b *builder, i int, qkvBias, oBias bool) *builder {
	shape := b.attentionShape(i)
	b = b.block(&m.Base, "self_attn", topology.SelfAttention)
	m.qkvProj = b.qkvParallelLinear("qkv_proj", qkvBias)
	m.oProj = b.rowParallelLinear("o_proj", topology.OProj, shape.Heads*shape.HeadDim, b.cfg.HiddenSize, oBias)
	m.rotaryEmb = b.getRope("rotary_emb")
	m.attn = b.attention("attn", shape)
	rotated(m.attn, m.rotaryEmb)
	positions := nn.Argument(m.rotaryEmb, 0)
	positions.Any = true
	nn.Give(m, 0, positions)
	return b
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *llamaAttention) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	q, k, v := splitQKV(nn.One(s.Call(m.qkvProj, hidden)), m.attn)
	q, k = nn.Two(s.Call(m.rotaryEmb, positions, q, k))
	out := nn.One(s.Call(m.attn, q, k, v)) // (T, Q)
	return nn.One(s.Call(m.oProj, out))    // (T, H)
}

// Inputs are positions and hidden.
func (m *llamaAttention) Inputs() []nn.Input {
	return append([]nn.Input{nn.Ints()}, m.qkvProj.Inputs()...)
}

// llamaMLP is vLLM's LlamaMLP.
type llamaMLP struct {
	nn.Base
	gateUpProj *nn.Linear
	downProj   *nn.Linear
	actFn      *nn.SiluAndMul
}

// newLlamaMLP builds the feed-forward part of a layer.
func newLlamaMLP(b *builder, bias bool) *llamaMLP {
	m := &llamaMLP{}
	m.build(b, "mlp", b.cfg.IntermediateSize, bias, topology.DenseMLP, topology.DownProj)
	return m
}

// build makes the children, for so many intermediate values and of the classes of the MLP
// and of its down_proj, and returns the builder of more.
func (m *llamaMLP) build(b *builder, name string, width int, bias bool, mlp, down *topology.Spec) *builder {
	b = b.block(&m.Base, name, mlp)
	m.gateUpProj = b.mergedColumnParallelLinear("gate_up_proj", b.cfg.HiddenSize, bias, rows{"gate_proj", width}, rows{"up_proj", width})
	m.downProj = b.rowParallelLinear("down_proj", down, width, b.cfg.HiddenSize, bias)
	m.actFn = b.siluAndMul("act_fn", width)
	return b
}

// Forward maps (T, H) to (T, H).
func (m *llamaMLP) Forward(s *nn.Step, in il.Tuple) il.Value {
	x := nn.One(s.Call(m.gateUpProj, in.Tensor(0))) // (T, 2I)
	x = nn.One(s.Call(m.actFn, x))                  // (T, I)
	return nn.One(s.Call(m.downProj, x))            // (T, H)
}

// Inputs are the hidden states.
func (m *llamaMLP) Inputs() []nn.Input { return m.gateUpProj.Inputs() }
