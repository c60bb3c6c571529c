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
