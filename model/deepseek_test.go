package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/topology"
)

// edited is a folder of an architecture with another config.json.
func edited(t *testing.T, name, from, to string) (*Checkpoint, error) {
	t.Helper()
	dir, folder := t.TempDir(), filepath.Join(fixture.Architectures(), name)
	config, err := os.ReadFile(filepath.Join(folder, "config.json"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(config), from), "%s in config.json of %s", from, name)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(strings.Replace(string(config), from, to, 1)), 0o644))
	weights, err := os.ReadFile(filepath.Join(folder, "model.safetensors"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), weights, 0o644))
	return Open(dir)
}

// What vLLM does not compute, or computes otherwise than the config says, is refused by name.
func TestSharedExpertsRefusals(t *testing.T) {
	for _, c := range []struct{ name, from, to, err string }{
		{"deepseek3", `"attention_bias": false`, `"attention_bias": true`, "attention_bias is true, but DeepseekV3ForCausalLM has no bias"},
		{"deepseek2", `"mlp_bias": false`, `"mlp_bias": true`, "mlp_bias is true, but DeepseekV2ForCausalLM has no such biases"},
		{"deepseek3", `"tie_word_embeddings": false`, `"tie_word_embeddings": true`, "vLLM does not tie the head of DeepseekV3ForCausalLM"},
		{"deepseek3", `"hidden_act": "silu"`, `"hidden_act": "gelu"`, `hidden_act "gelu" is not supported`},
		{"deepseek3", `"q_lora_rank": 20`, `"q_lora_rank": 0`, "/q_lora_rank is 0, expected 1 to"},
		{"deepseek3", `"q_lora_rank": 20,`, ``, `"q_lora_rank" is missing`},
		{"deepseek3", `"use_cache": true`, `"index_topk": 2048`, "/index_topk is not supported: sparse attention"},
		{"deepseek3", `"use_cache": true`, `"llama_4_scaling": {"beta": 0.1}`, "/llama_4_scaling is not supported: it changes the queries"},
		{"deepseek3", `"use_cache": true`, `"scoring_func": "tanh"`, `/scoring_func is "tanh", which is not supported`},
		{"deepseek3", `"use_cache": true`, `"scoring_func": "softmax"`, `/topk_method`},
		{"deepseek2", `"topk_method": "greedy"`, `"topk_method": "best"`, `/topk_method is "best", which is not supported`},
		{"deepseek2", `"n_group": null`, `"n_group": 3`, "/n_group is 3, but topk_method greedy has no groups"},
		{"deepseek3", `"n_group": 4`, `"n_group": 3`, "/n_routed_experts is 8, which is no multiple of n_group 3"},
		{"deepseek3", `"topk_group": 2`, `"topk_group": 5`, "/topk_group is 5, but there are only 4 groups"},
		{"deepseek3", `"num_experts_per_tok": 3`, `"num_experts_per_tok": 5`, "/num_experts_per_tok is 5, but 2 groups have only 4 experts"},
		{"deepseek3", `"n_shared_experts": 1`, `"n_shared_experts": null`, "n_shared_experts is 0 or null"},
		{"deepseek3", `"use_cache": true`, `"moe_router_dtype": "float16"`, `/moe_router_dtype is "float16", which is not supported`},
		{"deepseek3", `"rope_interleave": true`, `"rope_interleave": false`, "/rope_interleave is false"},
		{"deepseek3", `"head_dim": 6`, `"head_dim": 16`, "/head_dim is 16, expected qk_rope_head_dim"},
		{"deepseek3", `"v_head_dim": 9`, `"v_head_dim": 17`, "/v_head_dim is 17, expected at most 16"},
		{"deepseek3", `"num_key_value_heads": 4`, `"num_key_value_heads": 2`, "/num_key_value_heads is 2, expected num_attention_heads"},
		{"deepseek3", `"rope_type": "yarn"`, `"rope_type": "linear"`, `rope_type "linear" is not supported: vLLM computes yarn`},
		{"deepseek3", `"original_max_position_embeddings": 32,`, ``, "no original_max_position_embeddings"},
		{"deepseek3", `"beta_fast": 32`, `"truncate": false`, "truncate false is not supported"},
		{"deepseek3", `"beta_fast": 32`, `"attention_factor": 2.0`, "attention_factor 2 is not supported"},
		{"deepseek3", `"beta_fast": 32`, `"apply_yarn_scaling": false`, "apply_yarn_scaling"},
		{"glm4moe", `"tie_word_embeddings": false`, `"tie_word_embeddings": true`, "vLLM does not tie the head of Glm4MoeForCausalLM"},
		{"glm4moe", `"hidden_act": "silu"`, `"hidden_act": "gelu"`, `hidden_act "gelu" is not supported`},
		{"glm4moe", `"head_dim": 12,`, ``, `"head_dim" is missing`},
		{"glm4moe", `"use_cache": true`, `"mlp_bias": true`, "mlp_bias is true"},
		{"glm4moe", `"n_shared_experts": 1`, `"n_shared_experts": 0`, "n_shared_experts is 0 or null"},
	} {
		t.Run(c.name+" "+c.to, func(t *testing.T) {
			ckpt, err := edited(t, c.name, c.from, c.to)
			if err == nil {
				defer ckpt.Close()
				_, err = Build(ckpt, Options{})
			}
			require.ErrorContains(t, err, c.err)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

// The weights of layers behind the last are passed over where the config says what they are.
func TestNextLayers(t *testing.T) {
	for _, name := range []string{"deepseek3", "glm4moe"} {
		c, err := edited(t, name, `"num_hidden_layers": 3`, `"num_hidden_layers": 2, "num_nextn_predict_layers": 1`)
		require.NoError(t, err)
		defer c.Close()
		_, err = Build(c, Options{})
		require.NoError(t, err)
		require.Empty(t, c.Unused())
		c, err = edited(t, name, `"num_hidden_layers": 3`, `"num_hidden_layers": 2`)
		require.NoError(t, err)
		defer c.Close()
		_, err = Build(c, Options{})
		require.NoError(t, err)
		require.NotEmpty(t, c.Unused())
	}
}

// Which layers are mixtures: from a layer on, and of those every so many.
func TestSparseLayers(t *testing.T) {
	d := DeepseekConfig{FirstDense: 3, LayerFreq: 2}
	var sparse []int
	for i := range 9 {
		if d.sparse(i) {
			sparse = append(sparse, i)
		}
	}
	require.Equal(t, []int{4, 6, 8}, sparse)
}

// DeepSeek in float16 is not what vLLM computes unless its factor is 1.
func TestNoFloat16(t *testing.T) {
	require.Empty(t, built(t, "deepseek2", Options{}).NoFloat16)
	require.Contains(t, built(t, "deepseek3", Options{}).NoFloat16, "1/routed_scaling_factor")
	require.Empty(t, built(t, "glm4moe", Options{}).NoFloat16)
}

// moe_router_dtype is read in 2026 alone.
func TestRouterDType(t *testing.T) {
	for _, era := range []topology.Era{topology.Era2025, topology.Era2026} {
		c, err := edited(t, "deepseek3", `"use_cache": true`, `"moe_router_dtype": "float32"`)
		require.NoError(t, err)
		defer c.Close()
		m, err := Build(c, Options{Era: era})
		require.NoError(t, err)
		gate := m.Module("model.layers.1.mlp").(*deepseekMoE).gate
		require.Equal(t, era == topology.Era2026, gate.Float)
	}
}
