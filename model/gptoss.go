package model

import (
	"slices"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// gptOssDialect has transformers' defaults (configuration_gpt_oss.py). What vLLM has fixed
// in its code must be what the file says.
var gptOssDialect = dialect{
	fields: []string{
		"num_local_experts", "num_experts_per_tok", "experts_per_token", "swiglu_limit", "initial_context_length",
		"output_router_logits", "router_aux_loss_coef",
	},
	defaults: map[string]string{
		"attention_bias": "true", "rms_norm_eps": "1e-5", "head_dim": "64", "sliding_window": "128",
		"num_local_experts": "128", "num_experts_per_tok": "4",
	},
	read: readGptOss,
}

func readGptOss(c *Config, o *object) {
	c.readExperts(o, "num_local_experts", "num_experts_per_tok")
	if k := o.positive("experts_per_token", c.Experts.TopK); k != c.Experts.TopK {
		o.failKey("experts_per_token", "is %d, but num_experts_per_tok is %d", k, c.Experts.TopK)
	}
	if x := o.float("swiglu_limit", gptOssLimit); x != gptOssLimit {
		o.failKey("swiglu_limit", "is %v: GptOssForCausalLM has %v fixed in its kernel for weights that are not quantized", x, gptOssLimit)
	}
	if q := o.sub("quantization_config").string("quant_method", ""); q == "mxfp4" {
		o.failKey("quantization_config", "is mxfp4, which is not supported; use a checkpoint whose experts are bfloat16")
	}
	c.defaultTheta(o, 150000)
	for i, t := range c.LayerTypes {
		if t != gptOssLayerType(i) {
			o.failKey("layer_types", "holds %q for layer %d: GptOssForCausalLM does not read it, and has %q there", t, i, gptOssLayerType(i))
			break
		}
	}
}

// defaultTheta is a family's base of the rope where the file gives none.
func (c *Config) defaultTheta(o *object, theta float64) {
	if !o.has("rope_theta") && !o.sub("rope_parameters").has("rope_theta") && !o.sub("rope_scaling").has("rope_theta") {
		c.Rope.Theta = theta
	}
}

// Values that stand in vLLM's code and not in the config.
const (
	gptOssEps   = 1e-5
	gptOssAlpha = 1.702
	gptOssLimit = 7.0
)

// gptOssLayerType is what layer i attends to: even ones to a window.
func gptOssLayerType(i int) string { return [...]string{"sliding_attention", "full_attention"}[i%2] }

// newGptOssForCausalLM builds GptOssForCausalLM (vLLM's models/gpt_oss.py).
func newGptOssForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkGptOss()
	b.gptOssRope()
	m := newGptOssModel(b)
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedding))}
}

// checkGptOss refuses what vLLM passes over without a word.
func (b *builder) checkGptOss() {
	c := b.cfg
	switch {
	case !c.AttentionBias:
		b.refuse("attention_bias is false, but %s has biases on q, k, v and o_proj", b.arch)
	case !c.QKVBias:
		b.refuse("qkv_bias is false, but %s has biases on q, k and v", b.arch)
	case c.MLPBias:
		b.refuse("mlp_bias is true, but %s has no such field: its experts always have biases", b.arch)
	case c.TieWordEmbeddings:
		b.refuse("tie_word_embeddings is true, but %s has a head of its own", b.arch)
	case c.RMSNormEps != gptOssEps:
		b.refuse("rms_norm_eps is %v, but %s has %v fixed in its code", c.RMSNormEps, b.arch, gptOssEps)
	case c.Rope.Type != "yarn":
		b.refuse("rope_type %q is not supported: %s always has yarn", c.Rope.Type, b.arch)
	case c.SlidingWindow == 0:
		b.refuse("sliding_window is missing: every other layer of %s has one", b.arch)
	}
}

// gptOssRope: yarn of vLLM in 2025 rounds the bounds of its ramp whatever the config says
// (rotary_embedding/common.py yarn_find_correction_range).
func (b *builder) gptOssRope() {
	yarn, ok := b.configRope().Scaling.(nn.YarnScaling)
	if ok && b.options.Era == topology.Era2025 && b.options.DynamicRope != DynamicTransformers {
		yarn.Truncate = true
		b.configRope().Scaling = yarn
	}
}

// gptOssModel is vLLM's GptOssModel.
type gptOssModel struct {
	embedding *nn.Embedding
	layers    []nn.Module
	norm      *nn.RMSNorm
}

