package model

import (
	"slices"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// vLLM's models/exaone4.py.

// exaone4Dialect has transformers' defaults (configuration_exaone4.py).
var exaone4Dialect = dialect{
	fields:   []string{"sliding_window_pattern"},
	defaults: map[string]string{"rms_norm_eps": "1e-5"},
	read:     readExaone4,
}

// readExaone4 finds which layers have a window: those that vLLM and transformers rotate, for
// the two go by other fields.
func readExaone4(c *Config, o *object) {
	requireTheta(c, o, "vLLM takes 1000000 in its place, and transformers 10000")
	if c.Rope.PartialRotaryFactor != 1 {
		o.doc.fail("partial_rotary_factor is %v, but vLLM's Exaone4Attention rotates whole heads", c.Rope.PartialRotaryFactor)
	}
	if !o.stated("sliding_window") {
		c.SlidingWindow = 4096
	}
	if c.LayerTypes == nil {
		switch {
		case c.SlidingWindow == 0:
			o.doc.fail("layer_types is missing, and without a sliding_window transformers has no rule for it")
		case o.has("sliding_window_pattern") && o.values["sliding_window_pattern"].raw.Kind() != '0':
			o.failKey("sliding_window_pattern", "is no number: name the layers in layer_types")
		default:
			c.LayerTypes = everyNthFull(c.NumHiddenLayers, o.positive("sliding_window_pattern", 4))
		}
	}
	if c.SlidingWindow > 0 && !slices.Contains(c.LayerTypes, "sliding_attention") {
		o.failKey("layer_types", "has no layer with a window beside a sliding_window of %d: vLLM rotates all layers, transformers none", c.SlidingWindow)
	}
	c.UseSlidingWindow = c.SlidingWindow > 0
}

// everyNthFull are layers with a window but for every nth.
func everyNthFull(layers, n int) []string {
	list := make([]string, layers)
	for i := range list {
		list[i] = "sliding_attention"
		if (i+1)%n == 0 {
			list[i] = "full_attention"
		}
	}
	return list
}

// requireTheta refuses a config without the base of its rope, for which programs have
// several defaults.
func requireTheta(c *Config, o *object, defaults string) {
	if !statesTheta(o) && c.SlidingRope == nil {
		o.doc.fail("rope_theta is missing: %s; name it", defaults)
	}
}

// newExaone4ForCausalLM builds Exaone4ForCausalLM. A tied head stays a module of its own.
func newExaone4ForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	if b.cfg.AttentionBias || b.cfg.QKVBias || b.cfg.MLPBias {
		b.refuse("attention_bias or mlp_bias is true: transformers' Exaone4 has no biases, and vLLM's has")
	}
	m := newExaone4Model(b)
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// exaone4Model is vLLM's Exaone4Model.
type exaone4Model struct {
	embedTokens *nn.Embedding
	layers      []nn.Module
	norm        *nn.RMSNorm
}

func newExaone4Model(b *builder) *exaone4Model {
	b = b.at("model")
	m := &exaone4Model{embedTokens: b.vocabParallelEmbedding("embed_tokens")}
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, newExaone4DecoderLayer(b.at("layers"), i)))
	}
	m.norm = b.rmsNorm("norm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	return m
}

// Forward implements decoder.
func (m *exaone4Model) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedTokens, inputIDs)) // (T, H)
	var residual il.Value                             // None before the first layer
	for _, layer := range m.layers {
		hidden, residual = nn.Two(s.Call(layer, positions, hidden, residual))
	}
	return nn.One(s.Call(m.norm, hidden))
}

// exaone4DecoderLayer is vLLM's Exaone4DecoderLayer: the norms stand behind the attention and
// the MLP.
type exaone4DecoderLayer struct {
	nn.Base
	selfAttn                 *exaone4Attention
	mlp                      *llamaMLP
	postAttentionLayerNorm   *nn.RMSNorm
	postFeedForwardLayerNorm *nn.RMSNorm
	first                    bool
}

