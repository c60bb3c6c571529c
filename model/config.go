package model

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/tensor"
)

// Config is what config.json of a Hugging Face checkpoint says about the
// arithmetic, in one form for all versions of the file and all families of models.
type Config struct {
	File          string   // where it was read, for messages
	Architectures []string // class names: "LlamaForCausalLM"
	ModelType     string   // "llama"

	HiddenSize            int
	IntermediateSize      int
	NumHiddenLayers       int
	NumAttentionHeads     int
	NumKeyValueHeads      int // default NumAttentionHeads
	HeadDim               int // default HiddenSize / NumAttentionHeads
	VocabSize             int
	MaxPositionEmbeddings int
	RMSNormEps            float64
	HiddenAct             string // default "silu"

	TieWordEmbeddings bool // the output layer shares the weight of the embedding
	AttentionBias     bool // attention_bias or bias: of o_proj, and of q, k, v unless QKVBias differs
	QKVBias           bool // qkv_bias, otherwise AttentionBias
	MLPBias           bool

	DType       tensor.DType // dtype or torch_dtype; Invalid where the file does not say
	Rope        Rope
	SmolLM3     *SmolLM3Config // own fields of the family
	SlidingRope *Rope          // of layers with a window, where the config has one for each type of layers

	SlidingWindow    int      // positions that attention sees; 0 for all
	UseSlidingWindow bool     // whether SlidingWindow is in force: use_sliding_window, by default if there is a window
	MaxWindowLayers  int      // Qwen2: layers from this one on have the window; 0 where not given
	LayerTypes       []string // "full_attention" or "sliding_attention" per layer; nil where not given

	Experts  ExpertsConfig // of mixtures of experts
	Gemma    *GemmaConfig
	Granite  *GraniteConfig // nil of other families
	Cohere   *CohereConfig
	Llama4   *Llama4Config
	Deepseek *DeepseekConfig
	QKNorm   bool // use_qk_norm: GLM-4 normalises each head of queries and keys

	BOSTokenID  int   // -1 for none
	EOSTokenIDs []int // empty for none

	Warnings []string // fields that were taken as remarks
}

// needed are the keys without which nothing can be computed.
var needed = []struct{ key, meaning string }{
	{"architectures", "the class of the model, such as [\"LlamaForCausalLM\"]"},
	{"hidden_size", "the width of the hidden states"},
	{"intermediate_size", "the width of the MLP"},
	{"num_hidden_layers", "the number of decoder layers"},
	{"num_attention_heads", "the number of query heads"},
	{"vocab_size", "the number of token ids"},
	{"rms_norm_eps", "the epsilon of RMSNorm"},
}

// ParseConfig reads the bytes of a config.json. The file name is for messages.
func ParseConfig(file string, data []byte) (*Config, error) {
	o := parseObject(file, data)
	c := &Config{File: file}
	if o.doc.err == nil {
		c.read(o)
	}
	if o.doc.err == nil {
		c.check(o)
	}
	if o.doc.err != nil {
		return nil, o.doc.err
	}
	return c, nil
}

