package model

import (
	"slices"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// Llama4Config is what config.json says of Llama 4 alone.
type Llama4Config struct {
	NoRopeLayers     []int // of each layer 0 where it does not rotate; nil for none given
	NoRopeInterval   int   // every so many layers one does not rotate, where there is no list
	QKNorm           bool  // rotated queries and keys are normalised
	Chunk            int   // positions of a chunk, within which the layers that rotate attend; 0 for all
	Tempered         bool  // attention of the others is sharper over longer contexts: transformers; see llama4Tempered
	Temperature      nn.Temperature
	IntermediateSize int   // of the dense layers
	MoELayers        []int // that have experts; nil where the file does not say, and read by transformers alone
}

// rotates reports whether a layer does.
func (c *Llama4Config) rotates(layer int) bool {
	if len(c.NoRopeLayers) > 0 {
		return c.NoRopeLayers[layer] != 0
	}
	return (layer+1)%c.NoRopeInterval != 0
}

// llama4Dialect has transformers' defaults (configuration_llama4.py).
var llama4Dialect = dialect{
	fields: []string{
		"intermediate_size_mlp", "num_local_experts", "num_experts_per_tok", "interleave_moe_layer_step", "moe_layers", "use_qk_norm",
		"no_rope_layers", "no_rope_layer_interval", "attention_chunk_size", "attn_temperature_tuning", "floor_scale", "attn_scale",
		"output_router_logits", "router_aux_loss_coef", "router_jitter_noise",
	},
	defaults: map[string]string{
		"head_dim": "128", "rms_norm_eps": "1e-5", "intermediate_size": "8192", "intermediate_size_mlp": "16384",
		"num_local_experts": "16", "num_experts_per_tok": "1",
	},
	read: readLlama4,
}

func readLlama4(c *Config, o *object) {
	c.defaultTheta(o, 500000)
	c.readExperts(o, "num_local_experts", "num_experts_per_tok")
	if c.Experts.TopK != 1 {
		o.failKey("num_experts_per_tok", "is %d: Llama4ForCausalLM weighs what an expert takes, so that a token has 1", c.Experts.TopK)
	}
	c.Experts.Step = o.positive("interleave_moe_layer_step", 1)
	c.Llama4 = &Llama4Config{
		QKNorm: o.bool("use_qk_norm", true), Chunk: llama4Chunk(o), Tempered: truth(o, "attn_temperature_tuning", true),
		Temperature:      nn.Temperature{Floor: o.above("floor_scale", 0, 8192), Scale: o.float("attn_scale", 0.1)},
		IntermediateSize: o.positive("intermediate_size_mlp", 0), MoELayers: o.ints("moe_layers"),
		NoRopeLayers: o.ints("no_rope_layers"), NoRopeInterval: o.positive("no_rope_layer_interval", 4),
	}
	if o.doc.err == nil {
		c.checkNoRope(o)
	}
}

// llama4Chunk is attention_chunk_size, which null turns off and nothing leaves at its
// default.
func llama4Chunk(o *object) int {
	if _, given := o.values["attention_chunk_size"]; given && !o.has("attention_chunk_size") {
		return 0
	}
	return o.positive("attention_chunk_size", 8192)
}

// truth is a bool that older files have as a number.
func truth(o *object, key string, otherwise bool) bool {
	if o.has(key) && o.values[key].raw.Kind() == '0' {
		return o.float(key, 0) != 0
	}
	return o.bool(key, otherwise)
}

// checkNoRope holds the lists of a value a layer against the layers.
func (c *Config) checkNoRope(o *object) {
	if n := len(c.Llama4.NoRopeLayers); n > 0 && n < c.NumHiddenLayers {
		o.failKey("no_rope_layers", "has %d entries for %d layers", n, c.NumHiddenLayers)
		return
	}
	for i, t := range c.LayerTypes[:min(len(c.LayerTypes), c.NumHiddenLayers)] {
		if want := c.Llama4.layerType(i); t != want {
			o.failKey("layer_types", "holds %q for layer %d: Llama4ForCausalLM does not read it, and has %q there", t, i, want)
			return
		}
	}
	c.LayerTypes = nil // what they say is what NoRopeLayers do
}

// layerType is the name that transformers has for what a layer attends to.
func (c *Llama4Config) layerType(i int) string {
	if c.rotates(i) {
		return "chunked_attention"
	}
	return "full_attention"
}

// checkLlama4 refuses what vLLM passes over without a word.
func (b *builder) checkLlama4() {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkFullAttention()
	switch c := b.cfg; {
	case c.QKVBias:
		b.refuse("qkv_bias is true, but %s has no biases", b.arch)
	case c.Rope.Type != "default" && c.Rope.Type != "llama3":
		b.refuse("rope_type %q is not supported for %s: expected default or llama3", c.Rope.Type, b.arch)
	case c.Rope.PartialRotaryFactor != 1:
		b.refuse("partial_rotary_factor is %v: %s rotates whole heads", c.Rope.PartialRotaryFactor, b.arch)
	}
}

// llama4Tempered reports whether attention without a rope is tempered. vLLM writes over the
// config's value: generation_config.json says so, or else that requests may be longer than
// 32,768 tokens (models/llama4.py). transformers reads the config.
func (b *builder) llama4Tempered() bool {
	const long = 32768
	switch on := b.c.Generation.AttnTemperatureTuning; {
	case b.options.DynamicRope == DynamicTransformers:
		return b.cfg.Llama4.Tempered
	case on != nil:
		return *on
	}
	return b.options.MaxModelLen > long
}

// llama4Rope: transformers computes it whole in float32, and vLLM of 2025 takes the base as
// an integer.
func (b *builder) llama4Rope() {
	rope := b.configRope()
	rope.Float = true
	if b.options.Era == topology.Era2025 && b.options.DynamicRope != DynamicTransformers {
		rope.Theta = float64(int(rope.Theta))
	}
}

// checkMoELayer refuses a list that tells of a layer what vLLM, which does not read it,
// has otherwise.
func (b *builder) checkMoELayer(i int) {
	if list := b.cfg.Llama4.MoELayers; list != nil && slices.Contains(list, i) != b.cfg.Experts.sparse(i) {
		b.refuse("moe_layers does not go with interleave_moe_layer_step %d in layer %d: %s reads the latter alone", b.cfg.Experts.Step, i, b.arch)
	}
}
