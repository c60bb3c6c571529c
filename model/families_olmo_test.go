package model

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

func parsed(t *testing.T, text string) *Config {
	t.Helper()
	c, err := ParseConfig("config.json", []byte(text))
	require.NoError(t, err)
	return c
}

// changed is a checkpoint with another text in its config.json.
func changed(t *testing.T, dir, from, to string) *Checkpoint {
	t.Helper()
	work := filepath.Join(t.TempDir(), dir)
	require.NoError(t, os.CopyFS(work, os.DirFS(fixture.Architecture(dir))))
	file := filepath.Join(work, "config.json")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), from)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), from, to, 1)), 0o644))
	c, err := Open(work)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// configOf is a config of an architecture with more fields.
func configOf(arch string, fields ...string) string {
	s := strings.Replace(llama, "LlamaForCausalLM", arch, 1)
	s = strings.Replace(s, "  \"rope_scaling\": null,\n", "", 1)
	if !strings.Contains(strings.Join(fields, ""), "rope_theta") {
		fields = append(fields, `"rope_theta": 500000.0`)
	}
	s = strings.Replace(s, "  \"rope_theta\": 500000.0,\n", "", 1)
	return strings.Replace(s, "{\n", "{\n  "+strings.Join(fields, ",\n  ")+",\n", 1)
}

// What two programs would compute otherwise, or vLLM passes over, is refused by name.
func TestRefusedOfOlmoAndExaone(t *testing.T) {
	for _, c := range []struct{ arch, field, want string }{
		{"Olmo3ForCausalLM", `"rope_theta": null`, "rope_theta is missing"},
		{"Olmo3ForCausalLM", `"layer_types": ["full_attention", "full_attention", "full_attention"]`, "/layer_types has no layer with a window"},
		{"Olmo3ForCausalLM", `"layer_types": ["full_attention", "sliding_attention", "chunked_attention"]`, "chunked_attention"},
		{"Olmo3ForCausalLM", `"sliding_window": null`, "there is no sliding_window"},
		{"Olmo3ForCausalLM", `"rope_parameters": {"rope_theta": 1e4, "full_attention": {"rope_type": "default", "rope_theta": 1e4}}`, "/rope_parameters/rope_theta stands beside"},
		{"Olmo3ForCausalLM", `"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}`, "sliding_attention"},
		{"Olmo3ForCausalLM", `"rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}`, "/rope_parameters/full_attention has no rope_theta"},
		{"Exaone4ForCausalLM", `"rope_theta": null`, "rope_theta is missing"},
		{"Exaone4ForCausalLM", `"layer_types": ["full_attention", "full_attention", "full_attention"]`, "vLLM rotates all layers, transformers none"},
		{"Exaone4ForCausalLM", `"sliding_window_pattern": "LLG"`, "/sliding_window_pattern is no number"},
		{"Exaone4ForCausalLM", `"sliding_window": null`, "layer_types is missing"},
		{"Exaone4ForCausalLM", `"logit_scale": 2.0`, "logit_scale is not supported"},
		{"Exaone4ForCausalLM", `"partial_rotary_factor": 0.5`, "rotates whole heads"},
		{"SmolLM3ForCausalLM", `"no_rope_layers": [1, 0]`, "/no_rope_layers has 2 entries for 3 layers"},
		{"SmolLM3ForCausalLM", `"sliding_window": 8`, "no layer has a window"},
		{"SmolLM3ForCausalLM", `"sliding_window": 8, "layer_types": ["full_attention", "sliding_attention", "full_attention"]`, "use_sliding_window is false"},
		{"LlamaForCausalLM", `"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}`, "is an object"},
	} {
		_, err := ParseConfig("config.json", []byte(configOf(c.arch, c.field)))
		require.ErrorContains(t, err, c.want, "%s %s", c.arch, c.field)
	}
	for _, c := range []struct{ arch, dir, from, to, want string }{
		{"Olmo3ForCausalLM", "olmo3", `"attention_bias": false`, `"attention_bias": true`, "attention_bias is true"},
		{"Olmo3ForCausalLM", "olmo3", `"hidden_act": "silu"`, `"hidden_act": "gelu"`, "hidden_act"},
		{"Olmo3ForCausalLM", "olmo3-yarn", `"rope_type": "yarn"`, `"rope_type": "yarn", "attention_factor": 2.0`, "attention_factor 2 of yarn"},
		{"Exaone4ForCausalLM", "exaone4", `"hidden_act": "silu"`, `"hidden_act": "silu", "attention_bias": true`, "has no biases"},
		{"Exaone4ForCausalLM", "exaone4", `"hidden_act": "silu"`, `"hidden_act": "silu", "mlp_bias": true`, "has no biases"},
		{"SmolLM3ForCausalLM", "smollm3", `"hidden_act": "silu"`, `"hidden_act": "gelu"`, "hidden_act"},
	} {
		for _, era := range eras(c.arch) {
			_, err := Build(changed(t, c.dir, c.from, c.to), Options{Era: era})
			require.ErrorContains(t, err, c.want, "%s %s", c.arch, c.to)
		}
	}
}

