package model

import (
	"slices"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// SmolLM3ForCausalLM has no file in vLLM: it is transformers' modeling_smollm3.py in the
// transformers backend.

// SmolLM3Config are the own fields of SmolLM-3.
type SmolLM3Config struct {
	Rotates []bool // which layers turn queries and keys
}

// smolLM3Dialect has transformers' defaults (configuration_smollm3.py).
var smolLM3Dialect = dialect{
	fields:   []string{"no_rope_layers", "no_rope_layer_interval"},
	defaults: map[string]string{"rms_norm_eps": "1e-6", "tie_word_embeddings": "true", "use_sliding_window": "false"},
	read:     readSmolLM3,
}

func readSmolLM3(c *Config, o *object) {
	if !statesTheta(o) {
		c.Rope.Theta = 2000000
	}
	own := &SmolLM3Config{}
	flags, interval := o.ints("no_rope_layers"), o.positive("no_rope_layer_interval", 4)
	if flags != nil && len(flags) < c.NumHiddenLayers {
		o.failKey("no_rope_layers", "has %d entries for %d layers", len(flags), c.NumHiddenLayers)
		return
	}
	for i := range c.NumHiddenLayers {
		if flags != nil { // 1: the layer rotates
			own.Rotates = append(own.Rotates, flags[i] != 0)
		} else {
			own.Rotates = append(own.Rotates, (i+1)%interval != 0)
		}
	}
	c.SmolLM3 = own
	given := c.LayerTypes != nil
	for i := 0; !given && i < c.NumHiddenLayers; i++ {
		kind := "full_attention"
		if c.UseSlidingWindow && c.SlidingWindow > 0 && !own.Rotates[i] {
			kind = "sliding_attention"
		}
		c.LayerTypes = append(c.LayerTypes, kind)
	}
	switch windows := slices.Contains(c.LayerTypes, "sliding_attention"); {
	case windows && !c.UseSlidingWindow:
		o.failKey("layer_types", "has layers with a window, but use_sliding_window is false: transformers reads both, vLLM the first alone")
	case !windows && c.SlidingWindow > 0:
		o.failKey("sliding_window", "is %d, and no layer has a window: vLLM of 2025 gives it to all layers, transformers to none", c.SlidingWindow)
	}
}

// newSmolLM3ForCausalLM builds SmolLM3ForCausalLM.
func newSmolLM3ForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	if b.cfg.Rope.PartialRotaryFactor != 1 {
		b.refuse("partial_rotary_factor is %v: transformers' SmolLM3 rotates whole heads", b.cfg.Rope.PartialRotaryFactor)
	}
	return newBackend(b, backendParts{
		rope: func(b *builder) *nn.CosSin {
			return nn.NewCosSin(b.prefix+"rotary_emb", topology.BackendRope, *b.configRope(), b.cfg.HiddenSize, b.cfg.HeadDim, false)
		},
		layer: func(b *builder, i int) backendLayer { return newSmolLM3DecoderLayer(b, i) },
		seen:  b.options.Era == topology.Era2025,
	})
}

// smolLM3DecoderLayer is transformers' SmolLM3DecoderLayer.
type smolLM3DecoderLayer struct {
	nn.Base
	selfAttn                               *backendAttention
	mlp                                    *backendMLP
	inputLayerNorm, postAttentionLayerNorm *nn.RMSNorm
}

func newSmolLM3DecoderLayer(b *builder, i int) *smolLM3DecoderLayer {
	c := b.cfg
	m := &smolLM3DecoderLayer{}
	b = b.block(&m.Base, strconv.Itoa(i), topology.BackendLayer)
	m.selfAttn = register(b, newBackendAttention(b, i, c.AttentionBias, false, c.SmolLM3.Rotates[i]))
	m.mlp = register(b, newBackendMLP(b, c.MLPBias))
	m.inputLayerNorm = b.rmsNorm("input_layernorm", topology.BackendNorm, c.HiddenSize, false)
	m.postAttentionLayerNorm = b.rmsNorm("post_attention_layernorm", topology.BackendNorm, c.HiddenSize, false)
	nn.Give(m.selfAttn, 0, nn.Result(m.inputLayerNorm, 0), nn.Argument(m.selfAttn.qkv[0], 0))
	return m
}

func (m *smolLM3DecoderLayer) attention() *backendAttention { return m.selfAttn }

// Forward maps hidden (1, T, H), cos and sin to hidden. Each residual is added to a new
// tensor.
func (m *smolLM3DecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	residual := in.Tensor(0)
	x := nn.One(s.Call(m.inputLayerNorm, residual))
	residual = s.Add(residual, nn.One(s.Call(m.selfAttn, x, in[1], in[2])))
	x = nn.One(s.Call(m.postAttentionLayerNorm, residual))
	return s.Add(residual, nn.One(s.Call(m.mlp, x)))
}

// Inputs are hidden states, cosines and sines.
func (m *smolLM3DecoderLayer) Inputs() []nn.Input { return m.selfAttn.Inputs() }
