package model

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// TestListingFollowsRegistration holds the listing of an architecture's modules
// to the order of vLLM's named_modules, in which the rotary embedding that all
// layers share is found under the first.
func TestListingFollowsRegistration(t *testing.T) {
	want := []string{"model.embed_tokens"}
	for i := range 3 {
		attn := []string{"", ".self_attn", ".self_attn.qkv_proj", ".self_attn.o_proj", ".self_attn.rotary_emb", ".self_attn.attn", ".self_attn.q_norm", ".self_attn.k_norm"}
		for _, n := range append(attn, ".mlp", ".mlp.gate_up_proj", ".mlp.down_proj", ".mlp.act_fn", ".input_layernorm", ".post_attention_layernorm") {
			if i == 0 || n != ".self_attn.rotary_emb" {
				want = append(want, fmt.Sprintf("model.layers.%d%s", i, n))
			}
		}
	}
	require.Equal(t, append(want, "model.norm", "logits_processor"), built(t, "qwen3").ModuleNames())
}

// TestTreeAgainstTopology holds every module of every architecture to the kind
// that the table of names gives for its name.
func TestTreeAgainstTopology(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(fixture.Architectures(), "*", "config.json"))
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, config := range dirs {
		name := filepath.Base(filepath.Dir(config))
		t.Run(name, func(t *testing.T) {
			for _, m := range built(t, name).Modules() {
				of := topology.Of(m.Name())
				require.NotNil(t, of.Spec, m.Name())
				kind := of.Spec.Kind
				switch m.(type) {
				case *nn.Embedding:
					require.Equal(t, topology.Embedding, kind, m.Name())
				case *nn.Linear:
					require.True(t, kind.IsLinear(), m.Name())
				case *nn.RMSNorm:
					require.True(t, kind.IsNorm(), m.Name())
				case *nn.SiluAndMul:
					require.Equal(t, topology.Activation, kind, m.Name())
				case *nn.LogitsProcessor:
					require.True(t, kind.IsHead(), m.Name())
				case *nn.SelfAttention, *nn.DecoderLayer, *nn.MLP:
					require.True(t, kind.IsBlock(), m.Name())
				}
				require.Equal(t, m.Holds() != nil, kind.Attends(), m.Name())
			}
		})
	}
}

func built(t *testing.T, name string) *CausalLM {
	c, err := Open(filepath.Join(fixture.Architectures(), name))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	m, err := Build(c, Options{})
	require.NoError(t, err)
	return m
}
