package model

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// TestDenseRefuses: what vLLM's classes of Granite, Seed-OSS, GLM, Cohere, ERNIE and Phi-3 do
// not read, or assert, must not stand in config.json otherwise.
func TestDenseRefuses(t *testing.T) {
	const field, theta = `"vocab_size": 160`, `"rope_theta": 10000.0,`
	for name, tc := range map[string]struct{ checkpoint, old, new, want string }{
		"granite, activation":   {"granite", `"silu"`, `"gelu"`, `config.json: hidden_act "gelu" is not supported`},
		"granite, window":       {"granite", field, field + `, "sliding_window": 9`, "config.json: layer 0 has a sliding window: GraniteForCausalLM attends to all positions"},
		"granite, logits":       {"granite", `"logits_scaling": 6.0`, `"logits_scaling": 0`, "/logits_scaling is 0, expected a number above 0"},
		"granite, attention":    {"granite", `"attention_multiplier": 0.11`, `"attention_multiplier": 0`, "/attention_multiplier is 0, expected a number above 0"},
		"seed, no biases":       {"seedoss", `"attention_bias": true`, `"attention_bias": false`, "attention_bias is false, but SeedOssForCausalLM of vLLM has biases on q, k and v"},
		"seed, o_proj":          {"seedoss", `"attention_out_bias": false`, `"attention_out_bias": true`, "/attention_out_bias (true) is unknown and may change the numbers"},
		"seed, MLP biases":      {"seedoss", `"mlp_bias": false`, `"mlp_bias": true`, "mlp_bias is true, but SeedOssForCausalLM has no such biases"},
		"seed, activation":      {"seedoss", `"silu"`, `"gelu"`, `hidden_act "gelu" is not supported`},
		"seed, head_dim":        {"seedoss", `"head_dim": 12`, `"head_dim": null`, "expected [512,32] by config.json"},
		"glm4, activation":      {"glm4", `"silu"`, `"relu"`, `hidden_act "relu" is not supported`},
		"glm4, MLP biases":      {"glm4", field, field + `, "mlp_bias": true`, "mlp_bias is true, but Glm4ForCausalLM has no such biases"},
		"glm4, next tokens":     {"glm4", field, field + `, "num_nextn_predict_layers": 1`, "/num_nextn_predict_layers (1) is unknown"},
		"glm4, half by default": {"glm4-tied", `"partial_rotary_factor": 0.25,`, `"partial_rotary_factor": 0.5,`, "partial_rotary_factor is 0.5, but /rope_parameters/partial_rotary_factor is 0.25"},
		"glm, other part": {"glm", `"rope_parameters": {
    "partial_rotary_factor": 0.5`, `"rope_parameters": {
    "partial_rotary_factor": 1.0`, "partial_rotary_factor"},
		"cohere, head":            {"cohere", `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, "tie_word_embeddings is false, but CohereForCausalLM of vLLM has no head of its own"},
		"cohere, biases":          {"cohere", `"attention_bias": false`, `"attention_bias": true`, "attention_bias is true"},
		"cohere, activation":      {"cohere", `"silu"`, `"gelu"`, `hidden_act "gelu" is not supported`},
		"cohere, scale":           {"cohere", `"logit_scale": 0.0625`, `"logit_scale": 0`, "/logit_scale is 0, expected a number above 0"},
		"cohere, no theta":        {"cohere", theta, "", "rope_theta is missing: transformers takes 500000 since version 5 and 10000 before it"},
		"cohere2, biases":         {"cohere2", `"attention_bias": false`, `"attention_bias": true`, "attention_bias is true"},
		"cohere2, head":           {"cohere2", `"tie_word_embeddings": true`, `"tie_word_embeddings": false`, "tie_word_embeddings is false, but Cohere2ForCausalLM of vLLM has no head of its own"},
		"cohere2, no window":      {"cohere2", `"sliding_window": 9`, `"sliding_window": 0`, "/sliding_window is 0"},
		"cohere2, window off":     {"cohere2", `"sliding_window": 9`, `"sliding_window": 0, "use_sliding_window": false`, `/layer_types holds "sliding_attention", but there is no sliding_window`},
		"cohere2, part":           {"cohere2", theta, theta + ` "partial_rotary_factor": 0.5,`, "partial_rotary_factor 0.5: vLLM's Cohere2ForCausalLM of 2025 leaves it out"},
		"cohere2, head_dim":       {"cohere2", `"head_dim": 8`, `"head_dim": 16`, "head_dim 16: Cohere2ForCausalLM takes hidden_size / num_attention_heads, which is 8"},
		"cohere2, other block":    {"cohere2", field, field + `, "use_parallel_block": false`, "/use_parallel_block is false, expected true"},
		"cohere2, other rope":     {"cohere2", field, field + `, "position_embedding_type": "alibi"`, `/position_embedding_type is "alibi", expected "rope_gptj"`},
		"ernie, biases":           {"ernie45", `"use_bias": false`, `"use_bias": true`, "/use_bias is true, which vLLM's Ernie4_5ForCausalLM leaves out"},
		"ernie, other biases":     {"ernie45", field, field + `, "attention_bias": true`, "attention_bias is true"},
		"ernie, activation":       {"ernie45", `"silu"`, `"gelu"`, `hidden_act "gelu" is not supported`},
		"ernie, no theta":         {"ernie45", theta, "", "rope_theta is missing: transformers takes 500000, and vLLM 10000"},
		"phi3, other rope":        {"phi3-partial", `"rope_type": "default"`, `"rope_type": "linear", "factor": 2.0`, `rope_type "linear" is not supported for Phi3ForCausalLM: expected default or longrope`},
		"phi4, number of factors": {"phi4-mini", `"partial_rotary_factor": 0.75`, `"partial_rotary_factor": 0.5`, "longrope has 3 short and 3 long factors, expected 2 of each"},
		"phi4, attention_factor":  {"phi4-mini", `"rope_type": "longrope"`, `"rope_type": "longrope", "attention_factor": 1.2`, "attention_factor 1.2 is not read by vLLM's Phi3ForCausalLM"},
		"phi4, factor":            {"phi4-mini", `"rope_type": "longrope"`, `"rope_type": "longrope", "factor": 3`, "factor 3 of longrope is not max_position_embeddings / original_max_position_embeddings, which is 4"},
		"phi4, activation":        {"phi4-mini", `"silu"`, `"gelu"`, `hidden_act "gelu" is not supported`},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tc.checkpoint, tc.old, tc.new, tc.want) })
	}
}

// TestDenseDefaults: what config.json leaves out is what transformers' class of the family has.
func TestDenseDefaults(t *testing.T) {
	parse := func(arch, fields string) *Config {
		c, err := ParseConfig("c", []byte(`{"architectures": ["`+arch+`"], "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 8,
			"num_attention_heads": 4, "vocab_size": 160`+fields+`}`))
		require.NoError(t, err, arch)
		return c
	}
	for _, arch := range []string{"Glm4ForCausalLM", "GlmForCausalLM"} {
		c := parse(arch, "")
		require.True(t, c.AttentionBias && c.QKVBias && !c.MLPBias && !c.TieWordEmbeddings)
		require.Equal(t, []float64{0.5, 1.5625e-7, 10000}, []float64{c.Rope.PartialRotaryFactor, c.RMSNormEps, c.Rope.Theta})
		require.Equal(t, 128, c.HeadDim)
	}
	c := parse("GraniteForCausalLM", "")
	require.Equal(t, &GraniteConfig{1, 1, 1, 1}, c.Granite)
	require.Equal(t, 1e-6, c.RMSNormEps)
	c = parse("SeedOssForCausalLM", "")
	require.True(t, c.AttentionBias && !c.MLPBias && !c.TieWordEmbeddings)
	require.Equal(t, 128, c.HeadDim)
	c = parse("Ernie4_5ForCausalLM", `, "rope_theta": 500000`)
	require.True(t, !c.AttentionBias && c.TieWordEmbeddings)
	require.Equal(t, 128, c.HeadDim)
	c = parse("Cohere2ForCausalLM", "")
	require.Equal(t, &CohereConfig{LogitScale: 0.0625}, c.Cohere)
	require.Equal(t, 4096, c.SlidingWindow)
	require.Equal(t, 1e-5, c.RMSNormEps)
	for i := range 8 {
		require.Equal(t, i%4 == 3, c.window(i) == 0)
	}
	require.Zero(t, parse("Cohere2ForCausalLM", `, "sliding_window_pattern": 2`).window(1))
}

// TestErnieRoot: its class of 2026 stands under @support_torch_compile, so that the hook that
// ends a step never fires.
func TestErnieRoot(t *testing.T) {
	require.False(t, built(t, "ernie45", Options{Era: topology.Era2025}).RootBypassed)
	require.True(t, built(t, "ernie45", Options{Era: topology.Era2026}).RootBypassed)
	require.False(t, built(t, "granite", Options{Era: topology.Era2026}).RootBypassed)
}

// TestLongRopeInTorch: vLLM has no kernel of longrope, so that its products round in all eras.
func TestLongRopeInTorch(t *testing.T) {
	for name, want := range map[string]bool{"phi4-mini": true, "phi3-partial": false} {
		rope := built(t, name, OptionsOf(nn.VLLM2026)).Module("model.layers.0.self_attn.rotary_emb").(*nn.Rotary).Rope
		require.Equal(t, want, rope.InTorch)
		require.Equal(t, want, rope.OutOfPlace)
	}
}

// TestLongRopeMScale: only vLLM reads the mscales.
func TestLongRopeMScale(t *testing.T) {
	edit := map[string][2]string{"config.json": {`"rope_type": "longrope"`, `"rope_type": "longrope", "short_mscale": 1.25, "long_mscale": 1.5`}}
	for n, want := range map[int]float64{64: 1.25, 65: 1.5} {
		m := builtEdited(t, "phi4-mini", Options{MaxModelLen: n}, edit)
		require.Equal(t, want, m.Module("model.layers.0.self_attn.rotary_emb").(*nn.Rotary).Rope.MScale)
		c, err := Open(filepath.Dir(m.Config.File))
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = Build(c, OptionsOf(nn.Transformers))
		require.ErrorContains(t, err, "short_mscale and long_mscale are not read by transformers' Phi3ForCausalLM")
	}
}
