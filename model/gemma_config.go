package model

import "math"

// GemmaConfig is what a Gemma has beside the common fields.
type GemmaConfig struct {
	QueryPreAttnScalar float64 // attention is scaled by its square root's inverse
	AttentionSoftcap   float64 // of the scores; 0 for none
	LogitSoftcap       float64 // of the logits; 0 for none
}

func (g *GemmaConfig) scale() float64 { return 1 / math.Sqrt(g.QueryPreAttnScalar) }

// gemmaFields are those of both generations.
var gemmaFields = []string{"query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping", "cache_implementation"}

// gemma2Dialect has transformers' defaults (configuration_gemma2.py): every other layer has
// a window, the first one too.
var gemma2Dialect = dialect{
	fields: gemmaFields,
	names:  map[string]string{"hidden_activation": "hidden_act"},
	defaults: map[string]string{
		"head_dim": "256", "rms_norm_eps": "1e-6", "max_position_embeddings": "8192", "tie_word_embeddings": "true",
		"hidden_act": `"gelu_pytorch_tanh"`, "sliding_window": "4096",
	},
	read: func(c *Config, o *object) {
		c.readGemma(o, 50, 30)
		if c.LayerTypes == nil {
			c.LayerTypes = everyNthFull(c.NumHiddenLayers, 2)
		}
	},
}

// gemma3Dialect has those of configuration_gemma3.py: of six layers the last attends to all
// positions, and has a rope of its own.
var gemma3Dialect = dialect{
	fields:      append([]string{"rope_local_base_freq", "sliding_window_pattern"}, gemmaFields...),
	names:       gemma2Dialect.names,
	ropeByLayer: true,
	defaults: map[string]string{
		"head_dim": "256", "rms_norm_eps": "1e-6", "max_position_embeddings": "131072", "tie_word_embeddings": "true",
		"hidden_act": `"gelu_pytorch_tanh"`, "sliding_window": "4096",
	},
	read: func(c *Config, o *object) {
		c.readGemma(o, 0, 0)
		if c.LayerTypes == nil {
			c.LayerTypes = everyNthFull(c.NumHiddenLayers, o.positive("sliding_window_pattern", o.positive("_sliding_window_pattern", 6)))
		}
		if c.SlidingRope == nil {
			c.SlidingRope = &Rope{Type: "default", Theta: o.above("rope_local_base_freq", 0, 10000), PartialRotaryFactor: 1}
			if !o.has("rope_theta") && !o.sub("rope_parameters").has("rope_theta") {
				c.Rope.Theta = 1e6
			}
		}
	},
}

// readGemma takes in the family's fields; caps are the defaults of those that the file leaves
// out. Null is none.
func (c *Config) readGemma(o *object, attention, logits float64) {
	limit := func(key string, otherwise float64) float64 {
		if o.stated(key) {
			otherwise = 0
		}
		return o.above(key, 0, otherwise)
	}
	c.Gemma = &GemmaConfig{
		QueryPreAttnScalar: o.above("query_pre_attn_scalar", 0, 256),
		AttentionSoftcap:   limit("attn_logit_softcapping", attention),
		LogitSoftcap:       limit("final_logit_softcapping", logits),
	}
}
