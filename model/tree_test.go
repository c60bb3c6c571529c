package model

import (
	"fmt"
	"path/filepath"
	"slices"
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
	require.Equal(t, append(want, "model.norm", "logits_processor"), built(t, "qwen3", Options{}).ModuleNames())
}

// TestTreeAgainstTopology holds the tree of every architecture to its entry in
// the table of names: the same modules in the same order, of the same classes.
func TestTreeAgainstTopology(t *testing.T) {
	seen := map[string]bool{}
	eachArchitecture(t, func(t *testing.T, m *CausalLM, era topology.Era) {
		arch := m.Config.Architectures[0]
		seen[arch] = true
		entry := topology.ByName(arch, era)
		require.NotNil(t, entry, arch)
		var want, got []topology.Child
		for _, x := range entry.Modules(m.Config.NumHiddenLayers) {
			require.True(t, x.Known)
			if slices.Contains(entry.Some, x.Rel) && m.Module(x.Name) == nil {
				continue
			}
			want = append(want, topology.Child{Name: x.Name, Spec: x.Spec})
		}
		for _, x := range m.Modules() {
			got = append(got, topology.Child{Name: x.Name(), Spec: x.Spec()})
		}
		require.Equal(t, len(want), len(got))
		for i := range want {
			require.Equal(t, want[i].Name, got[i].Name)
			require.Same(t, want[i].Spec, got[i].Spec, got[i].Name)
		}
	})
	for _, name := range Architectures() {
		require.True(t, seen[name], "testdata/architectures has no %s", name)
	}
}

// TestTreeIsDescribed holds every module to what its class says: as many
// arguments, states where it says that it keeps some, and sources for what hooks
// do not see.
func TestTreeIsDescribed(t *testing.T) {
	eachArchitecture(t, func(t *testing.T, m *CausalLM, _ topology.Era) {
		var held int
		for _, x := range m.Modules() {
			spec, inputs := x.Spec(), x.Inputs()
			require.LessOrEqual(t, len(inputs), len(spec.In), x.Name())
			for i, in := range inputs {
				if !in.Fixed {
					require.Equal(t, in.Ints, len(withoutBatch(spec.In[i].Shape)) == 1, "%s: argument %d", x.Name(), i)
				}
				if spec.Keyword {
					require.NotEmpty(t, x.Sources(i, 0), "%s: argument %d is seen by no hook", x.Name(), i)
				}
			}
			require.Equal(t, spec.State != topology.Stateless, len(nn.StatesOf(x)) > 0, x.Name())
			if _, ok := x.(nn.Stateful); ok {
				held++
			}
			for _, p := range x.Params() {
				require.Positive(t, p.Tensor.Numel(), "%s.%s", x.Name(), p.Name)
			}
			require.Same(t, x, m.Module(x.Name()))
		}
		require.Equal(t, m.Config.NumHiddenLayers, held)
	})
}

// eachArchitecture calls f with every model of testdata/architectures, as vLLM builds
// it in each era.
func eachArchitecture(t *testing.T, f func(t *testing.T, m *CausalLM, era topology.Era)) {
	configs, err := filepath.Glob(filepath.Join(fixture.Architectures(), "*", "config.json"))
	require.NoError(t, err)
	require.NotEmpty(t, configs)
	for _, config := range configs {
		name := filepath.Base(filepath.Dir(config))
		for _, r := range []nn.Rounding{nn.VLLM2025, nn.VLLM2026} {
			t.Run(name+"/"+string(r), func(t *testing.T) { f(t, built(t, name, OptionsOf(r)), r.Era()) })
		}
	}
}

func built(t *testing.T, name string, o Options) *CausalLM {
	c, err := Open(filepath.Join(fixture.Architectures(), name))
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	m, err := Build(c, o)
	require.NoError(t, err)
	return m
}

func withoutBatch(shape []topology.Dim) []topology.Dim {
	if len(shape) > 0 && shape[0] == topology.One {
		return shape[1:]
	}
	return shape
}
