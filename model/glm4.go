package model

import (
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/glm4.py and models/glm.py.

// glm4Dialect has transformers' defaults (configuration_glm4.py). Half of each head turns.
var glm4Dialect = dialect{
	defaults: map[string]string{
		"attention_bias": "true", "head_dim": "128", "rms_norm_eps": "1.5625e-7", "max_position_embeddings": "131072",
	},
	read: func(c *Config, o *object) { c.halfRotary(o) },
}

// glmDialect is configuration_glm.py's.
var glmDialect = dialect{
	defaults: glm4Dialect.defaults,
	read:     func(c *Config, o *object) { c.halfRotary(o) },
}

// halfRotary is the default of partial_rotary_factor in these families.
func (c *Config) halfRotary(o *object) {
	if !o.has("partial_rotary_factor") && !o.sub("rope_parameters").has("partial_rotary_factor") && !o.sub("rope_scaling").has("partial_rotary_factor") {
		c.Rope.PartialRotaryFactor = 0.5
	}
}

// newGlmForCausalLM builds GlmForCausalLM: Llama with another rope, and no bias in o_proj.
func newGlmForCausalLM(b *builder) *CausalLM {
	b.checkGlm()
	if b.cfg.Rope.PartialRotaryFactor != 0.5 {
		b.refuse("partial_rotary_factor %v: %s of vLLM takes 0.5", b.cfg.Rope.PartialRotaryFactor, b.arch)
	}
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newLlamaAttention(b, i, b.cfg.AttentionBias, false) },
			func(b *builder) nn.Module { return newLlamaMLP(b, false) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// newGlm4ForCausalLM builds Glm4ForCausalLM.
func newGlm4ForCausalLM(b *builder) *CausalLM {
	b.checkGlm()
	m := newLlamaModel(b, func(b *builder, i int) nn.Module { return newGlm4DecoderLayer(b, i) })
	return &CausalLM{model: m, logits: b.logitsProcessor(b.headClass(), b.lmHead(m.embedTokens))}
}

// checkGlm makes the rope turn neighbours, and refuses what vLLM passes over.
func (b *builder) checkGlm() {
	b.checkAct("silu")
	b.checkFullAttention()
	if b.cfg.MLPBias {
		b.refuse("mlp_bias is true, but %s has no such biases", b.arch)
	}
	b.configRope().Interleaved = true
}

// glm4DecoderLayer is vLLM's Glm4DecoderLayer: Llama's, with norms behind the attention and
// the MLP before their results meet the residual.
type glm4DecoderLayer struct {
	llamaDecoderLayer
	postSelfAttnLayerNorm *nn.RMSNorm
	postMLPLayerNorm      *nn.RMSNorm
}

func newGlm4DecoderLayer(b *builder, i int) *glm4DecoderLayer {
	m := &glm4DecoderLayer{}
	b = b.block(&m.Base, strconv.Itoa(i), topology.Glm4DecoderLayer)
	m.build(
		b, m, i,
		func(b *builder) nn.Module { return newLlamaAttention(b, i, b.cfg.AttentionBias, false) },
		func(b *builder) nn.Module { return newLlamaMLP(b, false) },
	)
	m.postSelfAttnLayerNorm = b.rmsNorm("post_self_attn_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	m.postMLPLayerNorm = b.rmsNorm("post_mlp_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	return m
}

// Forward maps (positions (T,), hidden (T, H), residual (T, H) or None) to
// (hidden, residual).
func (m *glm4DecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden, residual := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if residual == nil {
		residual = hidden
		hidden = nn.One(s.Call(m.inputLayerNorm, hidden))
	} else {
		hidden, residual = nn.Two(s.Call(m.inputLayerNorm, hidden, residual))
	}
	hidden = nn.One(s.Call(m.selfAttn, positions, hidden))
	hidden = nn.One(s.Call(m.postSelfAttnLayerNorm, hidden))
	hidden, residual = nn.Two(s.Call(m.postAttentionLayerNorm, hidden, residual))
	hidden = nn.One(s.Call(m.mlp, hidden))
	hidden = nn.One(s.Call(m.postMLPLayerNorm, hidden))
	return il.Tuple{hidden, residual}
}
