package model

import (
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/commandr.py: Cohere's Command R, and the second generation (Cohere2), whose
// layers with a window alone are rotated.

// newCohereForCausalLM builds CohereForCausalLM of model_type cohere, and Cohere2ForCausalLM.
// The logits processor is registered before the model, and its head is the embedding.
func newCohereForCausalLM(b *builder) *CausalLM {
	b.checkCohere()
	rope := b.configRope()
	rope.Interleaved, rope.FloatProducts = true, true
	head := nn.Dense{Weight: b.weight("model.embed_tokens.weight", b.cfg.VocabSize, b.cfg.HiddenSize)}
	logits := b.logitsProcessor("VocabParallelEmbedding", head)
	logits.Factor = b.cfg.Cohere.LogitScale
	return &CausalLM{model: newCohereModel(b), logits: logits}
}

// checkCohere refuses what vLLM passes over without a word, or asserts.
func (b *builder) checkCohere() {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkHeadDim()
	if !b.cfg.TieWordEmbeddings {
		b.refuse("tie_word_embeddings is false, but %s of vLLM has no head of its own: expected true", b.arch)
	}
	if b.cfg.Rope.PartialRotaryFactor != 1 {
		b.refuse("partial_rotary_factor %v: vLLM's %s of 2025 leaves it out; expected 1", b.cfg.Rope.PartialRotaryFactor, b.arch)
	}
}

// cohereModel is vLLM's CohereModel.
type cohereModel struct {
	embedTokens *nn.Embedding
	layers      []nn.Module
	norm        *nn.LayerNorm
}

func newCohereModel(b *builder) *cohereModel {
	b = b.at("model")
	m := &cohereModel{embedTokens: b.vocabParallelEmbedding("embed_tokens")}
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, newCohereDecoderLayer(b.at("layers"), i)))
	}
	m.norm = b.layerNorm("norm", topology.CohereLayerNorm, b.cfg.HiddenSize)
	return m
}

// Forward implements decoder.
func (m *cohereModel) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedTokens, inputIDs)) // (T, H)
	var residual il.Value                             // None before the first layer; no layer reads it
	for _, layer := range m.layers {
		hidden, residual = nn.Two(s.Call(layer, positions, hidden, residual))
	}
	hidden, _ = nn.Two(s.Call(m.norm, hidden, residual))
	return hidden
}

// cohereDecoderLayer is vLLM's CohereDecoderLayer: attention and MLP are given the same
// normalised states.
type cohereDecoderLayer struct {
	nn.Base
	selfAttn       *cohereAttention
	mlp            *llamaMLP
	inputLayerNorm *nn.LayerNorm
	first          bool
}

func newCohereDecoderLayer(b *builder, i int) *cohereDecoderLayer {
	m := &cohereDecoderLayer{first: i == 0}
	b = b.block(&m.Base, strconv.Itoa(i), topology.CohereDecoderLayer)
	m.selfAttn = register(b, newCohereAttention(b, i))
	m.mlp = register(b, newLlamaMLP(b, false))
	m.inputLayerNorm = b.layerNorm("input_layernorm", topology.CohereLayerNorm, b.cfg.HiddenSize)
	nn.Give(m.selfAttn, 0, nn.Argument(m, 0))
	nn.Give(m.selfAttn, 1, nn.Result(m.inputLayerNorm, 0))
	if m.selfAttn.rotated {
		nn.Give(m.selfAttn.rotaryEmb, 0, nn.Argument(m, 0))
	}
	return m
}

// Forward maps (positions (T,), hidden (T, H), what the layer before was given) to
// (hidden, what this layer was given).
func (m *cohereDecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, residual := in.Tensor(0), in.Tensor(1)
	hidden, residual := nn.Two(s.Call(m.inputLayerNorm, residual, residual))
	attention := nn.One(s.Call(m.selfAttn, positions, hidden))
	x := nn.One(s.Call(m.mlp, hidden))
	return il.Tuple{s.Add(s.Add(residual, attention), x), residual}
}

// Inputs are positions, hidden and a residual, which is None before the first layer.
func (m *cohereDecoderLayer) Inputs() []nn.Input {
	in := m.inputLayerNorm.Inputs()
	if m.first {
		in[1] = nn.Fixed(nil)
	}
	return append([]nn.Input{nn.Ints()}, in...)
}

// cohereAttention is vLLM's CohereAttention: heads of q and k may be normalised, each by
// weights of its own, and layers without a window are not rotated in Cohere2.
type cohereAttention struct {
	llamaAttention
	qNorm, kNorm *nn.LayerNorm // nil without use_qk_norm
	rotated      bool
}

func newCohereAttention(b *builder, i int) *cohereAttention {
	c := b.cfg
	m := &cohereAttention{rotated: c.LayerTypes == nil || c.window(i) > 0}
	shape := b.attentionShape(i)
	b = b.block(&m.Base, "self_attn", topology.SelfAttention)
	m.qkvProj = b.qkvParallelLinear("qkv_proj", false)
	m.oProj = b.rowParallelLinear("o_proj", topology.OProj, shape.Heads*shape.HeadDim, c.HiddenSize, false)
	if m.rotated {
		m.rotaryEmb = b.getRope("rotary_emb")
	} else {
		m.List(b.ropeObject("rotary_emb", *b.configRope()))
	}
	m.attn = b.attention("attn", shape)
	if c.Cohere.QKNorm {
		m.qNorm = b.layerNorm("q_norm", topology.CohereQNorm, c.NumAttentionHeads, c.HeadDim)
		m.kNorm = b.layerNorm("k_norm", topology.CohereKNorm, c.NumKeyValueHeads, c.HeadDim)
	}
	m.wire()
	return m
}

// wire says where arguments come from that hooks may not have recorded.
func (m *cohereAttention) wire() {
	switch {
	case m.rotated:
		rotated(m.attn, m.rotaryEmb)
		positions := nn.Argument(m.rotaryEmb, 0)
		positions.Any = true
		nn.Give(m, 0, positions)
		m.given(m.rotaryEmb, 1)
	default:
		m.given(m.attn, 0)
	}
}

// given says that queries and keys are arguments at and at+1 of the next module, and values
// those of the attention.
func (m *cohereAttention) given(next nn.Module, at int) {
	q, kv := m.attn.Heads*m.attn.HeadDim, m.attn.KVHeads*m.attn.HeadDim
	x := nn.Result(m.qkvProj, 0)
	nn.Give(m.attn, 2, x.Columns(q+kv, q+2*kv))
	if m.qNorm == nil {
		nn.Give(next, at, x.Columns(0, q))
		nn.Give(next, at+1, x.Columns(q, q+kv))
		return
	}
	for i, norm := range []*nn.LayerNorm{m.qNorm, m.kNorm} {
		y := nn.Result(norm, 0)
		y.Flat = true
		nn.Give(next, at+i, y)
	}
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *cohereAttention) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	q, k, v := splitQKV(nn.One(s.Call(m.qkvProj, hidden)), m.attn)
	if m.qNorm != nil {
		q = nn.Flatten(nn.One(s.Call(m.qNorm, nn.ByHead(q, m.attn.HeadDim)))) // (T, nh, D) and back
		k = nn.Flatten(nn.One(s.Call(m.kNorm, nn.ByHead(k, m.attn.HeadDim))))
	}
	if m.rotated {
		q, k = nn.Two(s.Call(m.rotaryEmb, positions, q, k))
	}
	out := nn.One(s.Call(m.attn, q, k, v)) // (T, Q)
	return nn.One(s.Call(m.oProj, out))    // (T, H)
}