func newExaone4DecoderLayer(b *builder, i int) *exaone4DecoderLayer {
	m := &exaone4DecoderLayer{first: i == 0}
	b = b.block(&m.Base, strconv.Itoa(i), topology.Exaone4DecoderLayer)
	m.selfAttn = register(b, newExaone4Attention(b, i))
	m.mlp = register(b, newLlamaMLP(b, false))
	m.postAttentionLayerNorm = b.rmsNorm("post_attention_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	m.postFeedForwardLayerNorm = b.rmsNorm("post_feedforward_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	nn.Give(m.selfAttn, 0, nn.Argument(m, 0))
	nn.Give(m.selfAttn, 1, nn.Argument(m, 1), nn.Argument(m.selfAttn.qkvProj, 0))
	if m.selfAttn.rotates {
		nn.Give(m.selfAttn.rotaryEmb, 0, nn.Argument(m, 0))
	}
	return m
}

// Forward maps (positions (T,), hidden (T, H), a residual that it does not read) to the
// sums behind the MLP and behind the attention, both new.
func (m *exaone4DecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	x := nn.One(s.Call(m.selfAttn, positions, hidden))
	x = nn.One(s.Call(m.postAttentionLayerNorm, x))
	residual := s.Add(hidden, x)
	x = nn.One(s.Call(m.mlp, residual))
	x = nn.One(s.Call(m.postFeedForwardLayerNorm, x))
	return il.Tuple{s.Add(residual, x), residual}
}

// Inputs are positions, hidden and residual, which is None before the first layer.
func (m *exaone4DecoderLayer) Inputs() []nn.Input {
	in := m.mlp.Inputs()
	if m.first {
		return []nn.Input{nn.Ints(), in[0], nn.Fixed(nil)}
	}
	return []nn.Input{nn.Ints(), in[0], in[0]}
}

// exaone4Attention is vLLM's Exaone4Attention: each head of q and k is normalised, and layers
// that attend to all positions beside such with a window rotate nothing.
type exaone4Attention struct {
	nn.Base
	qkvProj, oProj *nn.Linear
	qNorm, kNorm   *nn.RMSNorm
	rotaryEmb      *nn.Rotary
	rotates        bool
	attn           *nn.Attention
}

func newExaone4Attention(b *builder, i int) *exaone4Attention {
	shape := b.attentionShape(i)
	m := &exaone4Attention{rotates: shape.Window > 0 || b.cfg.SlidingWindow == 0}
	b = b.block(&m.Base, "self_attn", topology.SelfAttention)
	m.qkvProj = b.qkvParallelLinear("qkv_proj", false)
	m.oProj = b.rowParallelLinear("o_proj", topology.OProj, shape.Heads*shape.HeadDim, b.cfg.HiddenSize, false)
	m.qNorm = b.rmsNorm("q_norm", topology.QHeadNorm, shape.HeadDim, false)
	m.kNorm = b.rmsNorm("k_norm", topology.KHeadNorm, shape.HeadDim, false)
	m.rotaryEmb = b.ropeObject("rotary_emb", *b.configRope())
	if m.rotates {
		register(b, m.rotaryEmb)
	} else {
		m.List(m.rotaryEmb)
	}
	m.attn = b.attention("attn", shape)
	m.wire()
	return m
}

// wire says what the rope and the attention are given.
func (m *exaone4Attention) wire() {
	for i, norm := range []*nn.RMSNorm{m.qNorm, m.kNorm} {
		normed := nn.Result(norm, 0)
		normed.Flat = true
		if m.rotates {
			nn.Give(m.rotaryEmb, 1+i, normed)
		} else {
			nn.Give(m.attn, i, normed)
		}
	}
	if m.rotates {
		rotated(m.attn, m.rotaryEmb)
	}
	q, kv := m.attn.Heads*m.attn.HeadDim, m.attn.KVHeads*m.attn.HeadDim
	nn.Give(m.attn, 2, nn.Result(m.qkvProj, 0).Columns(q+kv, q+2*kv))
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *exaone4Attention) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	q, k, v := splitQKV(nn.One(s.Call(m.qkvProj, hidden)), m.attn)
	q = nn.Flatten(nn.One(s.Call(m.qNorm, nn.ByHead(q, m.attn.HeadDim)))) // (T, nh, D) and back
	k = nn.Flatten(nn.One(s.Call(m.kNorm, nn.ByHead(k, m.attn.HeadDim))))
	if m.rotates {
		q, k = nn.Two(s.Call(m.rotaryEmb, positions, q, k))
	}
	out := nn.One(s.Call(m.attn, q, k, v)) // (T, Q)
	return nn.One(s.Call(m.oProj, out))    // (T, H)
}

// Inputs are positions and hidden.
func (m *exaone4Attention) Inputs() []nn.Input {
	return append([]nn.Input{nn.Ints()}, m.qkvProj.Inputs()...)
}

// statesTheta reports whether a config has the base of its rope.
func statesTheta(o *object) bool {
	return o.has("rope_theta") || slices.ContainsFunc([]string{"rope_parameters", "rope_scaling"}, func(k string) bool {
		return o.has(k) && o.sub(k).has("rope_theta")
	})
}