func newGptOssModel(b *builder) *gptOssModel {
	b = b.at("model")
	c := b.cfg
	m := &gptOssModel{
		embedding: register(b, nn.NewEmbedding(b.prefix+"embedding", b.weight(b.prefix+"embed_tokens.weight", c.VocabSize, c.HiddenSize))),
	}
	for i := 0; i < c.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, newGptOssLayer(b.at("layers"), i)))
	}
	m.norm = b.gptOssNorm("norm", true)
	return m
}

// gptOssNorm is a norm whose class in transformers multiplies by the weight in float32.
func (b *builder) gptOssNorm(name string, fused bool) *nn.RMSNorm {
	m := b.rmsNorm(name, topology.RMSNorm, b.cfg.HiddenSize, fused)
	m.Float = true
	return m
}

// Forward implements decoder.
func (m *gptOssModel) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedding, inputIDs)) // (T, H)
	var residual il.Value
	for _, layer := range m.layers {
		hidden, residual = nn.Two(s.Call(layer, hidden, positions, residual))
	}
	hidden, _ = nn.Two(s.Call(m.norm, hidden, residual))
	return hidden
}

// gptOssLayer is vLLM's TransformerBlock.
type gptOssLayer struct {
	nn.Base
	attn                   *gptOssAttention
	mlp                    *gptOssMLP
	inputLayerNorm         *nn.RMSNorm
	postAttentionLayerNorm *nn.RMSNorm
}

func newGptOssLayer(b *builder, i int) *gptOssLayer {
	m := &gptOssLayer{}
	b = b.block(&m.Base, strconv.Itoa(i), topology.GptOssDecoderLayer)
	m.attn = register(b, newGptOssAttention(b, i))
	m.mlp = register(b, newGptOssMLP(b))
	m.inputLayerNorm = b.gptOssNorm("input_layernorm", i > 0)
	m.postAttentionLayerNorm = b.gptOssNorm("post_attention_layernorm", true)
	return m
}

// Forward maps (hidden (T, H), positions (T,), residual (T, H) or None) to
// (hidden, residual).
func (m *gptOssLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden, positions, residual := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if residual == nil {
		residual = hidden
		hidden = nn.One(s.Call(m.inputLayerNorm, hidden))
	} else {
		hidden, residual = nn.Two(s.Call(m.inputLayerNorm, hidden, residual))
	}
	hidden = nn.One(s.Call(m.attn, hidden, positions))
	hidden, residual = nn.Two(s.Call(m.postAttentionLayerNorm, hidden, residual))
	return il.Tuple{nn.One(s.Call(m.mlp, hidden)), residual}
}

// Inputs are hidden, positions and residual, which is None before the first layer.
func (m *gptOssLayer) Inputs() []nn.Input {
	in := slices.Insert(m.inputLayerNorm.Inputs(), 1, nn.Ints())
	if !m.inputLayerNorm.Fused {
		in = append(in, nn.Fixed(nil))
	}
	return in
}

// gptOssAttention is vLLM's OAIAttention: with biases, and a sink in the softmax of each
// head.
type gptOssAttention struct {
	nn.Base
	rotaryEmb *nn.Rotary
	qkv       *nn.Linear
	oProj     *nn.Linear
	attn      *nn.Attention
}

func newGptOssAttention(b *builder, i int) *gptOssAttention {
	shape := b.attentionShape(i)
	shape.Window = 0
	if gptOssLayerType(i) == "sliding_attention" {
		shape.Window = b.cfg.SlidingWindow
	}
	m := &gptOssAttention{}
	at := b.prefix + "self_attn." // in the checkpoint
	b = b.block(&m.Base, topology.GptOssBlockName, topology.GptOssAttention)
	shape.Sinks = b.weight(at+"sinks", shape.Heads)
	m.rotaryEmb = b.getRope("rotary_emb")
	q, kv := shape.Heads*shape.HeadDim, shape.KVHeads*shape.HeadDim
	m.qkv = b.linearOf(byEra(b, "qkv", "qkv_proj"), topology.QKVParallelLinear,
		b.storedAt(at, "q_proj", q, b.cfg.HiddenSize), b.storedAt(at, "k_proj", kv, b.cfg.HiddenSize), b.storedAt(at, "v_proj", kv, b.cfg.HiddenSize))
	o := b.storedAt(at, "o_proj", b.cfg.HiddenSize, q)
	o.Name = ""
	m.oProj = b.linearOf("o_proj", topology.OProj, o)
	m.attn = b.attention("attn", shape)
	m.attn.ContiguousValues = b.options.Era == topology.Era2025
	rotated(m.attn, m.rotaryEmb)
	projected(m.qkv, m.rotaryEmb, m.attn)
	return m
}

