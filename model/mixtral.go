package model

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// mixtralDialect has transformers' defaults (configuration_mixtral.py).
var mixtralDialect = dialect{
	fields:   []string{"num_local_experts", "num_experts_per_tok", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise"},
	defaults: map[string]string{"num_local_experts": "8", "num_experts_per_tok": "2", "rms_norm_eps": "1e-5"},
	read:     func(c *Config, o *object) { c.readExperts(o, "num_local_experts", "num_experts_per_tok") },
}

// newMixtralForCausalLM builds MixtralForCausalLM (vLLM's models/mixtral.py).
func newMixtralForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.intTheta()
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newLlamaAttention(b, i, false, false) },
			func(b *builder) nn.Module { return newMixtralMoE(b) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// intTheta: vLLM of 2025 gives the rope int(rope_theta), and none of the scaling.
func (b *builder) intTheta() {
	if b.options.Era != topology.Era2025 {
		return
	}
	if b.cfg.Rope.Type != "default" {
		b.refuse("rope_type %q: %s of vLLM in 2025 leaves the scaling out without a word; expected none, or the profile vllm-2026", b.cfg.Rope.Type, b.arch)
	}
	b.configRope().Theta = math.Floor(b.cfg.Rope.Theta)
}

// mixtralMoE is vLLM's MixtralMoE.
type mixtralMoE struct {
	nn.Base
	gate    *nn.Linear
	experts *nn.Experts
}

func newMixtralMoE(b *builder) *mixtralMoE {
	c := b.cfg
	m := &mixtralMoE{}
	b = b.block(&m.Base, "block_sparse_moe", byEra(b, topology.SparseMoeBlock, topology.SparseMoeBlock2026))
	m.gate = b.replicatedLinear("gate", topology.GateLinear, c.HiddenSize, c.Experts.Num, false)
	m.experts = b.fusedMoE("experts", byEra(b, topology.FusedMoE, topology.MoERunner), wNames,
		nn.SoftmaxTopK{K: c.Experts.TopK, Renormalise: true})
	return m
}

// Forward maps (T, H) to (T, H).
func (m *mixtralMoE) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	logits := nn.One(s.Call(m.gate, hidden))         // (T, E)
	return nn.One(s.Call(m.experts, hidden, logits)) // (T, H)
}

// Inputs are the hidden states.
func (m *mixtralMoE) Inputs() []nn.Input { return m.gate.Inputs() }
