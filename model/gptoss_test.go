package model

import "testing"

// TestGptOssRefuses: what vLLM has fixed in its code is what the config must say.
func TestGptOssRefuses(t *testing.T) {
	const field = `"vocab_size": 160`
	for name, tc := range map[string]struct{ old, new, want string }{
		"mxfp4":        {field, field + `, "quantization_config": {"quant_method": "mxfp4"}`, "/quantization_config is mxfp4, which is not supported; use a checkpoint whose experts are bfloat16"},
		"quantized":    {field, field + `, "quantization_config": {"quant_method": "fp8"}`, "quantized weights cannot be read"},
		"biases":       {`"attention_bias": true`, `"attention_bias": false`, "config.json: attention_bias is false, but GptOssForCausalLM has biases on q, k, v and o_proj"},
		"MLP biases":   {field, field + `, "mlp_bias": true`, "config.json: mlp_bias is true, but GptOssForCausalLM has no such field"},
		"qkv_bias":     {field, field + `, "qkv_bias": false`, "config.json: qkv_bias is false"},
		"tied":         {`"tie_word_embeddings": false`, `"tie_word_embeddings": true`, "config.json: tie_word_embeddings is true, but GptOssForCausalLM has a head of its own"},
		"epsilon":      {`"rms_norm_eps": 1e-05`, `"rms_norm_eps": 1e-06`, "config.json: rms_norm_eps is 1e-06, but GptOssForCausalLM has 1e-05 fixed in its code"},
		"rope":         {`"rope_type": "yarn"`, `"rope_type": "linear"`, `config.json: rope_type "linear" is not supported: GptOssForCausalLM always has yarn`},
		"activation":   {`"silu"`, `"gelu"`, `config.json: hidden_act "gelu" is not supported`},
		"limit":        {field, field + `, "swiglu_limit": 6.0`, "/swiglu_limit is 6: GptOssForCausalLM has 7 fixed in its kernel"},
		"layer types":  {`"sliding_attention",`, `"full_attention",`, `/layer_types holds "full_attention" for layer 0: GptOssForCausalLM does not read it`},
		"experts":      {field, field + `, "experts_per_token": 2`, "/experts_per_token is 2, but num_experts_per_tok is 4"},
		"too many":     {`"num_local_experts": 6`, `"num_local_experts": 3`, "/num_experts_per_tok is 4, but there are only 3 experts"},
		"key heads":    {`"num_key_value_heads": 2`, `"num_key_value_heads": 3`, "num_attention_heads 4 is no multiple of num_key_value_heads 3"},
		"more experts": {`"num_local_experts": 6`, `"num_local_experts": 7`, "expected [7,32"},
		"unknown":      {field, field + `, "swiglu_alpha": 1.5`, "is unknown and may change the numbers"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, "gptoss", tc.old, tc.new, tc.want) })
	}
}
