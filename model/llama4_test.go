package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// TestLlama4Refuses: what vLLM does not read must not say otherwise.
func TestLlama4Refuses(t *testing.T) {
	const field = `"vocab_size": 160`
	for name, tc := range map[string]struct{ old, new, want string }{
		"biases":       {`"attention_bias": false`, `"attention_bias": true`, "config.json: attention_bias is true, but Llama4ForCausalLM has no bias in o_proj"},
		"qkv_bias":     {field, field + `, "qkv_bias": true`, "config.json: qkv_bias is true, but Llama4ForCausalLM has no biases"},
		"MLP biases":   {field, field + `, "mlp_bias": true`, "config.json: mlp_bias is true, but Llama4ForCausalLM has no such biases"},
		"activation":   {`"silu"`, `"gelu"`, `config.json: hidden_act "gelu" is not supported`},
		"window":       {field, field + `, "sliding_window": 16`, "config.json: layer 0 has a sliding window: Llama4ForCausalLM attends to all positions"},
		"two experts":  {`"num_experts_per_tok": 1`, `"num_experts_per_tok": 2`, "/num_experts_per_tok is 2: Llama4ForCausalLM weighs what an expert takes, so that a token has 1"},
		"moe_layers":   {"\"moe_layers\": [\n    1", "\"moe_layers\": [\n    2", "config.json: moe_layers does not go with interleave_moe_layer_step 2 in layer 1"},
		"no step":      {`"interleave_moe_layer_step": 2`, `"interleave_moe_layer_step": 0`, "/interleave_moe_layer_step is 0"},
		"layer types":  {`"chunked_attention",`, `"full_attention",`, `/layer_types holds "full_attention" for layer 0: Llama4ForCausalLM does not read it, and has "chunked_attention" there`},
		"rope list":    {"\"no_rope_layers\": [\n    1,\n    0,", "\"no_rope_layers\": [\n    0,", "/no_rope_layers has 2 entries for 3 layers"},
		"yarn":         {`"rope_type": "llama3"`, `"rope_type": "yarn"`, `rope_type "yarn" is not supported for Llama4ForCausalLM`},
		"partial":      {`"rope_type": "llama3"`, `"rope_type": "llama3", "partial_rotary_factor": 0.5`, "partial_rotary_factor is 0.5: Llama4ForCausalLM rotates whole heads"},
		"quantized":    {field, field + `, "quantization_config": {"quant_method": "compressed-tensors"}`, "quantized weights cannot be read"},
		"floor_scale":  {`"floor_scale": 6`, `"floor_scale": 0`, "/floor_scale is 0, expected a number above 0"},
		"more experts": {`"num_local_experts": 4`, `"num_local_experts": 5`, "expected [5,32"},
		"head_dim":     {`"head_dim": 16`, `"head_dim": null`, "expected [512,32] by config.json"},
		"unknown":      {field, field + `, "for_llm_compressor": true`, "is unknown and may change the numbers"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, "llama4", tc.old, tc.new, tc.want) })
	}
}

// TestLlama4Tempered: vLLM writes over what config.json says of the temperature.
func TestLlama4Tempered(t *testing.T) {
	for name, tc := range map[string]struct {
		config, generation string
		options            Options
		want               bool
	}{
		"long":               {"true", "", Options{}, true},
		"long, config":       {"false", "", Options{}, true},
		"short":              {"true", "", Options{MaxModelLen: 32768}, false},
		"one more":           {"true", "", Options{MaxModelLen: 32769}, true},
		"generation, on":     {"false", "true", Options{MaxModelLen: 100}, true},
		"generation, off":    {"true", "false", Options{}, false},
		"transformers":       {"false", "true", Options{DynamicRope: DynamicTransformers}, false},
		"transformers, four": {"4", "", Options{DynamicRope: DynamicTransformers, MaxModelLen: 9}, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := builtEdited(t, "llama4", tc.options, map[string][2]string{
				"config.json":            {`"attn_temperature_tuning": true`, `"attn_temperature_tuning": ` + tc.config},
				"generation_config.json": {`"bos_token_id"`, strings.TrimPrefix(`"attn_temperature_tuning": `+tc.generation+`, "bos_token_id"`, `"attn_temperature_tuning": , `)},
			})
			require.Equal(t, tc.want, m.Module("model.layers.1.self_attn").(*llama4Attention).temperature != nil)
			require.Nil(t, m.Module("model.layers.0.self_attn").(*llama4Attention).temperature)
		})
	}
}

// TestLlama4Layers: which layers rotate, attend within a chunk, normalise, and have
// experts.
func TestLlama4Layers(t *testing.T) {
	m := builtEdited(t, "llama4", Options{}, map[string][2]string{"config.json": {`"attention_chunk_size": 7`, `"attention_chunk_size": null`}})
	require.Zero(t, m.Module("model.layers.0.self_attn.attn").(*nn.Attention).Chunk)
	m = built(t, "llama4", Options{})
	for i, rotates := range []bool{true, false, true} {
		chunk := 0
		if rotates {
			chunk = 7
		}
		at := topology.InLayer(i, topology.SelfAttnName)
		require.Equal(t, chunk, m.Module(at+".attn").(*nn.Attention).Chunk)
		require.Equal(t, rotates, m.Module(at+".qk_norm") != nil)
		require.Equal(t, i == 1, m.Module(topology.InLayer(i, topology.FeedForwardRouterName)) != nil)
	}
	m = builtEdited(t, "llama4-plain", Options{}, map[string][2]string{"config.json": {`"no_rope_layers": [
    1,
    0,
    1,
    0
  ],`, ""}})
	for i := range 4 {
		require.Equal(t, i%2 == 0, m.Config.Llama4.rotates(i))
	}
}

// builtEdited builds a checkpoint of which text in its files is replaced.
func builtEdited(t *testing.T, checkpoint string, o Options, files map[string][2]string) *CausalLM {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(fixture.Architectures(), checkpoint))))
	for name, edit := range files {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(b), edit[0])
		require.NoError(t, os.WriteFile(path, []byte(strings.Replace(string(b), edit[0], edit[1], 1)), 0o644))
	}
	c, err := Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	m, err := Build(c, o)
	require.NoError(t, err)
	return m
}

// TestLlama4Theta: vLLM of 2025 takes the base of the rope as an integer.
func TestLlama4Theta(t *testing.T) {
	for _, tc := range []struct {
		options Options
		want    float64
	}{
		{Options{Era: topology.Era2025}, 20000},
		{Options{Era: topology.Era2026}, 20000.5},
		{Options{Era: topology.Era2025, DynamicRope: DynamicTransformers}, 20000.5},
	} {
		m := built(t, "llama4", tc.options)
		require.Equal(t, tc.want, m.Module("model.layers.0.self_attn.rotary_emb").(*nn.Rotary).Rope.Theta)
	}
}
