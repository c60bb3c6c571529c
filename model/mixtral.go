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
	b.checkUnscaledRope()
	b.intTheta()
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		return newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { return newLlamaAttention(b, i, false, false) },
			func(b *builder) nn.Module { return newMixtralMoE(b, "gate", mixtralExperts) },
		)
	})
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// intTheta: vLLM of 2025 gives the rope int(rope_theta).
func (b *builder) intTheta() {
	if b.options.Era == topology.Era2025 {
		b.configRope().Theta = math.Floor(b.cfg.Rope.Theta)
	}
}

// checkUnscaledRope refuses scaling that vLLM of 2025 does not give the rope.
func (b *builder) checkUnscaledRope() {
	if b.options.Era == topology.Era2025 && b.cfg.Rope.Type != "default" {
		b.refuse("rope_type %q: %s of vLLM in 2025 leaves the scaling out without a word; expected none, or the profile %s", b.cfg.Rope.Type, b.arch, nn.VLLM2026)
	}
}

// mixtralMoE is vLLM's MixtralMoE, and GraniteMoeMoE.
type mixtralMoE struct {
	nn.Base
	gate    *nn.Linear
	experts *nn.Experts
}

// newMixtralMoE builds the block; stored is the name of the router's weight in the
// checkpoint.
func newMixtralMoE(b *builder, stored string, experts func(*builder, *topology.Spec) *nn.Experts) *mixtralMoE {
	m := &mixtralMoE{}
	b = b.block(&m.Base, "block_sparse_moe", byEra(b, topology.SparseMoeBlock, topology.SparseMoeBlock2026))
	m.gate = register(b, nn.NewLinear(b.prefix+"gate", topology.GateLinear, b.part(stored, "", b.cfg.Experts.Num, b.cfg.HiddenSize, false)))
	m.experts = experts(b, byEra(b, topology.FusedMoE, topology.MoERunner))
	routed(m.experts, m, m.gate)
	return m
}

func mixtralExperts(b *builder, spec *topology.Spec) *nn.Experts {
	return b.fusedMoE("experts", spec, wNames, nn.SoftmaxTopK{K: b.cfg.Experts.TopK, Renormalise: true})
}

// Forward maps (T, H) to (T, H).
func (m *mixtralMoE) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	logits := nn.One(s.Call(m.gate, hidden))         // (T, E)
	return nn.One(s.Call(m.experts, hidden, logits)) // (T, H)
}

// Inputs are the hidden states.
func (m *mixtralMoE) Inputs() []nn.Input { return m.gate.Inputs() }
