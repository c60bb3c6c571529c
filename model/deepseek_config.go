package model

import "slices"

// DeepseekConfig is what config.json says of DeepSeek's latent attention and mixtures, of
// which GLM-4 has the latter.
type DeepseekConfig struct {
	QRank  int // of the latent of queries; 0 where there is none
	KVRank int // of the latent of keys and values
	Nope   int // dimensions of a head that are not rotated
	Rope   int // and of those that are
	Value  int // of a head's value

	FirstDense  int     // layers before the first mixture
	LayerFreq   int     // of the others, each so many is one
	Groups      int     // of experts
	TopKGroup   int     // groups that a token's experts are of
	Method      string  // how they are chosen: "noaux_tc", "greedy", "group_limited_greedy"
	Scoring     string  // "sigmoid" or "softmax"
	RoutedScale float64 // of the sum of the chosen experts
	NextLayers  int     // layers behind the last, which predict further tokens and are not run
	FloatRouter bool    // moe_router_dtype
}

// deepseekFields are the fields of DeepSeek's config.json, with remarks on training.
var deepseekFields = []string{
	"q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "qk_head_dim", "v_head_dim", "rope_interleave",
	"n_routed_experts", "num_local_experts", "n_shared_experts", "moe_intermediate_size", "first_k_dense_replace", "moe_layer_freq", "num_experts_per_tok",
	"n_group", "topk_group", "topk_method", "scoring_func", "norm_topk_prob", "routed_scaling_factor", "moe_router_dtype",
	"num_nextn_predict_layers", "ep_size", "aux_loss_alpha", "seq_aux", "output_router_logits",
}

// The dialects have transformers' defaults (configuration_deepseek_v2.py, _v3.py).
var (
	deepseekV2Dialect = dialect{
		fields: deepseekFields,
		defaults: map[string]string{
			"rms_norm_eps": "1e-6", "max_position_embeddings": "2048", "first_k_dense_replace": "0", "norm_topk_prob": "false",
			"routed_scaling_factor": "1.0", "topk_method": `"greedy"`, "scoring_func": `"softmax"`,
		},
		read: readDeepseek,
	}
	deepseekV3Dialect = dialect{
		fields: deepseekFields,
		defaults: map[string]string{
			"rms_norm_eps": "1e-6", "max_position_embeddings": "4096", "first_k_dense_replace": "3", "norm_topk_prob": "true",
			"routed_scaling_factor": "2.5", "topk_method": `"noaux_tc"`, "scoring_func": `"sigmoid"`,
		},
		read: readDeepseek,
	}
)

// readDeepseek reads the family's own fields.
func readDeepseek(c *Config, o *object) {
	d := &DeepseekConfig{
		KVRank: o.positive("kv_lora_rank", 0), Nope: o.positive("qk_nope_head_dim", 0),
		Rope: o.positive("qk_rope_head_dim", 0), Value: o.positive("v_head_dim", 0),
		FirstDense: o.natural("first_k_dense_replace", 0), LayerFreq: o.positive("moe_layer_freq", 1),
		Groups: o.positive("n_group", 1), TopKGroup: o.positive("topk_group", 1),
		Method: o.string("topk_method", ""), Scoring: o.string("scoring_func", ""),
		RoutedScale: o.float("routed_scaling_factor", 1),
		NextLayers:  o.natural("num_nextn_predict_layers", 0),
	}
	c.Deepseek = d
	for _, key := range []string{"kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"} {
		o.require(key, "a size of latent attention")
	}
	if _, given := o.values["q_lora_rank"]; !given {
		o.require("q_lora_rank", "the size of the latent of queries, or null for none")
	}
	d.QRank = o.positive("q_lora_rank", 0)
	if o.has("head_dim") && c.HeadDim != d.Rope {
		o.failKey("head_dim", "is %d, expected qk_rope_head_dim, which is %d", c.HeadDim, d.Rope)
	}
	if o.has("qk_head_dim") && o.int("qk_head_dim", 0) != d.Nope+d.Rope {
		o.failKey("qk_head_dim", "is %d, expected %d, the sum of qk_nope_head_dim and qk_rope_head_dim", o.int("qk_head_dim", 0), d.Nope+d.Rope)
	}
	if d.Rope > 0 {
		c.HeadDim = d.Rope
	}
	if !o.bool("rope_interleave", true) {
		o.failKey("rope_interleave", "is false, but vLLM rotates pairs of neighbours whatever it says")
	}
	if d.Value > d.Nope+d.Rope {
		o.failKey("v_head_dim", "is %d, expected at most %d, to which prompts' values are padded", d.Value, d.Nope+d.Rope)
	}
	if c.NumKeyValueHeads != c.NumAttentionHeads {
		o.failKey("num_key_value_heads", "is %d, expected num_attention_heads, which is %d", c.NumKeyValueHeads, c.NumAttentionHeads)
	}
	c.checkDeepseekRope(o)
	c.readDeepseekExperts(o)
}

