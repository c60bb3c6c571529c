package model

import (
	"slices"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// graniteMoeDialect has transformers' defaults (configuration_granitemoe.py).
var graniteMoeDialect = dialect{
	fields:   append([]string{"num_local_experts", "num_experts_per_tok", "output_router_logits", "router_aux_loss_coef"}, graniteFields...),
	defaults: map[string]string{"num_local_experts": "8", "num_experts_per_tok": "2", "rms_norm_eps": "1e-6"},
	read: func(c *Config, o *object) {
		c.readExperts(o, "num_local_experts", "num_experts_per_tok")
		c.readGranite(o)
		if !o.has("attention_multiplier") && slices.Contains(o.keys, "attention_multiplier") {
			c.Granite.Attention = 1 / float64(c.HiddenSize/c.NumAttentionHeads) // null, of which vLLM makes D^-1
		}
	},
}

// newGraniteMoeForCausalLM builds GraniteMoeForCausalLM (vLLM's models/granitemoe.py).
func newGraniteMoeForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkHeadDim()
	b.checkFullAttention()
	b.intTheta()
	return newGranite(b, func(b *builder, i int) nn.Module {
		return newGraniteDecoderLayer(
			b, i, topology.GraniteMoeDecoderLayer,
			func(b *builder) nn.Module { return newGraniteAttention(b, i, b.cfg.Granite.Attention, false, false) },
			func(b *builder) nn.Module { return newMixtralMoE(b, "router.layer", graniteExperts) },
		)
	})
}

// graniteExperts has all experts' weights in two tensors. transformers' GraniteMoeMoE
// casts the weights to the model's dtype, and adds up by index_add.
func graniteExperts(b *builder, spec *topology.Spec) *nn.Experts {
	k := b.cfg.Experts.TopK
	m := b.fusedMoE3D("experts", spec, "input_linear.weight", "output_linear.weight", nn.SoftmaxTopK{K: k, Renormalise: true})
	m.Like = nn.TransformersExperts{Routing: nn.TopKSoftmax{K: k}, HalfWeights: true, ByExpert: true}
	return m
}
