package model

import (
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/deepseek_v2.py: DeepSeek-V2, DeepSeek-V3 and Kimi K2.

// newDeepseekForCausalLM builds DeepseekV2ForCausalLM and DeepseekV3ForCausalLM.
func newDeepseekForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkUntied()
	b.skipNextLayers(b.cfg.Deepseek.NextLayers)
	m := newDeepseekModel(b)
	out := &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
	if scale := b.cfg.Deepseek.RoutedScale; scale != 1 {
		out.NoFloat16 = "vLLM scales its residual stream by 1/routed_scaling_factor, which is not supported"
	}
	return out
}

// checkUntied refuses a tied head where vLLM has no code for one.
func (b *builder) checkUntied() {
	if b.cfg.TieWordEmbeddings {
		b.refuse("tie_word_embeddings is true, but vLLM does not tie the head of %s", b.arch)
	}
}

// skipNextLayers passes over the weights of layers behind the last, which predict further
// tokens.
func (b *builder) skipNextLayers(n int) {
	for i := range n {
		b.c.skip("model.layers." + strconv.Itoa(b.cfg.NumHiddenLayers+i) + ".")
	}
}

// deepseekModel is vLLM's DeepseekV2Model.
type deepseekModel struct {
	embedTokens *nn.Embedding
	layers      []nn.Module
	norm        *nn.RMSNorm
	scaled      []il.Value // what layers are given behind the residual: in 2026 a scale of queries, None
}

func newDeepseekModel(b *builder) *deepseekModel {
	b = b.at("model")
	m := &deepseekModel{embedTokens: b.vocabParallelEmbedding("embed_tokens"), scaled: byEra(b, nil, []il.Value{nil})}
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, newDeepseekDecoderLayer(b.at("layers"), i)))
	}
	m.norm = b.rmsNorm("norm", topology.RMSNorm, b.cfg.HiddenSize, true)
	return m
}

// Forward implements decoder.
func (m *deepseekModel) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedTokens, inputIDs)) // (T, H)
	var residual il.Value                             // None before the first layer
	for _, layer := range m.layers {
		hidden, residual = nn.Two(s.Call(layer, append([]il.Value{positions, hidden, residual}, m.scaled...)...))
	}
	hidden, _ = nn.Two(s.Call(m.norm, hidden, residual))
	return hidden
}

// deepseekDecoderLayer is vLLM's DeepseekV2DecoderLayer.
type deepseekDecoderLayer struct {
	nn.Base
	selfAttn               *deepseekAttention
	mlp                    nn.Module
	inputLayerNorm         *nn.RMSNorm
	postAttentionLayerNorm *nn.RMSNorm
	scaled                 []il.Value
}

func newDeepseekDecoderLayer(b *builder, i int) *deepseekDecoderLayer {
	m := &deepseekDecoderLayer{scaled: byEra(b, nil, []il.Value{nil})}
	b = b.block(&m.Base, strconv.Itoa(i), byEra(b, topology.DeepseekDecoderLayer, topology.DeepseekDecoderLayer2026))
	m.selfAttn = register(b, newDeepseekAttention(b))
	m.mlp = register(b, newDeepseekMLP(b, i))
	m.inputLayerNorm = b.rmsNorm("input_layernorm", topology.RMSNorm, b.cfg.HiddenSize, i > 0)
	m.postAttentionLayerNorm = b.rmsNorm("post_attention_layernorm", topology.RMSNorm, b.cfg.HiddenSize, true)
	for _, x := range []nn.Module{m.selfAttn, m.selfAttn.mlaAttn} {
		nn.Give(x, 0, nn.Argument(m, 0))
		nn.Give(x, 1, nn.Result(m.inputLayerNorm, 0))
	}
	return m
}

// Forward maps (positions (T,), hidden (T, H), residual (T, H) or None), and in 2026 None, to
// (hidden, residual).
func (m *deepseekDecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden, residual := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if residual == nil {
		residual = hidden
		hidden = nn.One(s.Call(m.inputLayerNorm, hidden))
	} else {
		hidden, residual = nn.Two(s.Call(m.inputLayerNorm, hidden, residual))
	}
	hidden = nn.One(s.Call(m.selfAttn, append([]il.Value{positions, hidden}, m.scaled...)...))
	hidden, residual = nn.Two(s.Call(m.postAttentionLayerNorm, hidden, residual))
	hidden = nn.One(s.Call(m.mlp, hidden))
	return il.Tuple{hidden, residual}
}

// Inputs are positions, hidden and residual, which is None before the first layer.
func (m *deepseekDecoderLayer) Inputs() []nn.Input {
	in := m.inputLayerNorm.Inputs()
	list := []nn.Input{nn.Ints(), in[0], nn.Fixed(nil)}
	if m.inputLayerNorm.Fused {
		list[2] = in[1]
	}
	return append(list, fixed(m.scaled)...)
}

// fixed describes arguments that are the same in every call.
func fixed(values []il.Value) []nn.Input {
	var list []nn.Input
	for _, v := range values {
		list = append(list, nn.Fixed(v))
	}
	return list
}
