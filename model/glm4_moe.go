package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// glm4MoeDialect has transformers' defaults (configuration_glm4_moe.py).
var glm4MoeDialect = dialect{
	fields: []string{
		"n_routed_experts", "num_local_experts", "n_shared_experts", "moe_intermediate_size", "first_k_dense_replace", "num_experts_per_tok",
		"n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor", "num_nextn_predict_layers", "use_qk_norm", "output_router_logits",
	},
	defaults: map[string]string{
		"rms_norm_eps": "1e-5", "max_position_embeddings": "131072", "num_key_value_heads": "8", "first_k_dense_replace": "1", "norm_topk_prob": "true",
		"n_routed_experts": "128", "n_shared_experts": "1", "num_experts_per_tok": "8", "moe_intermediate_size": "1408",
	},
	read: readGlm4Moe,
}

// readGlm4Moe reads the family's own fields, which are those of DeepSeek's mixtures.
func readGlm4Moe(c *Config, o *object) {
	o.require("head_dim", "the size of an attention head, without which vLLM does not run this architecture")
	c.Deepseek = &DeepseekConfig{
		FirstDense: o.natural("first_k_dense_replace", 0), LayerFreq: 1,
		Groups: o.positive("n_group", 1), TopKGroup: o.positive("topk_group", 1),
		Method: "noaux_tc", Scoring: "sigmoid", RoutedScale: o.float("routed_scaling_factor", 1),
		NextLayers: o.natural("num_nextn_predict_layers", 0), FloatRouter: true,
	}
	c.QKNorm = o.bool("use_qk_norm", false)
	if !o.has("partial_rotary_factor") && !o.sub("rope_parameters").has("partial_rotary_factor") {
		c.Rope.PartialRotaryFactor = 0.5
	}
	c.readSharedExperts(o)
	c.checkExpertGroups(o)
}

// newGlm4MoeForCausalLM builds Glm4MoeForCausalLM (vLLM's models/glm4_moe.py).
func newGlm4MoeForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkUntied()
	b.checkFullAttention()
	if b.cfg.MLPBias {
		b.refuse("mlp_bias is true, but %s has no such biases", b.arch)
	}
	b.skipNextLayers(b.cfg.Deepseek.NextLayers)
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newGlm4MoeAttention(b, i) },
			func(b *builder) nn.Module { return newGlm4MoeMLP(b, i) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// newGlm4MoeAttention is Llama's, or Qwen3's where the config has norms, without a bias in
// o_proj whatever the config says.
func newGlm4MoeAttention(b *builder, i int) nn.Module {
	if b.cfg.QKNorm {
		m := &qwen3Attention{}
		m.norms(m.build(b, i, b.cfg.AttentionBias, false))
		return m
	}
	return newLlamaAttention(b, i, b.cfg.AttentionBias, false)
}

// newGlm4MoeMLP builds the feed-forward part of layer i: dense, or a mixture.
func newGlm4MoeMLP(b *builder, i int) nn.Module {
	spec := byEra(b, topology.DeepseekMLP, topology.DeepseekMLP2026)
	if !b.cfg.Deepseek.sparse(i) {
		m := &llamaMLP{}
		m.build(b, "mlp", b.cfg.IntermediateSize, false, spec, topology.DownProj)
		return m
	}
	return newGlm4MoE(b, spec)
}

// glm4MoE is vLLM's Glm4MoE. In 2026 its experts call the shared ones, multiply and add.
type glm4MoE struct {
	nn.Base
	gate    *nn.Router
	experts *nn.Experts
	shared  *llamaMLP
	scale   float64 // of the chosen experts' sum
}

func newGlm4MoE(b *builder, spec *topology.Spec) *glm4MoE {
	m := &glm4MoE{shared: &llamaMLP{}, scale: b.cfg.Deepseek.RoutedScale}
	b = b.block(&m.Base, "mlp", spec)
	m.gate = b.floatGate()
	shared := func() {
		m.shared.build(b, "shared_experts", b.cfg.Experts.Shared, false, topology.SharedExpert, topology.DownProjPart)
		register(b, m.shared)
	}
	routing := b.floatRouting(m.gate)
	if b.options.Era == topology.Era2025 {
		m.experts = b.fusedMoE("experts", topology.FusedMoEPart, projNames, routing)
		shared()
	} else {
		shared()
		m.experts = b.fusedMoE("experts", topology.SharedMoERunner, projNames, routing)
		b.runner(m.experts, m.shared, m.scale)
		nn.Give(m.experts, 2, nn.Result(m.shared, 0).Computed())
	}
	m.experts.Like.Routing = b.deepseekRoutingInTransformers(m.gate.Bias)
	routed(m.experts, m, m.gate)
	return m
}

// floatGate makes a router that is float32, and is given that.
func (b *builder) floatGate() *nn.Router {
	m := b.biasedGate(topology.FloatGate)
	m.Float, m.FloatIn, m.Plain = true, true, true
	if w, ok := m.Weight.(nn.Dense); ok {
		m.Weight = nn.FloatDense{Dense: w}
	}
	return m
}

// floatRouting chooses by scores in float32.
func (b *builder) floatRouting(gate *nn.Router) nn.Routing {
	r := b.deepseekRouting(gate.Bias).(nn.SigmoidTopK)
	r.Half = false
	return r
}

// Forward maps (T, H) to (T, H).
func (m *glm4MoE) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	if m.experts.Shared != nil { // 2026
		logits := nn.One(s.Call(m.gate, s.Widen(hidden)))
		return nn.One(s.Call(m.experts, hidden, logits))
	}
	shared := nn.One(s.Call(m.shared, hidden))
	logits := nn.One(s.Call(m.gate, s.Widen(hidden))) // (T, E)
	out := nn.One(s.Call(m.experts, hidden, logits))
	return s.Add(s.ScaleRouted(out, m.scale), shared)
}

// Inputs are the hidden states.
func (m *glm4MoE) Inputs() []nn.Input {
	_, h := m.gate.Weight.Shape()
	return []nn.Input{nn.Hidden(h)}
}
