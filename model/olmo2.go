package model

import (
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/olmo2.py (v0.10.2). OLMo-3 has the same modules.

// newOlmo2ForCausalLM builds Olmo2ForCausalLM.
func newOlmo2ForCausalLM(b *builder) *CausalLM {
	b.checkOlmo2()
	if b.options.Era == topology.Era2026 {
		return newOlmo2Backend(b)
	}
	b.configRope().Float = true // transformers' Olmo2RotaryEmbedding
	m := newOlmo2Model(b)
	return &CausalLM{model: m, logits: b.logitsProcessor(b.headClass(), b.lmHead(m.embedTokens))}
}

// checkOlmo2 refuses what vLLM passes over without a word.
func (b *builder) checkOlmo2() {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkHeadDim()
	b.checkFullAttention()
}

// olmo2Model is vLLM's Olmo2Model.
type olmo2Model struct {
	embedTokens *nn.Embedding
	layers      []nn.Module
	norm        *nn.RMSNorm
}

func newOlmo2Model(b *builder) *olmo2Model {
	b = b.at("model")
	m := &olmo2Model{embedTokens: b.vocabParallelEmbedding("embed_tokens")}
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, newOlmo2DecoderLayer(b.at("layers"), i)))
	}
	m.norm = b.olmo2RMSNorm("norm", topology.PlainRMSNorm, b.cfg.HiddenSize)
	return m
}

// Forward implements decoder.
func (m *olmo2Model) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedTokens, inputIDs)) // (T, H)
	for _, layer := range m.layers {
		hidden = nn.One(s.Call(layer, positions, hidden))
	}
	return nn.One(s.Call(m.norm, hidden))
}

// olmo2DecoderLayer is vLLM's Olmo2DecoderLayer: the norms stand behind the
// attention and the MLP.
type olmo2DecoderLayer struct {
	nn.Base
	selfAttn                 *olmo2Attention
	mlp                      *olmo2MLP
	postAttentionLayerNorm   *nn.RMSNorm
	postFeedForwardLayerNorm *nn.RMSNorm
}

func newOlmo2DecoderLayer(b *builder, i int) *olmo2DecoderLayer {
	m := &olmo2DecoderLayer{}
	b = b.block(&m.Base, strconv.Itoa(i), topology.Olmo2DecoderLayer)
	m.selfAttn = register(b, newOlmo2Attention(b, i))
	nn.Give(m.selfAttn.rotaryEmb, 0, nn.Argument(m, 0), nn.Argument(m.selfAttn, 0))
	m.mlp = register(b, newOlmo2MLP(b))
	m.postAttentionLayerNorm = b.olmo2RMSNorm("post_attention_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize)
	m.postFeedForwardLayerNorm = b.olmo2RMSNorm("post_feedforward_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize)
	return m
}

// Forward maps positions (T,) and hidden (T, H) to (T, H). Each residual is
// added to a new tensor.
func (m *olmo2DecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	x := nn.One(s.Call(m.selfAttn, positions, hidden))
	x = nn.One(s.Call(m.postAttentionLayerNorm, x))
	hidden = s.Add(x, hidden)
	x = nn.One(s.Call(m.mlp, hidden))
	x = nn.One(s.Call(m.postFeedForwardLayerNorm, x))
	return s.Add(hidden, x)
}

// Inputs are positions and hidden.
func (m *olmo2DecoderLayer) Inputs() []nn.Input { return m.selfAttn.Inputs() }

// olmo2Attention is vLLM's Olmo2Attention: queries and keys are normalised
// over all heads before the rotation.
type olmo2Attention struct {
	nn.Base
	qkvProj      *nn.Linear
	kNorm, qNorm *nn.RMSNorm
	attn         *nn.Attention
	rotaryEmb    *nn.Rotary
	oProj        *nn.Linear
}

func newOlmo2Attention(b *builder, i int) *olmo2Attention {
	shape := b.attentionShape(i)
	q, kv := shape.Heads*shape.HeadDim, shape.KVHeads*shape.HeadDim
	m := &olmo2Attention{}
	b = b.block(&m.Base, "self_attn", topology.Olmo2Attention)
	m.qkvProj = b.qkvParallelLinear("qkv_proj", false)
	m.kNorm = b.olmo2RMSNorm("k_norm", topology.KFullNorm, kv)
	m.qNorm = b.olmo2RMSNorm("q_norm", topology.QFullNorm, q)
	m.attn = b.attention("attn", shape)
	m.rotaryEmb = register(b, b.ropeObject("rotary_emb", b.layerRope(i)))
	rotated(m.attn, m.rotaryEmb)
	nn.Give(m.rotaryEmb, 1, nn.Result(m.qNorm, 0))
	nn.Give(m.rotaryEmb, 2, nn.Result(m.kNorm, 0))
	nn.Give(m.attn, 2, nn.Result(m.qkvProj, 0).Columns(q+kv, q+2*kv))
	m.oProj = b.rowParallelLinear("o_proj", topology.OProj, q, b.cfg.HiddenSize, false)
	return m
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *olmo2Attention) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	q, k, v := splitQKV(nn.One(s.Call(m.qkvProj, hidden)), m.attn)
	q = nn.One(s.Call(m.qNorm, q)) // (T, Q)
	k = nn.One(s.Call(m.kNorm, k)) // (T, K)
	q, k = nn.Two(s.Call(m.rotaryEmb, positions, q, k))
	out := nn.One(s.Call(m.attn, q, k, v)) // (T, Q)
	return nn.One(s.Call(m.oProj, out))    // (T, H)
}

// Inputs are positions and hidden.
func (m *olmo2Attention) Inputs() []nn.Input {
	return append([]nn.Input{nn.Ints()}, m.qkvProj.Inputs()...)
}

// olmo2MLP is vLLM's Olmo2MLP: Llama's, registered in the order of its calls.
type olmo2MLP struct {
	nn.Base
	gateUpProj *nn.Linear
	actFn      *nn.SiluAndMul
	downProj   *nn.Linear
}

func newOlmo2MLP(b *builder) *olmo2MLP {
	h, i := b.cfg.HiddenSize, b.cfg.IntermediateSize
	m := &olmo2MLP{}
	b = b.block(&m.Base, "mlp", topology.DenseMLP)
	m.gateUpProj = b.mergedColumnParallelLinear("gate_up_proj", h, false, rows{"gate_proj", i}, rows{"up_proj", i})
	m.actFn = b.siluAndMul("act_fn", i)
	m.downProj = b.rowParallelLinear("down_proj", topology.DownProj, i, h, false)
	return m
}

// Forward maps (T, H) to (T, H).
func (m *olmo2MLP) Forward(s *nn.Step, in il.Tuple) il.Value {
	x := nn.One(s.Call(m.gateUpProj, in.Tensor(0))) // (T, 2I)
	x = nn.One(s.Call(m.actFn, x))                  // (T, I)
	return nn.One(s.Call(m.downProj, x))            // (T, H)
}

// Inputs are the hidden states.
func (m *olmo2MLP) Inputs() []nn.Input { return m.gateUpProj.Inputs() }
