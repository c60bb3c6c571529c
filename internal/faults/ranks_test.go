package faults

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/il"
)

// What one rank computes wrong is named by module and rank, and a rank that
// holds another copy of what all must hold is told from the others.
func TestFaultOfOneRank(t *testing.T) {
	b := NewBench(t, "gopher-1m")
	const layer = "model.layers.1."
	for _, module := range []string{
		layer + "self_attn.qkv_proj", layer + "self_attn.attn", layer + "self_attn.o_proj",
		layer + "mlp.gate_up_proj", layer + "mlp.act_fn", layer + "mlp.down_proj", layer + "post_attention_layernorm", "model.norm",
	} {
		t.Run(module, func(t *testing.T) {
			for _, factor := range []float64{1.05, 1.3} {
				target := b.ranks(t, Setting{Order: RowParallel}, func(rank int, m string, out il.Value) {
					if rank == 1 && m == module {
						edit(first(out), scaled(factor))
					}
				})
				for _, m := range modes {
					r, err := compare.Sessions(b.Ref, target, compare.Options{Evidence: m.evidence(t, b, Setting{}, target)})
					require.NoError(t, err)
					require.NotNil(t, r.FirstDivergence, m.name)
					d := r.FirstDivergence
					require.Equal(t, Place{Module: module}, Place{d.Step, d.Module, d.Call}, "%s: %s", m.name, d.Why)
					if m.name == "replay" || factor > 1.1 { // of two sessions the order of summation hides whose a small gap is
						require.Contains(t, d.Why, "cuda:1", m.name)
						require.NotContains(t, d.Why, "cuda:0 computed", m.name)
					}
					require.Empty(t, r.Fallback, m.name)
				}
			}
		})
	}
}

func scaled(by float64) func(int, []float64) {
	return func(_ int, v []float64) {
		for i := range v {
			v[i] *= by
		}
	}
}
