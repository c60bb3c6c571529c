package model

import "slices"

// CohereConfig is what a Cohere model has beside the common fields.
type CohereConfig struct {
	LogitScale float64 // logits are multiplied by it
	QKNorm     bool    // heads of q and k are normalised
}

// cohereFixed are fields of which the models here have one value.
var cohereFixed = map[string]string{
	"use_parallel_block": "true", "use_gated_activation": "true", "use_parallel_embedding": "true", "use_embedding_sharing": "true",
	"position_embedding_type": `"rope_gptj"`, "rotary_pct": "1", "order_of_interleaved_layers": `"local_attn_first"`,
}

// cohereDialect has transformers' defaults (configuration_cohere.py).
var cohereDialect = dialect{
	fields: []string{
		"logit_scale", "use_qk_norm", "use_parallel_block", "use_gated_activation", "use_parallel_embedding", "use_embedding_sharing",
		"position_embedding_type", "rotary_pct",
	},
	names:    map[string]string{"layer_norm_eps": "rms_norm_eps"},
	defaults: map[string]string{"rms_norm_eps": "1e-5", "tie_word_embeddings": "true", "max_position_embeddings": "8192"},
	read: func(c *Config, o *object) {
		c.readCohere(o)
		o.requireTheta("500000 since version 5 and 10000 before it")
	},
}

// cohere2Dialect has those of configuration_cohere2.py: of four layers the last attends to
// all positions.
var cohere2Dialect = dialect{
	fields: append([]string{
		"sliding_window_pattern", "layer_switch", "order_of_interleaved_layers", "cache_implementation",
	}, cohereDialect.fields...),
	names: cohereDialect.names,
	defaults: map[string]string{
		"rms_norm_eps": "1e-5", "tie_word_embeddings": "true", "max_position_embeddings": "8192", "sliding_window": "4096",
	},
	read: func(c *Config, o *object) {
		c.readCohere(o)
		pattern := o.positive("sliding_window_pattern", o.positive("layer_switch", 4))
		if c.LayerTypes == nil {
			for i := range c.NumHiddenLayers {
				layer := "sliding_attention"
				if (i+1)%pattern == 0 {
					layer = "full_attention"
				}
				c.LayerTypes = append(c.LayerTypes, layer)
			}
		}
	},
}

func (c *Config) readCohere(o *object) {
	c.Cohere = &CohereConfig{LogitScale: o.above("logit_scale", 0, 0.0625), QKNorm: o.bool("use_qk_norm", false)}
	for _, key := range o.keys {
		if want := cohereFixed[key]; want != "" && o.has(key) && !slices.Contains([]string{want, want + ".0"}, string(o.values[key].raw)) {
			o.failKey(key, "is %s, expected %s: other models are not supported", o.values[key].raw, want)
		}
	}
}