func (c *Config) read(o *object) {
	d := dialectOf(o.strings("architectures"))
	d.translate(o)
	for _, n := range needed {
		o.require(n.key, n.meaning)
	}
	positions := o.first("max_position_embeddings", "max_sequence_length")
	if !o.has(positions) {
		o.require("max_position_embeddings", "the number of positions")
	}
	c.Architectures = o.strings("architectures")
	c.ModelType = o.string("model_type", "")
	c.HiddenSize = o.positive("hidden_size", 0)
	c.IntermediateSize = o.positive("intermediate_size", 0)
	c.NumHiddenLayers = o.positive("num_hidden_layers", 0)
	c.NumAttentionHeads = o.positive("num_attention_heads", 0)
	c.NumKeyValueHeads = o.positive("num_key_value_heads", c.NumAttentionHeads)
	c.HeadDim = o.positive("head_dim", 0)
	c.VocabSize = o.positive("vocab_size", 0)
	c.MaxPositionEmbeddings = o.positive(positions, 0)
	c.RMSNormEps = o.above("rms_norm_eps", 0, 0)
	c.HiddenAct = o.string("hidden_act", "silu")
	c.TieWordEmbeddings = o.bool("tie_word_embeddings", false)
	c.AttentionBias = o.bool("attention_bias", false) || o.bool("bias", false)
	c.QKVBias = o.bool("qkv_bias", c.AttentionBias)
	c.MLPBias = o.bool("mlp_bias", false)
	c.DType = configDType(o)
	c.Rope = c.readRope(o, d)
	if o.bool("use_sliding_window", true) {
		c.SlidingWindow = o.positive("sliding_window", 0)
	} else { // transformers writes 0 for none
		c.SlidingWindow = o.natural("sliding_window", 0)
	}
	c.UseSlidingWindow = o.bool("use_sliding_window", c.SlidingWindow > 0)
	c.MaxWindowLayers = o.natural("max_window_layers", 0)
	c.LayerTypes = o.strings("layer_types")
	c.BOSTokenID = o.int("bos_token_id", -1)
	c.EOSTokenIDs = o.ints("eos_token_id")
	if d.read != nil {
		d.read(c, o)
	}
	c.checkFields(o, d.fields)
}

// configDType reads the element type under its new or its old name.
func configDType(o *object) tensor.DType {
	key := o.first("dtype", "torch_dtype")
	if !o.has(key) {
		return tensor.Invalid
	}
	name := o.string(key, "")
	if old := o.string("torch_dtype", name); old != name {
		o.failKey("torch_dtype", "is %q, but dtype is %q", old, name)
	}
	d, ok := tensor.ParseDType(name)
	if !ok || !d.IsFloat() {
		o.failKey(key, "is %q, expected float64, float32, float16 or bfloat16", name)
	}
	return d
}

// check tests the values against each other.
func (c *Config) check(o *object) {
	if c.HeadDim == 0 {
		if c.HiddenSize%c.NumAttentionHeads != 0 {
			o.doc.fail("hidden_size %d is no multiple of num_attention_heads %d, and there is no head_dim", c.HiddenSize, c.NumAttentionHeads)
			return
		}
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
	}
	if len(c.Architectures) == 0 {
		o.failKey("architectures", "is empty, expected the class of the model")
	}
	if c.NumAttentionHeads%c.NumKeyValueHeads != 0 {
		o.doc.fail("num_attention_heads %d is no multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	}
	if c.UseSlidingWindow && c.SlidingWindow == 0 {
		o.failKey("use_sliding_window", "is true, but there is no sliding_window")
	}
	if c.LayerTypes != nil && len(c.LayerTypes) != c.NumHiddenLayers {
		o.failKey("layer_types", "has %d entries for %d layers", len(c.LayerTypes), c.NumHiddenLayers)
	}
	for _, t := range c.LayerTypes {
		if t != "full_attention" && t != "sliding_attention" {
			o.failKey("layer_types", "holds %q, which is not supported; known: full_attention, sliding_attention", t)
		}
		if t == "sliding_attention" && c.SlidingWindow == 0 {
			o.failKey("layer_types", "holds %q, but there is no sliding_window", t)
		}
	}
	for _, id := range append(slices.Clip(c.EOSTokenIDs), c.BOSTokenID) {
		if id < -1 || id >= c.VocabSize {
			c.warn("bos_token_id or eos_token_id %d is outside the vocabulary of %d ids", id, c.VocabSize)
			break // the list can have millions
		}
	}
	c.Rope.check(o, c.HeadDim)
	if c.SlidingRope != nil {
		c.SlidingRope.check(o, c.HeadDim)
	}
}

func (c *Config) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf("%s: "+format, append([]any{c.File}, args...)...))
}
