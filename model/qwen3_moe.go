package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// qwen3MoeDialect has transformers' defaults (configuration_qwen3_moe.py).
var qwen3MoeDialect = dialect{
	fields: qwenMoeFields,
	names:  map[string]string{"num_local_experts": "num_experts"}, // as transformers 5 writes it
	defaults: map[string]string{
		"use_sliding_window": "false", "rms_norm_eps": "1e-6",
		"num_experts": "128", "num_experts_per_tok": "8", "moe_intermediate_size": "768",
	},
	read: func(c *Config, o *object) { c.readQwenMoe(o) },
}

// newQwen3MoeForCausalLM builds Qwen3MoeForCausalLM (vLLM's models/qwen3_moe.py): Qwen3's
// attention, and no shared expert.
func newQwen3MoeForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(true, false)
	b.checkFullAttention()
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newQwen3MoeAttention(b, i) },
			func(b *builder) nn.Module { return newQwenMoeMLP(b, i, newQwen3MoeBlock) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// newQwen3MoeAttention is Qwen3's, where vLLM has no bias in o_proj whatever the
// config says.
func newQwen3MoeAttention(b *builder, i int) *qwen3Attention {
	if b.cfg.AttentionBias && b.c.Has(b.prefix+"self_attn.o_proj.bias") {
		b.refuse("attention_bias is true and the weights have %sself_attn.o_proj.bias, but %s has no bias in o_proj", b.prefix, b.arch)
	}
	m := &qwen3Attention{}
	m.norms(m.build(b, i, b.cfg.AttentionBias, false))
	return m
}

// qwen3MoeBlock is vLLM's Qwen3MoeSparseMoeBlock. In 2026 its experts call the gate.
type qwen3MoeBlock struct {
	nn.Base
	gate    *nn.Linear
	experts *nn.Experts
}

func newQwen3MoeBlock(b *builder, spec *topology.Spec) nn.Module {
	m := &qwen3MoeBlock{}
	b = b.block(&m.Base, "mlp", spec)
	gate := func() {
		m.gate = b.replicatedLinear("gate", topology.GateLinear, b.cfg.HiddenSize, b.cfg.Experts.Num, false)
	}
	if b.options.Era == topology.Era2026 {
		gate()
		m.experts = b.qwenExperts(topology.MoERunnerKeyword)
		m.experts.Gate = m.gate
	} else {
		m.experts = b.qwenExperts(topology.FusedMoEKeyword)
		gate()
	}
	routed(m.experts, m, m.gate)
	return m
}

// Forward maps (T, H) to (T, H).
func (m *qwen3MoeBlock) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	if m.experts.Gate != nil {
		return nn.One(s.Call(m.experts, hidden))
	}
	logits := nn.One(s.Call(m.gate, hidden)) // (T, E)
	return nn.One(s.Call(m.experts, hidden, logits))
}

// Inputs are the hidden states.
func (m *qwen3MoeBlock) Inputs() []nn.Input { return m.gate.Inputs() }
