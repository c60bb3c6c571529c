package faults

import (
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// Outliers gives a model what large trained ones have and small ones do not: a
// channel of the residual stream that is 20 times the others (Dettmers et al.,
// "LLM.int8()", 2022), and one of a thousand times in the first token alone (Sun
// et al., "Massive Activations in Large Language Models", 2024). Norms take both
// out of what the layers see.
func Outliers(m *model.CausalLM) {
	const channel, massive = 7, 5
	embed := get[*nn.Embedding](m, topology.EmbedTokensName)
	embed.Weight = edited(embed.Weight, func(row int, v []float64) {
		v[channel] *= 20
		if row == 1 { // that all prompts begin with
			v[massive] *= 1000
		}
	})
	each(m, func(n *nn.RMSNorm) {
		if n.Spec().Kind != topology.Norm {
			return
		}
		n.Weight = edited(n.Weight, func(_ int, v []float64) {
			v[channel] /= 20
			v[massive] /= 500
		})
	})
}