// Fields that a config leaves out have the defaults of transformers.
func TestDefaultsOfOlmoAndExaone(t *testing.T) {
	c := parsed(t, strings.Replace(configOf("Olmo3ForCausalLM", `"hidden_dropout": 0`), `"num_hidden_layers": 3`, `"num_hidden_layers": 5`, 1))
	require.Equal(t, 4096, c.SlidingWindow)
	require.Equal(t, []string{"sliding_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"}, c.LayerTypes)
	c = parsed(t, configOf("Exaone4ForCausalLM", `"sliding_window_pattern": 2`, `"sliding_window": 16`))
	require.Equal(t, []string{"sliding_attention", "full_attention", "sliding_attention"}, c.LayerTypes)
	c = parsed(t, configOf("SmolLM3ForCausalLM", `"rope_theta": null`))
	require.Equal(t, 2e6, c.Rope.Theta)
	require.True(t, c.TieWordEmbeddings)
	require.Equal(t, []bool{true, true, true}, c.SmolLM3.Rotates)
	c = parsed(t, configOf("SmolLM3ForCausalLM", `"no_rope_layer_interval": 2`, `"use_sliding_window": true`, `"sliding_window": 4`))
	require.Equal(t, []string{"full_attention", "sliding_attention", "full_attention"}, c.LayerTypes)
}

// OLMo-3's layers with a window take no scaling in vLLM of 2025, that of all in 2026, and their own
// where the config has one for each type of layer.
func TestRopesOfOlmo3(t *testing.T) {
	ropes := func(m *CausalLM) (names []string) {
		for _, n := range m.ModuleNames() {
			if strings.HasSuffix(n, "rotary_emb") {
				names = append(names, n)
			}
		}
		return names
	}
	build := func(c *Checkpoint, era topology.Era) *CausalLM {
		m, err := Build(c, Options{Era: era})
		require.NoError(t, err)
		return m
	}
	flat := changed(t, "olmo3-yarn", "", "")
	apart := []string{"model.layers.0.self_attn.rotary_emb", "model.layers.1.self_attn.rotary_emb"}
	require.Equal(t, apart, ropes(build(flat, topology.Era2025)))
	require.Equal(t, apart[:1], ropes(build(flat, topology.Era2026)))
	nested := changed(t, "olmo3", `"rope_theta": 10000.0,
    "rope_type": "default"`, `"full_attention": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 20000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}`)
	for _, era := range []topology.Era{topology.Era2025, topology.Era2026} {
		m := build(nested, era)
		require.Equal(t, []string{"model.layers.0.self_attn.rotary_emb", "model.layers.3.self_attn.rotary_emb"}, ropes(m))
		full := m.Module("model.layers.3.self_attn.rotary_emb").(*nn.Rotary)
		require.Equal(t, 20000., full.Rope.Theta)
		require.NotNil(t, full.Rope.Scaling)
		sliding := m.Module("model.layers.0.self_attn.rotary_emb").(*nn.Rotary)
		require.Equal(t, 10000., sliding.Rope.Theta)
		require.Nil(t, sliding.Rope.Scaling)
		require.InDelta(t, 0.1*math.Log(4)+1, ropeOf(m.Config, Options{}).MScale, 1e-12)
	}
}
