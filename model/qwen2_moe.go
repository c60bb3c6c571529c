package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// qwenMoeFields are those of Qwen2-MoE and Qwen3-MoE.
var qwenMoeFields = []string{
	"num_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers",
	"output_router_logits", "router_aux_loss_coef",
}

// qwen2MoeDialect has transformers' defaults (configuration_qwen2_moe.py).
var qwen2MoeDialect = dialect{
	fields: append([]string{"shared_expert_intermediate_size"}, qwenMoeFields...),
	defaults: map[string]string{
		"qkv_bias": "true", "use_sliding_window": "false", "rms_norm_eps": "1e-6",
		"num_experts": "60", "num_experts_per_tok": "4", "moe_intermediate_size": "1408", "shared_expert_intermediate_size": "5632",
	},
	read: func(c *Config, o *object) {
		c.readQwenMoe(o)
		c.Experts.Shared = o.natural("shared_expert_intermediate_size", 0)
	},
}

// readQwenMoe reads what the two have in common.
func (c *Config) readQwenMoe(o *object) {
	c.readExperts(o, "num_experts", "num_experts_per_tok")
	c.Experts.Intermediate = o.positive("moe_intermediate_size", 0)
	c.Experts.Renormalise = o.bool("norm_topk_prob", false)
	c.Experts.Step = o.positive("decoder_sparse_step", 1)
	c.Experts.Dense = o.ints("mlp_only_layers")
}

// newQwen2MoeForCausalLM builds Qwen2MoeForCausalLM (vLLM's models/qwen2_moe.py): Qwen2's
// attention, and a head that stays a module of its own where it is tied.
func newQwen2MoeForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkHeadDim()
	b.checkFullAttention()
	if !b.cfg.QKVBias {
		b.refuse("qkv_bias is false, but %s has biases on q, k and v", b.arch)
	}
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newLlamaAttention(b, i, true, false) },
			func(b *builder) nn.Module { return newQwenMoeMLP(b, i, newQwen2MoeBlock) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// newQwenMoeMLP is the mlp of a layer: dense, or a mixture.
func newQwenMoeMLP(b *builder, layer int, mixture func(*builder, *topology.Spec) nn.Module) nn.Module {
	spec := byEra(b, topology.SparseOrDense, topology.SparseOrDense2026)
	if b.cfg.Experts.sparse(layer) {
		return mixture(b, spec)
	}
	m := &llamaMLP{}
	m.build(b, "mlp", b.cfg.IntermediateSize, false, spec, topology.DownProj)
	return m
}

// qwen2MoeBlock is vLLM's Qwen2MoeSparseMoeBlock of 2025.
type qwen2MoeBlock struct {
	nn.Base
	gate             *nn.Linear
	experts          *nn.Experts
	sharedExpert     *llamaMLP // nil for none
	sharedExpertGate *nn.Linear
}

func newQwen2MoeBlock(b *builder, spec *topology.Spec) nn.Module {
	if b.options.Era == topology.Era2026 {
		return newQwen2MoeBlock2026(b, spec)
	}
	c := b.cfg
	m := &qwen2MoeBlock{}
	b = b.block(&m.Base, "mlp", spec)
	m.experts = b.qwenExperts(topology.FusedMoEPart)
	m.gate = b.replicatedLinear("gate", topology.GateLinear, c.HiddenSize, c.Experts.Num, false)
	if c.Experts.Shared > 0 {
		m.sharedExpert = &llamaMLP{}
		m.sharedExpert.build(b, "shared_expert", c.Experts.Shared, false, topology.SharedExpert, topology.DownProjPart)
		register(b, m.sharedExpert)
	}
	m.sharedExpertGate = b.replicatedLinear("shared_expert_gate", topology.SharedExpertGate, c.HiddenSize, 1, false)
	routed(m.experts, m, m.gate)
	return m
}

// qwenExperts are the experts of Qwen2-MoE and Qwen3-MoE. transformers casts the routers'
// weights to the model's dtype (modeling_qwen3_moe.py).
func (b *builder) qwenExperts(spec *topology.Spec) *nn.Experts {
	e := &b.cfg.Experts
	m := b.fusedMoE("experts", spec, projNames, nn.SoftmaxTopK{K: e.TopK, Renormalise: e.Renormalise})
	m.Like.HalfWeights = true
	return m
}

// routed says that experts are given what their block is, and what the router returns.
func routed(experts *nn.Experts, block, gate nn.Module) {
	nn.Give(experts, 0, nn.Argument(block, 0))
	logits := nn.Result(gate, 0)
	logits.Compute = true
	nn.Give(experts, 1, logits)
}

// Forward maps (T, H) to (T, H).
func (m *qwen2MoeBlock) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	if m.sharedExpert == nil {
		logits := nn.One(s.Call(m.gate, hidden))
		return nn.One(s.Call(m.experts, hidden, logits))
	}
	shared := nn.One(s.Call(m.sharedExpert, hidden))
	shared = s.GateBySigmoid(nn.One(s.Call(m.sharedExpertGate, hidden)), shared)
	logits := nn.One(s.Call(m.gate, hidden))
	return s.Add(nn.One(s.Call(m.experts, hidden, logits)), shared)
}

