package model

import (
	"math"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/gemma2.py and models/gemma3.py.

// newGemma2ForCausalLM builds Gemma2ForCausalLM. The head is the embedding in both eras.
func newGemma2ForCausalLM(b *builder) *CausalLM {
	b.checkGemma()
	b.checkUnscaledRope()
	m := newGemmaModel(b, gemmaParts{
		layer: topology.Gemma2DecoderLayer,
		attention: func(b *builder, i int) nn.Module {
			m := newLlamaAttention(b, i, b.cfg.QKVBias, b.cfg.AttentionBias)
			m.attn.Scale, m.attn.Softcap = b.cfg.Gemma.scale(), b.cfg.Gemma.AttentionSoftcap
			return m
		},
		activation: topology.GeluAndMul,
	})
	logits := b.logitsProcessor("VocabParallelEmbedding", b.lmHead(m.embedTokens))
	logits.Softcap = b.cfg.Gemma.LogitSoftcap
	return &CausalLM{model: m, logits: logits}
}

// newGemma3ForCausalLM builds Gemma3ForCausalLM.
func newGemma3ForCausalLM(b *builder) *CausalLM {
	b.checkGemma()
	if b.cfg.Gemma.AttentionSoftcap > 0 {
		b.refuse("attn_logit_softcapping %v: %s of vLLM leaves it out; expected null", b.cfg.Gemma.AttentionSoftcap, b.arch)
	}
	m := newGemmaModel(b, gemmaParts{
		layer:      topology.Gemma3DecoderLayer,
		attention:  func(b *builder, i int) nn.Module { return newGemma3Attention(b, i) },
		activation: byEra(b, topology.GeluAndMul, topology.SharedGeluAndMul),
	})
	logits := b.logitsProcessor(b.headClass(), b.lmHead(m.embedTokens))
	logits.Softcap = b.cfg.Gemma.LogitSoftcap
	return &CausalLM{model: m, logits: logits}
}

// checkGemma refuses what vLLM asserts, or passes over without a word.
func (b *builder) checkGemma() {
	b.checkAct("gelu_pytorch_tanh")
	if b.cfg.MLPBias {
		b.refuse("mlp_bias is true, but %s has no such biases", b.arch)
	}
	if !b.cfg.TieWordEmbeddings {
		b.refuse("tie_word_embeddings is false, but %s of vLLM has no head of its own: expected true", b.arch)
	}
}

// gemmaParts are what the generations differ in.
type gemmaParts struct {
	layer      *topology.Spec
	attention  func(b *builder, i int) nn.Module
	activation *topology.Spec
}

// gemmaModel is vLLM's Gemma2Model, and Gemma3Model.
type gemmaModel struct {
	embedTokens *nn.Embedding
	normalizer  float64 // of the embeddings
	layers      []nn.Module
	norm        *nn.GemmaRMSNorm
}

func newGemmaModel(b *builder, parts gemmaParts) *gemmaModel {
	b = b.at("model")
	m := &gemmaModel{embedTokens: b.vocabParallelEmbedding("embed_tokens"), normalizer: math.Sqrt(float64(b.cfg.HiddenSize))}
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, newGemmaDecoderLayer(b.at("layers"), i, parts)))
	}
	m.norm = b.gemmaRMSNorm("norm", topology.GemmaRMSNorm, b.cfg.HiddenSize, true)
	return m
}

// Forward implements decoder. The normalizer is a tensor of the model's dtype.
func (m *gemmaModel) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedTokens, inputIDs)) // (T, H)
	hidden = s.Times(hidden, s.Rounded(m.normalizer))
	var residual il.Value // None before the first layer
	for _, layer := range m.layers {
		hidden, residual = nn.Two(s.Call(layer, positions, hidden, residual))
	}
	hidden, _ = nn.Two(s.Call(m.norm, hidden, residual))
	return hidden
}

// gemmaDecoderLayer is vLLM's Gemma2DecoderLayer, and Gemma3DecoderLayer: norms before and
// behind the attention and the MLP.
type gemmaDecoderLayer struct {
	nn.Base
	selfAttn                 nn.Module
	mlp                      *gemmaMLP
	inputLayerNorm           *nn.GemmaRMSNorm
	postAttentionLayerNorm   *nn.GemmaRMSNorm
	preFeedForwardLayerNorm  *nn.GemmaRMSNorm
	postFeedForwardLayerNorm *nn.GemmaRMSNorm
}

