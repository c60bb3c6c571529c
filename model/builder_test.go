package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/fixture"
)

// TestConfigAgainstArchitecture refuses config fields that an architecture
// does not honour, and weights that contradict the config.
func TestConfigAgainstArchitecture(t *testing.T) {
	for _, tc := range []struct{ name, checkpoint, old, new, want string }{
		{"mlp_bias of Qwen3", "qwen3", `"vocab_size": 160`, `"vocab_size": 160, "mlp_bias": true`, "config.json: mlp_bias is true, but Qwen3ForCausalLM has no such biases"},
		{"attention_bias of Qwen2", "qwen2-window", `"vocab_size": 160`, `"vocab_size": 160, "attention_bias": true`, "config.json: attention_bias is true, but Qwen2ForCausalLM has no bias in o_proj"},
		{"bias without weights", "llama-linear", `"attention_bias": false`, `"attention_bias": true`, `no tensor "model.layers.0.self_attn.q_proj.bias" of shape [32], which the model needs`},
		{"wrong number of heads", "qwen3", `"num_key_value_heads": 2`, `"num_key_value_heads": 4`, `tensor "model.layers.0.self_attn.k_proj.weight" has shape [32,32], expected [64,32] by config.json`},
		{"quantized", "qwen3", `"vocab_size": 160`, `"vocab_size": 160, "quantization_config": {"quant_method": "fp8"}`, "quantized weights cannot be read"},
		{"softcapping", "qwen3", `"vocab_size": 160`, `"vocab_size": 160, "attn_logit_softcapping": 30.0`, "it changes the attention scores"},
		{"activation", "qwen3", `"silu"`, `"gelu"`, `config.json: hidden_act "gelu" is not supported: expected "silu"`},
		{"window of OLMo-2", "olmo2", `"vocab_size": 160`, `"vocab_size": 160, "sliding_window": 16`, "config.json: layer 0 has a sliding window: Olmo2ForCausalLM attends to all positions"},
		{"head_dim of OLMo-2", "olmo2", `"vocab_size": 160`, `"vocab_size": 160, "head_dim": 16`, "config.json: head_dim 16: Olmo2ForCausalLM takes hidden_size / num_attention_heads, which is 8"},
		{"biases of OLMo-2", "olmo2", `"attention_bias": false`, `"attention_bias": true`, "config.json: attention_bias is true, but Olmo2ForCausalLM has no bias in o_proj"},
		{"activation of Mixtral", "mixtral", `"silu"`, `"gelu"`, `config.json: hidden_act "gelu" is not supported: expected "silu"`},
		{"experts of Mixtral", "mixtral", `"num_experts_per_tok": 2`, `"num_experts_per_tok": 9`, "/num_experts_per_tok is 9, but there are only 5 experts"},
		{"scaled rope of Mixtral", "mixtral", `"rope_type": "default"`, `"rope_type": "linear", "factor": 2.0`, `config.json: rope_type "linear": MixtralForCausalLM of vLLM in 2025 leaves the scaling out without a word; expected none, or the profile vllm-2026`},
		{"biases of Mixtral", "mixtral", `"vocab_size": 160`, `"vocab_size": 160, "attention_bias": true`, "config.json: attention_bias is true, but MixtralForCausalLM has no bias in o_proj"},
		{"quantised Mixtral", "mixtral", `"vocab_size": 160`, `"vocab_size": 160, "quantization_config": {"quant_method": "awq"}`, "quantized weights cannot be read"},
		{"activation of Qwen2-MoE", "qwen2moe", `"silu"`, `"relu"`, `config.json: hidden_act "relu" is not supported: expected "silu"`},
		{"window of Qwen2-MoE", "qwen2moe", `"use_sliding_window": false`, `"use_sliding_window": true`, "/sliding_window is 0, expected"},
		{"layers with windows of Qwen2-MoE", "qwen2moe", "\"full_attention\",", "\"sliding_attention\",", `/layer_types holds "sliding_attention", but there is no sliding_window`},
		{"chunked attention of Qwen2-MoE", "qwen2moe", `"vocab_size": 160`, `"vocab_size": 160, "dual_chunk_attention_config": {"chunk_size": 8}`, "/dual_chunk_attention_config is not supported: it changes which keys a query sees"},
		{"head_dim of Qwen2-MoE", "qwen2moe", `"vocab_size": 160`, `"vocab_size": 160, "head_dim": 16`, "config.json: head_dim 16: Qwen2MoeForCausalLM takes hidden_size / num_attention_heads, which is 8"},
		{"no biases of Qwen2-MoE", "qwen2moe", `"qkv_bias": true`, `"qkv_bias": false`, "config.json: qkv_bias is false, but Qwen2MoeForCausalLM has biases on q, k and v"},
		{"activation of Qwen3-MoE", "qwen3moe", `"silu"`, `"gelu"`, `config.json: hidden_act "gelu" is not supported: expected "silu"`},
		{"window of Qwen3-MoE", "qwen3moe", `"sliding_window": null`, `"sliding_window": 7, "layer_types": ["sliding_attention", "full_attention", "full_attention"]`, "config.json: layer 0 has a sliding window: Qwen3MoeForCausalLM attends to all positions"},
		{"biases without weights of Qwen3-MoE", "qwen3moe", `"attention_bias": false`, `"attention_bias": true`, `no tensor "model.layers.0.self_attn.q_proj.bias"`},
		{"activation of Granite", "granitemoe", `"silu"`, `"gelu"`, `config.json: hidden_act "gelu" is not supported: expected "silu"`},
		{"biases of Granite", "granitemoe", `"attention_bias": false`, `"attention_bias": true`, "config.json: attention_bias is true, but GraniteMoeForCausalLM has no bias in o_proj"},
		{"head_dim of Granite", "granitemoe", `"vocab_size": 160`, `"vocab_size": 160, "head_dim": 16`, "config.json: head_dim 16: GraniteMoeForCausalLM takes hidden_size / num_attention_heads, which is 8"},
		{"logits of Granite", "granitemoe", `"logits_scaling": 6.0`, `"logits_scaling": 0`, "/logits_scaling is 0, expected"},
		{"rope type", "llama-linear", `"rope_type": "linear"`, `"rope_type": "mrope"`, `is "mrope", which is not supported`},
	} {
		t.Run(tc.name, func(t *testing.T) { refused(t, tc.checkpoint, tc.old, tc.new, tc.want) })
	}
}

// refused expects one line against a checkpoint whose config is edited.
func refused(t *testing.T, checkpoint, old, edit, want string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(fixture.Architectures(), checkpoint))))
	path := filepath.Join(dir, "config.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	edited := strings.Replace(string(b), old, edit, 1)
	require.NotEqual(t, string(b), edited)
	require.NoError(t, os.WriteFile(path, []byte(edited), 0o644))
	c, err := Open(dir)
	if err == nil {
		defer c.Close()
		_, err = Build(c, Options{})
	}
	require.ErrorContains(t, err, want)
	require.NotContains(t, err.Error(), "\n")
}
