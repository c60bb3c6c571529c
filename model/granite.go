package model

import (
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/granite.py; models/granitemoe.py shares all but the feed-forward part.

// GraniteConfig is what a Granite multiplies by.
type GraniteConfig struct {
	Embedding, Residual float64
	Attention           float64 // the scale of attention, in the place of D^-0.5
	Logits              float64 // logits are divided by it
}

// graniteFields are the multipliers' names.
var graniteFields = []string{"embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"}

// graniteDialect has transformers' defaults (configuration_granite.py).
var graniteDialect = dialect{
	fields:   graniteFields,
	defaults: map[string]string{"rms_norm_eps": "1e-6", "max_position_embeddings": "2048"},
	read:     func(c *Config, o *object) { c.readGranite(o) },
}

func (c *Config) readGranite(o *object) {
	c.Granite = &GraniteConfig{
		Embedding: o.float("embedding_multiplier", 1),
		Residual:  o.float("residual_multiplier", 1),
		Attention: o.above("attention_multiplier", 0, 1),
		Logits:    o.above("logits_scaling", 0, 1),
	}
}

// newGraniteForCausalLM builds GraniteForCausalLM.
func newGraniteForCausalLM(b *builder) *CausalLM {
	cfg := b.cfg
	b.checkAct("silu")
	b.checkFullAttention()
	return newGranite(b, func(b *builder, i int) nn.Module {
		return newGraniteDecoderLayer(
			b, i, topology.GraniteDecoderLayer,
			func(b *builder) nn.Module {
				return newGraniteAttention(b, i, cfg.Granite.Attention, cfg.QKVBias, cfg.AttentionBias)
			},
			func(b *builder) nn.Module { return newLlamaMLP(b, cfg.MLPBias) },
		)
	})
}

// newGranite builds a model around its layers. A tied head stays a module of its own.
func newGranite(b *builder, layer func(b *builder, i int) nn.Module) *CausalLM {
	m := newGraniteModel(b, layer)
	logits := b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))
	logits.Divisor = b.cfg.Granite.Logits
	return &CausalLM{model: m, logits: logits}
}

// graniteModel is vLLM's GraniteModel, and GraniteMoeModel.
type graniteModel struct {
	embedTokens *nn.Embedding
	multiplier  float64 // of the embeddings
	layers      []nn.Module
	norm        *nn.RMSNorm
}

func newGraniteModel(b *builder, layer func(b *builder, i int) nn.Module) *graniteModel {
	b = b.at("model")
	m := &graniteModel{embedTokens: b.vocabParallelEmbedding("embed_tokens"), multiplier: b.cfg.Granite.Embedding}
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, layer(b.at("layers"), i)))
	}
	m.norm = b.rmsNorm("norm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	return m
}

// Forward implements decoder.
func (m *graniteModel) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedTokens, inputIDs)) // (T, H)
	hidden = s.Times(hidden, m.multiplier)
	for _, layer := range m.layers {
		hidden = nn.One(s.Call(layer, positions, hidden))
	}
	return nn.One(s.Call(m.norm, hidden))
}

// newGraniteAttention is Llama's with a scale of its own.
func newGraniteAttention(b *builder, i int, scale float64, qkvBias, oBias bool) *llamaAttention {
	m := newLlamaAttention(b, i, qkvBias, oBias)
	m.attn.Scale = scale
	return m
}

// graniteDecoderLayer is vLLM's GraniteDecoderLayer, and GraniteMoeDecoderLayer: branches are
// multiplied before they are added to the stream.
type graniteDecoderLayer struct {
	nn.Base
	selfAttn               nn.Module
	feedForward            nn.Module // mlp, or block_sparse_moe
	inputLayerNorm         *nn.RMSNorm
	postAttentionLayerNorm *nn.RMSNorm
	multiplier             float64 // of the branches
}

func newGraniteDecoderLayer(b *builder, i int, spec *topology.Spec, attention, feedForward func(*builder) nn.Module) *graniteDecoderLayer {
	m := &graniteDecoderLayer{multiplier: b.cfg.Granite.Residual}
	b = b.block(&m.Base, strconv.Itoa(i), spec)
	m.selfAttn = register(b, attention(b))
	m.feedForward = register(b, feedForward(b))
	m.inputLayerNorm = b.rmsNorm("input_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	m.postAttentionLayerNorm = b.rmsNorm("post_attention_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	nn.Give(m.selfAttn, 0, nn.Argument(m, 0))
	nn.Give(m.selfAttn, 1, nn.Result(m.inputLayerNorm, 0))
	return m
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *graniteDecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	x := nn.One(s.Call(m.inputLayerNorm, hidden))
	x = nn.One(s.Call(m.selfAttn, positions, x))
	hidden = s.Add(hidden, s.Times(x, m.multiplier))
	x = nn.One(s.Call(m.postAttentionLayerNorm, hidden))
	x = nn.One(s.Call(m.feedForward, x))
	return s.Add(hidden, s.Times(x, m.multiplier))
}

// Inputs are positions and hidden.
func (m *graniteDecoderLayer) Inputs() []nn.Input {
	return append([]nn.Input{nn.Ints()}, m.inputLayerNorm.Inputs()...)
}