// checkDeepseekRope refuses what vLLM's DeepseekScalingRotaryEmbedding does not read: it
// takes any rope_scaling for deepseek_yarn.
func (c *Config) checkDeepseekRope(o *object) {
	r := &c.Rope
	switch {
	case r.Type != "default" && r.Type != "yarn":
		o.doc.fail("rope_type %q is not supported: vLLM computes yarn whatever it is; expected yarn or none", r.Type)
	case r.PartialRotaryFactor != 1:
		o.doc.fail("partial_rotary_factor %v is not supported: vLLM rotates all of qk_rope_head_dim", r.PartialRotaryFactor)
	case r.Type == "yarn" && r.OriginalMaxPositionEmbeddings == 0:
		o.doc.fail("rope_scaling has no original_max_position_embeddings, which DeepSeek's yarn needs")
	case r.AttentionFactor != 0:
		o.doc.fail("attention_factor %v is not supported: vLLM does not read it; expected mscale and mscale_all_dim", r.AttentionFactor)
	case !r.Truncate:
		o.doc.fail("truncate false is not supported: DeepSeek's yarn rounds the bounds of the ramp")
	}
}

// readDeepseekExperts reads the fields of mixtures; a model without any has n_routed_experts
// null.
func (c *Config) readDeepseekExperts(o *object) {
	d := c.Deepseek
	if !o.has("n_routed_experts") || d.FirstDense >= c.NumHiddenLayers {
		d.FirstDense = c.NumHiddenLayers
		return
	}
	o.require("num_experts_per_tok", "the number of experts of a token")
	o.require("moe_intermediate_size", "the width of an expert")
	c.readSharedExperts(o)
	if !slices.Contains([]string{"softmax", "sigmoid"}, d.Scoring) {
		o.failKey("scoring_func", "is %q, which is not supported; known: softmax, sigmoid", d.Scoring)
	}
	if dtype := o.string("moe_router_dtype", ""); dtype != "" {
		if d.FloatRouter = dtype == "float32"; !d.FloatRouter {
			o.failKey("moe_router_dtype", "is %q, which is not supported; known: float32", dtype)
		}
	}
	c.checkDeepseekMethod(o)
	c.checkExpertGroups(o)
}

// readSharedExperts reads the sizes of a mixture with shared experts.
func (c *Config) readSharedExperts(o *object) {
	c.readExperts(o, "n_routed_experts", "num_experts_per_tok")
	c.Experts.Intermediate = o.positive("moe_intermediate_size", 0)
	c.Experts.Renormalise = o.bool("norm_topk_prob", false)
	c.Experts.Shared = o.natural("n_shared_experts", 0) * c.Experts.Intermediate
	if c.Experts.Shared == 0 {
		o.doc.fail("n_shared_experts is 0 or null: mixtures without shared experts are not supported for this architecture")
	}
}

// checkExpertGroups holds the groups of experts against their number.
func (c *Config) checkExpertGroups(o *object) {
	d, n := c.Deepseek, c.Experts.Num
	switch {
	case n == 0:
	case n%d.Groups != 0:
		o.failKey("n_routed_experts", "is %d, which is no multiple of n_group %d", n, d.Groups)
	case d.TopKGroup > d.Groups:
		o.failKey("topk_group", "is %d, but there are only %d groups", d.TopKGroup, d.Groups)
	case c.Experts.TopK > n/d.Groups*d.TopKGroup:
		o.failKey("num_experts_per_tok", "is %d, but %d groups have only %d experts", c.Experts.TopK, d.TopKGroup, n/d.Groups*d.TopKGroup)
	case d.Method == "noaux_tc" && d.Groups > 1 && n/d.Groups < 2:
		o.failKey("n_group", "is %d, which leaves a group less than 2 of %d experts", d.Groups, n)
	}
}

// checkDeepseekMethod refuses ways to choose experts that are not known.
func (c *Config) checkDeepseekMethod(o *object) {
	d := c.Deepseek
	switch d.Method {
	case "noaux_tc":
		if d.Scoring != "sigmoid" {
			o.failKey("topk_method", "is noaux_tc, which is not supported with scoring_func %q", d.Scoring)
		}
	case "greedy", "group_limited_greedy":
		if d.Scoring != "softmax" {
			o.failKey("topk_method", "is %s, which is not supported with scoring_func %q", d.Method, d.Scoring)
		}
	default:
		o.failKey("topk_method", "is %q, which is not supported; known: greedy, group_limited_greedy, noaux_tc", d.Method)
	}
	if d.Method == "greedy" && d.Groups > 1 {
		o.failKey("n_group", "is %d, but topk_method greedy has no groups: vLLM would choose by group whatever it says", d.Groups)
	}
}

// ByGroupOrBias reports whether a token's experts are others than those of the largest logits:
// of few groups, or by a bias. nil is of a family whose are not.
func (d *DeepseekConfig) ByGroupOrBias() bool { return d != nil && d.Method != "greedy" }
