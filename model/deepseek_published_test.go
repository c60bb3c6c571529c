package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// The config.json of published models, less what no number depends on.
const (
	deepseekV2Lite = `{"architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "auto_map": {"AutoConfig": "x.Y"},
	"aux_loss_alpha": 0.001, "bos_token_id": 100000, "eos_token_id": 100001, "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 2048,
	"initializer_range": 0.02, "intermediate_size": 10944, "kv_lora_rank": 512, "max_position_embeddings": 163840, "model_type": "deepseek_v2",
	"moe_intermediate_size": 1408, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2, "norm_topk_prob": false,
	"num_attention_heads": 16, "num_experts_per_tok": 6, "num_hidden_layers": 27, "num_key_value_heads": 16, "pretraining_tp": 1, "q_lora_rank": null,
	"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40,
	"mscale": 0.707, "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096, "type": "yarn"}, "rope_theta": 10000, "routed_scaling_factor": 1.0,
	"scoring_func": "softmax", "seq_aux": true, "tie_word_embeddings": false, "topk_group": 1, "topk_method": "greedy", "torch_dtype": "bfloat16",
	"use_cache": true, "v_head_dim": 128, "vocab_size": 102400}`
	kimiK2 = `{"architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "aux_loss_alpha": 0.001, "bos_token_id": 163584, "eos_token_id": 163585,
	"ep_size": 1, "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 7168, "intermediate_size": 18432, "kv_lora_rank": 512,
	"max_position_embeddings": 131072, "model_type": "kimi_k2", "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 384,
	"n_shared_experts": 1, "norm_topk_prob": true, "num_attention_heads": 64, "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_key_value_heads": 64,
	"num_nextn_predict_layers": 0, "pretraining_tp": 1, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
	"rope_theta": 50000.0, "routed_scaling_factor": 2.827, "rope_scaling": {"beta_fast": 1.0, "beta_slow": 1.0, "factor": 32.0, "mscale": 1.0,
	"mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn"}, "scoring_func": "sigmoid", "seq_aux": true,
	"tie_word_embeddings": false, "topk_group": 1, "topk_method": "noaux_tc", "torch_dtype": "bfloat16", "use_cache": true, "v_head_dim": 128, "vocab_size": 163840}`
	glm45Air = `{"architectures": ["Glm4MoeForCausalLM"], "attention_bias": true, "attention_dropout": 0.0, "pad_token_id": 151329, "eos_token_id": [151329, 151336],
	"head_dim": 128, "hidden_act": "silu", "hidden_size": 4096, "partial_rotary_factor": 0.5, "initializer_range": 0.02, "intermediate_size": 10944,
	"max_position_embeddings": 131072, "model_type": "glm4_moe", "moe_intermediate_size": 1408, "norm_topk_prob": true, "num_attention_heads": 96,
	"n_group": 1, "topk_group": 1, "n_routed_experts": 128, "n_shared_experts": 1, "routed_scaling_factor": 1.0, "num_experts_per_tok": 8,
	"first_k_dense_replace": 1, "num_hidden_layers": 46, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 1000000,
	"num_nextn_predict_layers": 1, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "use_qk_norm": false, "vocab_size": 151552}`
)

func TestPublishedConfigs(t *testing.T) {
	parse := func(text string) *Config {
		c, err := ParseConfig("config.json", []byte(text))
		require.NoError(t, err)
		require.Empty(t, c.Warnings)
		return c
	}
	lite, kimi, air := parse(deepseekV2Lite), parse(kimiK2), parse(glm45Air)
	m := 0.1*0.707*3.6888794541139363 + 1 // ln 40
	require.InDelta(t, m*m/13.856406460551018, latentScale(lite), 1e-12)
	require.Equal(t, 1., deepseekMScale(lite.Rope))
	require.Equal(t, ExpertsConfig{Num: 64, TopK: 6, Intermediate: 1408, Shared: 2816, Step: 1}, lite.Experts)
	require.Equal(t, ExpertsConfig{Num: 384, TopK: 8, Intermediate: 2048, Shared: 2048, Renormalise: true, Step: 1}, kimi.Experts)
	require.True(t, kimi.Deepseek.ByGroupOrBias())
	require.False(t, lite.Deepseek.ByGroupOrBias())
	require.False(t, air.QKNorm)
	require.Equal(t, 64, air.Rope.RotaryDim(air.HeadDim))
	require.Equal(t, 1, air.Deepseek.NextLayers)
	c := parse(strings.Replace(glm45Air, `"partial_rotary_factor": 0.5, `, "", 1))
	require.Equal(t, 0.5, c.Rope.PartialRotaryFactor, "by default")
}

// Which rope vLLM computes in torch, and which with FlashInfer's kernel in place.
func TestLatentRopes(t *testing.T) {
	for _, c := range []struct {
		dim                     int
		yarn                    bool
		era                     topology.Era
		fresh, inTorch, inFloat bool
	}{
		{64, true, topology.Era2025, true, true, false},
		{64, true, topology.Era2026, false, false, true},
		{6, true, topology.Era2026, true, true, false},
		{64, false, topology.Era2026, false, false, false},
		{64, false, topology.Era2025, false, false, false},
	} {
		cfg, err := ParseConfig("config.json", []byte(kimiK2))
		require.NoError(t, err)
		cfg.Deepseek.Rope, cfg.HeadDim = c.dim, c.dim
		if !c.yarn {
			cfg.Rope = Rope{Type: "default", Theta: 10000, PartialRotaryFactor: 1}
		}
		b := newBuilder(&Checkpoint{Config: cfg}, Options{Era: c.era}, "DeepseekV3ForCausalLM")
		got := b.latentRope("rotary_emb", 4).Rope
		require.Equal(t, nn.Rope{OutOfPlace: c.fresh, InTorch: c.inTorch, FloatTable: c.inFloat}, nn.Rope{OutOfPlace: got.OutOfPlace, InTorch: got.InTorch, FloatTable: got.FloatTable})
		require.Equal(t, c.dim, got.Dim)
	}
}
