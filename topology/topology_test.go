package topology

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLocate(t *testing.T) {
	for name, want := range map[string]Place{
		"model.layers.12.self_attn.qkv_proj": {"model.layers.", 12, "self_attn.qkv_proj"},
		"model.layers.0":                     {"model.layers.", 0, ""},
		"transformer.h.3.attn":               {"transformer.h.", 3, "attn"},
		"layers.7.mlp":                       {"layers.", 7, "mlp"},
		"model.norm":                         {"", -1, "model.norm"},
		"model.layers.x.mlp":                 {"", -1, "model.layers.x.mlp"},
		"model.layers":                       {"", -1, "model.layers"},
		"model.layers.":                      {"", -1, "model.layers."},
		"model.layers.-1.mlp":                {"", -1, "model.layers.-1.mlp"},
		"model.layers.99999999999.mlp":       {"", -1, "model.layers.99999999999.mlp"},
		"a.layers.b.layers.2.mlp":            {"a.layers.b.layers.", 2, "mlp"},
		"":                                   {"", -1, ""},
	} {
		p := Locate(name)
		assert.Equal(t, want, p, name)
		assert.Equal(t, name, p.Name())
	}
	assert.Equal(t, "model.layers.N.mlp", Locate("model.layers.4.mlp").Pattern())
	assert.True(t, Locate("model.layers.4").IsLayer())
}

func FuzzLocate(f *testing.F) {
	for _, s := range []string{"model.layers.12.self_attn.qkv_proj", "layers.0", "h.h.1", "..", "layers.01.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p := Locate(name)
		m := Of(name)
		require.NotNil(t, m.Spec)
		if p.Layer < 0 {
			assert.Equal(t, name, p.Rel)
		}
	})
}

// Every architecture's tree is unambiguous, complete and what its words say,
// unless it says so itself.
func TestArchitectures(t *testing.T) {
	for _, a := range architectures {
		require.NotEmpty(t, a.Names)
		for _, n := range a.Names {
			assert.Same(t, a, ByName(n, a.Era()))
		}
		var names []string
		for _, c := range a.Root {
			names = append(names, c.Name)
		}
		for _, c := range a.Layer {
			names = append(names, InLayer(1, c.Name))
		}
		for i, n := range names {
			m := a.Of(n)
			assert.NotContains(t, names[:i], n)
			assert.True(t, m.Known)
			assert.NotEmpty(t, m.Class, n)
			assert.NotEqual(t, Unknown, m.Kind, n)
			for _, x := range slices.Concat(m.In, m.Out) {
				assert.NotEmpty(t, x.Name, n)
			}
		}
		assert.NotNil(t, Recognise(slices.Values(names)))
	}
	assert.Nil(t, ByName("NoSuchForCausalLM", Era2025))
}

// What two architectures call alike is what the word means, so that a session
// of an unknown one is read as they are.
func TestWordsAgreeWithArchitectures(t *testing.T) {
	for _, a := range []*Architecture{llama, qwen3} {
		for _, c := range slices.Concat(a.Layer) {
			assert.Same(t, a.Of(InLayer(2, c.Name)).Spec, Of(InLayer(2, c.Name)).Spec, c.Name)
		}
	}
}

func TestUnknown(t *testing.T) {
	m := Of("model.layers.3.mixer.frobnicate")
	assert.Equal(t, Unknown, m.Kind)
	assert.False(t, m.Known)
	assert.Equal(t, 3, m.Layer)
	assert.Equal(t, Linear, Of("model.layers.3.mixer.in_proj").Kind)
	assert.Equal(t, UnknownSharding, Of("model.layers.3.mixer.in_proj").Sharding(true, "0"))
	assert.Equal(t, Norm, Of("model.layers.3.ln_norm").Kind)
	assert.Equal(t, Layer, Of("decoder.layers.3").Kind)
}

func TestSharding(t *testing.T) {
	for _, c := range []struct {
		module string
		output bool
		slot   string
		want   Sharding
	}{
		{"model.layers.0.self_attn.qkv_proj", false, "0", Replicated},
		{"model.layers.0.self_attn.qkv_proj", true, "0", PackedQKV},
		{"model.layers.0.self_attn.rotary_emb", false, "0", Replicated},
		{"model.layers.0.self_attn.rotary_emb", false, "2", KVColumn},
		{"model.layers.0.self_attn.attn", true, "", Column},
		{"model.layers.0.mlp.act_fn", false, "0", MergedColumn},
		{"model.layers.0.mlp.down_proj", true, "0", Replicated},
		{"model.layers.0", true, "1", Replicated},
		{"model.layers.0.self_attn.q_norm", false, "0", HeadAxis},
		{"model.layers.0.post_feedforward_layernorm", true, "", Replicated},
		{"model.layers.0.self_attn.attn", false, "7", UnknownSharding},
		{"model.layers.0.odd", true, "0", UnknownSharding},
	} {
		assert.Equal(t, c.want, Of(c.module).Sharding(c.output, c.slot), fmt.Sprint(c))
	}
}