func newGemmaDecoderLayer(b *builder, i int, parts gemmaParts) *gemmaDecoderLayer {
	h := b.cfg.HiddenSize
	m := &gemmaDecoderLayer{}
	b = b.block(&m.Base, strconv.Itoa(i), parts.layer)
	m.selfAttn = register(b, parts.attention(b, i))
	m.mlp = register(b, newGemmaMLP(b, parts.activation))
	m.inputLayerNorm = b.gemmaRMSNorm("input_layernorm", topology.GemmaRMSNorm, h, i > 0)
	m.postAttentionLayerNorm = b.gemmaRMSNorm("post_attention_layernorm", topology.PlainGemmaRMSNorm, h, false)
	m.preFeedForwardLayerNorm = b.gemmaRMSNorm("pre_feedforward_layernorm", topology.GemmaRMSNorm, h, true)
	m.postFeedForwardLayerNorm = b.gemmaRMSNorm("post_feedforward_layernorm", topology.PlainGemmaRMSNorm, h, false)
	nn.Give(m.selfAttn, 0, nn.Argument(m, 0))
	nn.Give(m.selfAttn, 1, nn.Result(m.inputLayerNorm, 0))
	if a, ok := m.selfAttn.(*gemma3Attention); ok {
		nn.Give(a.rotaryEmb, 0, nn.Argument(m, 0))
	}
	return m
}

// Forward maps (positions (T,), hidden (T, H), residual (T, H) or None) to
// (hidden, residual).
func (m *gemmaDecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden, residual := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if residual == nil {
		residual = hidden
		hidden = nn.One(s.Call(m.inputLayerNorm, hidden))
	} else {
		hidden, residual = nn.Two(s.Call(m.inputLayerNorm, hidden, residual))
	}
	hidden = nn.One(s.Call(m.selfAttn, positions, hidden))
	hidden = nn.One(s.Call(m.postAttentionLayerNorm, hidden))
	hidden, residual = nn.Two(s.Call(m.preFeedForwardLayerNorm, hidden, residual))
	hidden = nn.One(s.Call(m.mlp, hidden))
	hidden = nn.One(s.Call(m.postFeedForwardLayerNorm, hidden))
	return il.Tuple{hidden, residual}
}

// Inputs are positions, hidden and residual, which is None before the first layer.
func (m *gemmaDecoderLayer) Inputs() []nn.Input {
	in := append([]nn.Input{nn.Ints()}, m.inputLayerNorm.Inputs()...)
	if !m.inputLayerNorm.Fused {
		in = append(in, nn.Fixed(nil))
	}
	return in
}

// gemmaMLP is vLLM's Gemma2MLP, and Gemma3MLP.
type gemmaMLP struct {
	nn.Base
	gateUpProj *nn.Linear
	downProj   *nn.Linear
	actFn      *nn.GeluAndMul
}

func newGemmaMLP(b *builder, activation *topology.Spec) *gemmaMLP {
	h, i := b.cfg.HiddenSize, b.cfg.IntermediateSize
	m := &gemmaMLP{}
	b = b.block(&m.Base, "mlp", topology.DenseMLP)
	m.gateUpProj = b.mergedColumnParallelLinear("gate_up_proj", h, false, rows{"gate_proj", i}, rows{"up_proj", i})
	m.downProj = b.rowParallelLinear("down_proj", topology.DownProj, i, h, false)
	m.actFn = b.geluAndMul("act_fn", activation, i)
	nn.Give(m.actFn, 0, nn.Result(m.gateUpProj, 0))
	return m
}

// Forward maps (T, H) to (T, H).
func (m *gemmaMLP) Forward(s *nn.Step, in il.Tuple) il.Value {
	x := nn.One(s.Call(m.gateUpProj, in.Tensor(0))) // (T, 2I)
	x = nn.One(s.Call(m.actFn, x))                  // (T, I)
	return nn.One(s.Call(m.downProj, x))            // (T, H)
}

// Inputs are the hidden states.
func (m *gemmaMLP) Inputs() []nn.Input { return m.gateUpProj.Inputs() }