// Inputs are the hidden states.
func (m *qwen2MoeBlock) Inputs() []nn.Input { return m.gate.Inputs() }

// qwen2MoeBlock2026 is vLLM's Qwen2MoeSparseMoeBlock of 2026, whose experts add the shared
// one.
type qwen2MoeBlock2026 struct {
	nn.Base
	gate    *nn.Linear
	experts *nn.Experts
}

func newQwen2MoeBlock2026(b *builder, spec *topology.Spec) nn.Module {
	c := b.cfg
	m := &qwen2MoeBlock2026{}
	b = b.block(&m.Base, "mlp", spec)
	m.gate = b.replicatedLinear("gate", topology.GateLinear, c.HiddenSize, c.Experts.Num, false)
	gate := b.replicatedLinear("shared_expert_gate", topology.SharedExpertGate2026, c.HiddenSize, 1, false)
	if c.Experts.Shared == 0 {
		m.experts = b.qwenExperts(topology.SharedMoERunner)
		routed(m.experts, m, m.gate)
		return m
	}
	shared := register(b, newQwen2MoeMLP(b, gate))
	m.experts = b.qwenExperts(topology.SharedMoERunner)
	m.experts.Shared = nn.NewSharedExperts(b.prefix+"experts._shared_experts", shared, c.HiddenSize)
	m.experts.Register(m.experts.Shared)
	routed(m.experts, m, m.gate)
	result := nn.Result(shared, 0)
	result.Compute = true
	nn.Give(m.experts, 2, result)
	return m
}

// Forward maps (T, H) to (T, H).
func (m *qwen2MoeBlock2026) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	logits := nn.One(s.Call(m.gate, hidden)) // (T, E)
	return nn.One(s.Call(m.experts, hidden, logits))
}

// Inputs are the hidden states.
func (m *qwen2MoeBlock2026) Inputs() []nn.Input { return m.gate.Inputs() }

// qwen2MoeMLP is the shared expert of 2026, which calls its gate itself.
type qwen2MoeMLP struct {
	llamaMLP
	expertGate *nn.Linear // registered in the block
}

func newQwen2MoeMLP(b *builder, gate *nn.Linear) *qwen2MoeMLP {
	m := &qwen2MoeMLP{expertGate: gate}
	m.build(b, "shared_expert", b.cfg.Experts.Shared, false, topology.SharedExpert, topology.DownProjPart)
	return m
}

// Forward maps (T, H) to (T, H).
func (m *qwen2MoeMLP) Forward(s *nn.Step, in il.Tuple) il.Value {
	x := nn.One(m.llamaMLP.Forward(s, in))
	return s.GateBySigmoid(nn.One(s.Call(m.expertGate, in.Tensor(0))), x)
}