// linearOf registers a linear of parts that are at hand.
func (b *builder) linearOf(name string, spec *topology.Spec, parts ...nn.PackedWeight) *nn.Linear {
	return register(b, nn.NewLinear(b.prefix+name, spec, parts...))
}

// storedAt is a weight with a bias that the checkpoint has under another prefix than the
// module's.
func (b *builder) storedAt(prefix, name string, out, in int) nn.PackedWeight {
	return nn.PackedWeight{Name: name, Weight: b.linearMethod(prefix+name, out, in), Bias: b.weight(prefix+name+".bias", out)}
}

// Forward maps hidden (T, H) and positions (T,) to (T, H).
func (m *gptOssAttention) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden, positions := in.Tensor(0), in.Tensor(1)
	q, k, v := splitQKV(nn.One(s.Call(m.qkv, hidden)), m.attn)
	q, k = nn.Two(s.Call(m.rotaryEmb, positions, q, k))
	if m.attn.ContiguousValues {
		v = v.Clone()
	}
	out := nn.One(s.Call(m.attn, q, k, v)) // (T, Q)
	return nn.One(s.Call(m.oProj, out))    // (T, H)
}

// Inputs are hidden and positions.
func (m *gptOssAttention) Inputs() []nn.Input { return append(m.qkv.Inputs(), nn.Ints()) }

// gptOssMLP is vLLM's MLPBlock: a mixture of experts with biases.
type gptOssMLP struct {
	nn.Base
	router  *nn.Linear
	experts *nn.Experts
}

func newGptOssMLP(b *builder) *gptOssMLP {
	c := b.cfg
	m := &gptOssMLP{}
	b = b.block(&m.Base, "mlp", byEra(b, topology.GptOssMLP, topology.GptOssMLP2026))
	m.router = b.replicatedLinear("router", topology.PlainRouter, c.HiddenSize, c.Experts.Num, true)
	m.experts = b.gptOssExperts("experts")
	nn.Give(m.experts, 0, nn.Argument(m, 0))
	logits := nn.Result(m.router, 0)
	logits.Compute = true
	nn.Give(m.experts, 1, logits)
	return m
}

// gptOssExperts makes experts of biases and of weights that the checkpoint holds as
// (E, in, out). transformers takes the softmax of the chosen logits alone, in the model's
// dtype.
func (b *builder) gptOssExperts(name string) *nn.Experts {
	c, at := b.cfg, b.prefix+name+"."
	n, h, i := c.Experts.Num, c.HiddenSize, c.IntermediateSize
	up, upBias := b.weight(at+"gate_up_proj", n, h, 2*i), b.weight(at+"gate_up_proj_bias", n, 2*i)
	down, downBias := b.weight(at+"down_proj", n, i, h), b.weight(at+"down_proj_bias", n, h)
	experts := make([]nn.Expert, n)
	for e := range experts {
		if b.err != nil {
			break
		}
		experts[e] = nn.Expert{
			W13: []nn.PackedWeight{{Weight: nn.Transposed{Weight: matrixOf(up, e)}, Bias: matrixOf(upBias, e)}},
			W2:  nn.PackedWeight{Weight: nn.Transposed{Weight: matrixOf(down, e)}, Bias: matrixOf(downBias, e)},
		}
	}
	m := b.mixture(name, byEra(b, topology.FusedMoEKeyword, topology.MoERunnerKeyword), nn.SoftmaxTopK{K: c.Experts.TopK, Renormalise: true}, experts)
	m.Act = nn.SwigluOAI{Alpha: gptOssAlpha, Limit: gptOssLimit}
	m.Like = nn.TransformersExperts{Routing: nn.TopKSoftmax{K: c.Experts.TopK}, HalfWeights: true}
	return m
}

// Forward maps (T, H) to (T, H).
func (m *gptOssMLP) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	logits := nn.One(s.Call(m.router, hidden))       // (T, E)
	return nn.One(s.Call(m.experts, hidden, logits)) // (T, H)
}

// Inputs are the hidden states.
func (m *gptOssMLP) Inputs() []nn.Input { return m.router.Inputs() }