func TestRecognise(t *testing.T) {
	assert.Same(t, qwen3, Recognise(slices.Values([]string{"model.layers.0.self_attn.q_norm", "model.norm"})))
	assert.Same(t, llama, Recognise(slices.Values([]string{"model.layers.0.mlp"})))
	assert.Nil(t, Recognise(slices.Values([]string{"model.layers.0.mixer"})))
	assert.Nil(t, Recognise(slices.Values([]string{"blocks.layers.0.mlp"})))
}

// A session of transformers is read by the table of its own architecture: that of
// the session beside it, or one that has all its modules.
func TestTransformersTable(t *testing.T) {
	rotated := func(of *Architecture, modules ...string) string {
		for _, m := range TransformersTable(slices.Values(modules), 2, of).Mappings {
			if m.Module == layersPrefix+"0."+RotaryName && m.Index == 1 && !m.Output && m.Slot == "1" {
				return m.Sources[0].Module
			}
		}
		return ""
	}
	q, qNorm := "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.q_norm"
	behind := "model.layers.1.post_feedforward_layernorm"
	assert.Equal(t, q, rotated(nil, q, "model.rotary_emb"))
	assert.Equal(t, qNorm, rotated(nil, q, qNorm))
	assert.Equal(t, qNorm, rotated(qwen3, q), "a filter left the norms out")
	assert.Equal(t, qNorm, rotated(llama, q, qNorm), "the other session's filter did")
	assert.Equal(t, qNorm, rotated(nil, q, behind))
	assert.Equal(t, q, rotated(nil, "model.layers.1.mixer"), "Llama's where none has all")

	same := TransformersTable(slices.Values([]string{behind}), 2, nil).Same(argument("model.layers.1"))
	assert.Contains(t, same, result("model.layers.0"))
	assert.Contains(t, same, argument(q), "no norm stands before the attention")
	assert.NotContains(t, TransformersTable(slices.Values([]string{q}), 2, nil).Same(argument("model.layers.1")), argument(q))
}

// Phi-3 packs its projections in transformers too, so that they are no sign of vLLM
// there, and has modules that vLLM's do not stand for.
func TestTransformersPhi3(t *testing.T) {
	modules := []string{"model.layers.1.self_attn.qkv_proj", "model.layers.1.mlp.gate_up_proj", "model.layers.1.mlp.activation_fn", "model.layers.1.resid_attn_dropout"}
	for _, of := range []*Architecture{nil, llama, phi3} {
		sources := map[string][]Source{}
		for _, m := range TransformersTable(slices.Values(modules), 2, of).Mappings {
			if m.Output && m.Slot == "0" || m.Module == layersPrefix+"0."+RotaryName {
				sources[fmt.Sprintf("%s %d %t %s", m.Module, m.Index, m.Output, m.Slot)] = m.Sources
			}
		}
		assert.Equal(t, []Source{result(modules[0])}, sources[modules[0]+" 0 true 0"])
		assert.Equal(t, []Source{result(modules[1])}, sources[modules[1]+" 0 true 0"])
		assert.Nil(t, sources[layersPrefix+"0."+RotaryName+" 1 false 1"])
	}
	for _, m := range modules[2:] {
		assert.True(t, TransformersAlone(m, false, "0"), m)
		assert.True(t, TransformersAlone(m, true, ""), m)
	}
	assert.True(t, TransformersAlone("model.layers.0.self_attn", false, "position_embeddings_0"), "by keyword")
	assert.False(t, TransformersAlone("model.layers.0", false, "0"))

	for name, want := range map[string]Convention{
		modules[0]: LikeVLLM, modules[1]: LikeVLLM, modules[2]: Transformers, "lm_head": Transformers, "logits_processor": VLLM,
		"model.layers.0.self_attn.attn": VLLM, "model.layers.0.self_attn.q_proj": LikeTransformers, "model.norm": AnyConvention,
	} {
		assert.Equal(t, want, ConventionOf(name), name)
	}
}

func ExampleOf() {
	m := Of("model.layers.3.self_attn.o_proj")
	fmt.Println(m.Class, m.Layer, m.Rel, m.Reduces)
	// Output: RowParallelLinear 3 self_attn.o_proj true
}
