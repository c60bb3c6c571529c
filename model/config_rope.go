package model

import "slices"

// Rope describes the rotary embedding. Of the fields below Theta only those
// that the type uses are set; zero means that the config does not give the
// value, where no default is named.
type Rope struct {
	Type  string  // "default", "linear", "dynamic", "llama3", "yarn" or "longrope"
	Theta float64 // base of the frequencies

	Factor                        float64 // how far the context is stretched; default 1
	PartialRotaryFactor           float64 // share of each head that is rotated; default 1
	OriginalMaxPositionEmbeddings int     // positions of the training before stretching

	LowFreqFactor, HighFreqFactor float64 // llama3

	BetaFast, BetaSlow   float64 // yarn; defaults 32 and 1
	AttentionFactor      float64 // yarn, longrope: factor on cos and sin (transformers' key)
	AttnFactor           float64 // yarn: factor on the computed one (vLLM's key); default 1
	ExtrapolationFactor  float64 // yarn; default 1
	MScale, MScaleAllDim float64 // yarn
	Truncate             bool    // yarn: round the bounds of the ramp; default true

	ShortFactor, LongFactor []float64 // longrope: one per rotated pair
	ShortMScale, LongMScale float64   // longrope
}

// ropeKeys are the keys that a type needs and those that it may have.
var ropeKeys = map[string]struct{ needed, optional []string }{
	"default": {},
	"linear":  {needed: []string{"factor"}},
	"dynamic": {needed: []string{"factor"}, optional: []string{"original_max_position_embeddings"}},
	"llama3":  {needed: []string{"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}},
	"yarn": {
		needed: []string{"factor"},
		optional: []string{
			"original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor", "attn_factor",
			"extrapolation_factor", "mscale", "mscale_all_dim", "truncate",
		},
	},
	"longrope": {
		needed:   []string{"short_factor", "long_factor"},
		optional: []string{"factor", "original_max_position_embeddings", "attention_factor", "short_mscale", "long_mscale"},
	},
}

// readRope reads both forms: rope_parameters of transformers 5, which holds
// everything, and rope_scaling beside rope_theta of older versions.
func (c *Config) readRope(o *object, d dialect) Rope {
	key := "rope_scaling"
	if o.has("rope_parameters") {
		key = "rope_parameters"
		if o.has("rope_scaling") {
			o.failKey("rope_scaling", "stands beside rope_parameters: keep one of them")
		}
	}
	s := o.sub(key)
	if d.ropeByLayer && (s.has("full_attention") || s.has("sliding_attention")) {
		return c.readRopes(o, s)
	}
	return c.readOneRope(o, s)
}

// readRopes reads a rope for each type of layers.
func (c *Config) readRopes(o, s *object) Rope {
	for _, k := range s.keys {
		if k != "full_attention" && k != "sliding_attention" {
			s.failKey(k, "stands beside ropes of types of layers")
		}
	}
	s.require("full_attention", "the rope of layers without a window")
	s.require("sliding_attention", "the rope of layers with a window")
	for _, k := range s.keys {
		if r := s.sub(k); !r.has("rope_theta") {
			s.failKey(k, "has no rope_theta")
		}
	}
	sliding := c.readOneRope(o, s.sub("sliding_attention"))
	c.SlidingRope = &sliding
	return c.readOneRope(o, s.sub("full_attention"))
}

// readOneRope reads the rope that s describes, and the values that stand beside it in o.
func (c *Config) readOneRope(o, s *object) Rope {
	from := func(k string) *object { // older configs keep some values beside the object
		if s.has(k) {
			if o.has(k) && s.float(k, 0) != o.float(k, 0) {
				o.failKey(k, "is %s, but %s/%s is %s", o.values[k].raw, s.path, k, s.values[k].raw)
			}
			return s
		}
		return o
	}
	r := Rope{
		Type:                          ropeType(s),
		Theta:                         from("rope_theta").above("rope_theta", 0, 10000),
		PartialRotaryFactor:           from("partial_rotary_factor").above("partial_rotary_factor", 0, 1),
		OriginalMaxPositionEmbeddings: from("original_max_position_embeddings").positive("original_max_position_embeddings", 0),
		Factor:                        s.above("factor", 0, 1),
		LowFreqFactor:                 s.above("low_freq_factor", 0, 0),
		HighFreqFactor:                s.above("high_freq_factor", 0, 0),
		BetaFast:                      s.above("beta_fast", 0, 32),
		BetaSlow:                      s.above("beta_slow", 0, 1),
		AttentionFactor:               s.above("attention_factor", 0, 0),
		AttnFactor:                    s.above("attn_factor", 0, 1),
		ExtrapolationFactor:           s.float("extrapolation_factor", 1),
		MScale:                        s.float("mscale", 0),
		MScaleAllDim:                  s.float("mscale_all_dim", 0),
		Truncate:                      s.bool("truncate", true),
		ShortFactor:                   s.floats("short_factor"),
		LongFactor:                    s.floats("long_factor"),
		ShortMScale:                   s.above("short_mscale", 0, 0),
		LongMScale:                    s.above("long_mscale", 0, 0),
	}
	c.checkRopeKeys(s, r.Type)
	return r
}

// ropeType reads rope_type, or type in older configs, and gives "longrope" for
// its first name "su".
func ropeType(s *object) string {
	key := s.first("rope_type", "type")
	if s.has("rope_type") && s.has("type") && s.string("type", "") != s.string("rope_type", "") {
		s.failKey("type", "is %q, but rope_type is %q", s.string("type", ""), s.string("rope_type", ""))
	}
	for _, k := range s.keys {
		if s.values[k].raw.Kind() == '{' {
			s.failKey(k, "is an object: a rope for each layer type is not supported")
		}
	}
	if len(s.keys) > 0 && !s.has(key) && !s.has("rope_theta") {
		s.doc.fail("%s has no rope_type", s.path)
	}
	typ := s.string(key, "default")
	if typ == "su" {
		typ = "longrope"
	}
	if _, ok := ropeKeys[typ]; !ok {
		s.failKey(key, "is %q, which is not supported; known: default, linear, dynamic, llama3, yarn, longrope", typ)
	}
	return typ
}

func (c *Config) checkRopeKeys(s *object, typ string) {
	k := ropeKeys[typ]
	for _, key := range k.needed {
		s.require(key, "rope type "+typ+" needs it")
	}
	for _, key := range s.keys {
		switch {
		case !s.has(key) || slices.Contains(k.needed, key) || slices.Contains(k.optional, key):
		case slices.Contains([]string{"rope_type", "type", "rope_theta", "partial_rotary_factor"}, key):
		case knownRopeKey(key):
			c.warn("%s/%s is not used by rope type %s", s.path, key, typ)
		default:
			s.failKey(key, "is not supported: it may change the numbers")
		}
	}
}

func knownRopeKey(key string) bool {
	for _, k := range ropeKeys {
		if slices.Contains(k.needed, key) || slices.Contains(k.optional, key) {
			return true
		}
	}
	return false
}

// requireTheta refuses a config without the base of its rope, for which readers of the file
// have different defaults: transformers' is named.
func (o *object) requireTheta(transformers string) {
	if !o.has("rope_theta") && !o.sub("rope_parameters").has("rope_theta") && !o.sub("rope_scaling").has("rope_theta") {
		o.doc.fail("rope_theta is missing: transformers takes %s; name it", transformers)
	}
}

// check tests the rope values against each other and the head.
func (r *Rope) check(o *object, headDim int) {
	rot := r.RotaryDim(headDim)
	switch {
	case r.PartialRotaryFactor > 1:
		o.doc.fail("partial_rotary_factor is %v, expected at most 1", r.PartialRotaryFactor)
	case rot < 2 || rot%2 != 0:
		o.doc.fail("partial_rotary_factor %v of head_dim %d rotates %d values, expected an even number", r.PartialRotaryFactor, headDim, rot)
	case r.Type == "longrope" && (len(r.ShortFactor) != rot/2 || len(r.LongFactor) != rot/2):
		o.doc.fail("longrope has %d short and %d long factors, expected %d of each (half of %d rotated values)",
			len(r.ShortFactor), len(r.LongFactor), rot/2, rot)
	case r.Type == "llama3" && r.LowFreqFactor > r.HighFreqFactor:
		o.doc.fail("rope low_freq_factor %v is above high_freq_factor %v", r.LowFreqFactor, r.HighFreqFactor)
	case slices.ContainsFunc(slices.Concat(r.ShortFactor, r.LongFactor), func(f float64) bool { return !(f > 0) }):
		o.doc.fail("rope short_factor and long_factor must be above 0")
	}
}

// RotaryDim returns how many of a head's values are rotated.
func (r *Rope) RotaryDim(headDim int) int {
	return int(float64(headDim) * r.PartialRotaryFactor)
}
