package model

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ilref/ilref/internal/fixture"
	"github.com/ilref/ilref/tensor"
	"github.com/stretchr/testify/require"
)

// llama is a config in the older form; tests change one field of it.
const llama = `{
  "architectures": ["LlamaForCausalLM"],
  "model_type": "llama",
  "hidden_size": 64,
  "intermediate_size": 176,
  "num_hidden_layers": 3,
  "num_attention_heads": 8,
  "num_key_value_heads": 2,
  "vocab_size": 320,
  "max_position_embeddings": 512,
  "rms_norm_eps": 1e-05,
  "rope_theta": 500000.0,
  "rope_scaling": null,
  "bos_token_id": 1,
  "eos_token_id": 2,
  "torch_dtype": "bfloat16"
}
`

// with returns the config with one more field in front, or in place of the
// line that has the same key.
func with(field string) string {
	key := field[:strings.Index(field, ":")+1]
	lines := strings.Split(llama, "\n")
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), key) {
			comma := ","
			if !strings.HasSuffix(l, ",") {
				comma = ""
			}
			lines[i] = "  " + field + comma
			return strings.Join(lines, "\n")
		}
	}
	return strings.Replace(llama, "{\n", "{\n  "+field+",\n", 1)
}

func without(key string) string {
	var keep []string
	for _, l := range strings.Split(llama, "\n") {
		if !strings.HasPrefix(strings.TrimSpace(l), `"`+key+`"`) {
			keep = append(keep, l)
		}
	}
	return strings.Join(keep, "\n")
}

// What transformers 5 wrote, and what older versions wrote, mean the same.
func TestConfigForms(t *testing.T) {
	file := filepath.Join(fixture.Checkpoint("llama3-gqa"), "config.json")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	now, err := ParseConfig("config.json", b)
	require.NoError(t, err)
	old, err := ParseConfig("config.json", []byte(llama))
	require.NoError(t, err)
	require.Equal(t, old, now)
	require.Equal(t, &Config{
		File: "config.json", Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama",
		HiddenSize: 64, IntermediateSize: 176, NumHiddenLayers: 3, NumAttentionHeads: 8, NumKeyValueHeads: 2, HeadDim: 8,
		VocabSize: 320, MaxPositionEmbeddings: 512, RMSNormEps: 1e-5, HiddenAct: "silu", DType: tensor.BFloat16,
		Rope: Rope{
			Type: "default", Theta: 500000, Factor: 1, PartialRotaryFactor: 1, BetaFast: 32, BetaSlow: 1,
			AttnFactor: 1, ExtrapolationFactor: 1, Truncate: true,
		},
		BOSTokenID: 1, EOSTokenIDs: []int{2},
	}, now)
}

func TestConfigFixtures(t *testing.T) {
	read := func(name string) *Config {
		file := filepath.Join(fixture.Checkpoint(name), "config.json")
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		c, err := ParseConfig(file, b)
		require.NoError(t, err)
		require.Empty(t, c.Warnings)
		return c
	}
	c := read("llama31-rope")
	require.Equal(t, Rope{
		Type: "llama3", Theta: 500000, Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositionEmbeddings: 64,
		PartialRotaryFactor: 1, BetaFast: 32, BetaSlow: 1, AttnFactor: 1, ExtrapolationFactor: 1, Truncate: true,
	}, c.Rope)
	c = read("qwen2-bias")
	require.True(t, c.TieWordEmbeddings)
	require.False(t, c.UseSlidingWindow)
	require.Equal(t, 28, c.MaxWindowLayers)
	require.Equal(t, []string{"full_attention", "full_attention", "full_attention"}, c.LayerTypes)
	require.Equal(t, -1, c.BOSTokenID)
	require.Empty(t, c.EOSTokenIDs)
	c = read("gopher-1m")
	require.Equal(t, 16, c.HeadDim)
}

func TestConfigValues(t *testing.T) {
	parse := func(text string) *Config {
		t.Helper()
		c, err := ParseConfig("c", []byte(text))
		require.NoError(t, err)
		return c
	}
	require.Equal(t, 8, parse(without("num_key_value_heads")).NumKeyValueHeads)
	require.Equal(t, 16, parse(with(`"head_dim": 16`)).HeadDim)
	require.Equal(t, []int{2, 3}, parse(with(`"eos_token_id": [2, 3]`)).EOSTokenIDs)
	require.Equal(t, tensor.Invalid, parse(strings.Replace(llama, "torch_dtype", "_torch_dtype", 1)).DType)
	require.Equal(t, tensor.Float16, parse(with(`"torch_dtype": "float16"`)).DType)
	require.Equal(t, 10000.0, parse(without("rope_theta")).Rope.Theta)
	require.Equal(t, 512, parse(strings.Replace(llama, "max_position_embeddings", "max_sequence_length", 1)).MaxPositionEmbeddings)

	c := parse(with(`"bias": true`))
	require.True(t, c.AttentionBias && c.QKVBias)
	require.False(t, c.MLPBias)
	c = parse(with(`"qkv_bias": true`))
	require.True(t, !c.AttentionBias && c.QKVBias)

	c = parse(with(`"sliding_window": 256`))
	require.True(t, c.UseSlidingWindow)
	c = parse(strings.Replace(with(`"sliding_window": 256`), "{", `{"use_sliding_window": false,`, 1))
	require.Equal(t, 256, c.SlidingWindow)
	require.False(t, c.UseSlidingWindow)

	// Old names of longrope, and values that Phi-3 keeps beside the object.
	c = parse(strings.Replace(with(`"rope_scaling": {"type": "su", "short_factor": [1,1], "long_factor": [2.5,3]}`), "{",
		`{"original_max_position_embeddings": 64, "partial_rotary_factor": 0.5,`, 1))
	require.Equal(t, "longrope", c.Rope.Type)
	require.Equal(t, 64, c.Rope.OriginalMaxPositionEmbeddings)
	require.Equal(t, 4, c.Rope.RotaryDim(c.HeadDim))
	require.Equal(t, []float64{2.5, 3}, c.Rope.LongFactor)

	// Both forms of yarn.
	yarn := `{"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 128, "rope_theta": 1e6}`
	c = parse(strings.Replace(without("rope_theta"), "{", `{"rope_parameters": `+yarn+`,`, 1))
	d := parse(strings.Replace(with(`"rope_theta": 1000000`), `"rope_scaling": null`, `"rope_scaling": `+strings.Replace(yarn, "rope_type", "type", 1), 1))
	require.Equal(t, c.Rope, d.Rope)
	require.Equal(t, "yarn", c.Rope.Type)
	require.Equal(t, 4.0, c.Rope.Factor)
}

func TestConfigErrors(t *testing.T) {
	rope := func(s string) string { return with(`"rope_scaling": ` + s) }
	cases := []struct{ name, text, want string }{
		{"empty", "", `c.json:1:1: the JSON ends too early: the file is cut off`},
		{"cut off", llama[:60], `c.json:3:18: the JSON ends too early: the file is cut off`},
		{"not an object", "[1]", `c.json:1:1: the file is an array, expected an object`},
		{"text after", llama + "x", `c.json:18:1: text after the closing brace`},
		{"second object", llama + "{}", `c.json:18:1: text after the closing brace`},
		{"key twice", strings.Replace(llama, "{", `{"vocab_size": 5,`, 1), `c.json:9:3: key "vocab_size" appears twice`},
		{"infinity", with(`"initializer_range": Infinity`), `c.json:2:24: bad JSON: invalid character 'I' at start of value`},
		{"not UTF-8", with("\"_x\": \"\xff\""), `c.json:2:10: bad JSON: invalid UTF-8`},

		{"no hidden_size", without("hidden_size"), `c.json: "hidden_size" is missing: the width of the hidden states`},
		{"no architectures", without("architectures"), `c.json: "architectures" is missing: the class of the model, such as ["LlamaForCausalLM"]`},
		{"no positions", without("max_position_embeddings"), `c.json: "max_position_embeddings" is missing: the number of positions`},
		{"null eps", with(`"rms_norm_eps": null`), `c.json: "rms_norm_eps" is missing: the epsilon of RMSNorm`},
		{"no architecture", with(`"architectures": []`), `c.json:2:20: /architectures is empty, expected the class of the model`},
		{"architecture of a number", with(`"architectures": [1]`), `c.json:2:20: /architectures is 1, expected a string`},
		{"architecture of a string", with(`"architectures": "L"`), `c.json:2:20: /architectures is "L", expected an array`},

		{"string for a number", with(`"hidden_size": "64"`), `c.json:4:18: /hidden_size is "64", expected an integer`},
		{"fraction for an integer", with(`"hidden_size": 64.5`), `c.json:4:18: /hidden_size is 64.5, expected an integer`},
		{"object for a number", with(`"rms_norm_eps": {}`), `c.json:11:19: /rms_norm_eps is an object, expected a number`},
		{"number for a bool", with(`"mlp_bias": 1`), `c.json:2:15: /mlp_bias is 1, expected true or false`},
		{"long string for a number", with(`"hidden_size": "` + strings.Repeat("é", 60) + `"`), `c.json:4:18: /hidden_size is "` + strings.Repeat("é", 19) + `…, expected an integer`},
		{"no layers", with(`"num_hidden_layers": 0`), `c.json:6:24: /num_hidden_layers is 0, expected 1 to 2147483647`},
		{"no heads", with(`"num_attention_heads": 0`), `c.json:7:26: /num_attention_heads is 0, expected 1 to 2147483647`},
		{"no key heads", with(`"num_key_value_heads": 0`), `c.json:8:26: /num_key_value_heads is 0, expected 1 to 2147483647`},
		{"too many", with(`"vocab_size": 2147483648`), `c.json:9:17: /vocab_size is 2147483648, expected 1 to 2147483647`},
		{"eps of zero", with(`"rms_norm_eps": 0`), `c.json:11:19: /rms_norm_eps is 0, expected a number above 0`},
		{"eps out of range", with(`"rms_norm_eps": 1e999`), `c.json:11:19: /rms_norm_eps is 1e999, expected a number`},
		{"unknown dtype", with(`"torch_dtype": "int8"`), `c.json:16:18: /torch_dtype is "int8", expected float64, float32, float16 or bfloat16`},
		{"two dtypes", with(`"dtype": "float16"`), `c.json:17:18: /torch_dtype is "bfloat16", but dtype is "float16"`},
		{"eos of a string", with(`"eos_token_id": ["</s>"]`), `c.json:15:19: /eos_token_id is "</s>", expected an integer`},

		{"key heads", with(`"num_key_value_heads": 3`), `c.json: num_attention_heads 8 is no multiple of num_key_value_heads 3`},
		{"width", with(`"hidden_size": 65`), `c.json: hidden_size 65 is no multiple of num_attention_heads 8, and there is no head_dim`},
		{"odd head", with(`"head_dim": 7`), `c.json: partial_rotary_factor 1 of head_dim 7 rotates 7 values, expected an even number`},
		{"layer types", with(`"layer_types": ["full_attention"]`), `c.json:2:18: /layer_types has 1 entries for 3 layers`},
		{"unknown layer type", with(`"layer_types": ["full_attention", "linear_attention", "full_attention"]`), `c.json:2:18: /layer_types holds "linear_attention", which is not supported; known: full_attention, sliding_attention`},
		{"window without size", with(`"layer_types": ["full_attention", "full_attention", "sliding_attention"]`), `c.json:2:18: /layer_types holds "sliding_attention", but there is no sliding_window`},
		{"window used without size", with(`"use_sliding_window": true`), `c.json:2:25: /use_sliding_window is true, but there is no sliding_window`},

		{"rope type", rope(`{"type": "mrope"}`), `c.json:13:28: /rope_scaling/type is "mrope", which is not supported; known: default, linear, dynamic, llama3, yarn, longrope`},
		{"no rope type", rope(`{"factor": 2}`), `c.json: /rope_scaling has no rope_type`},
		{"rope types", rope(`{"type": "linear", "rope_type": "dynamic"}`), `c.json:13:28: /rope_scaling/type is "linear", but rope_type is "dynamic"`},
		{"no rope factor", rope(`{"type": "linear"}`), `c.json: "rope_scaling/factor" is missing: rope type linear needs it`},
		{"rope factor", rope(`{"type": "linear", "factor": -1}`), `c.json:13:48: /rope_scaling/factor is -1, expected a number above 0`},
		{"rope of a list", rope(`[8]`), `c.json:13:19: /rope_scaling is an array, expected an object`},
		{"rope key", rope(`{"type": "dynamic", "factor": 2, "alpha": 1000}`), `c.json:13:61: /rope_scaling/alpha is not supported: it may change the numbers`},
		{"rope per layer type", with(`"rope_parameters": {"full_attention": {"rope_type": "default"}}`), `c.json:2:41: /rope_parameters/full_attention is an object: a rope for each layer type is not supported`},
		{"rope twice", strings.Replace(rope(`{"type": "linear", "factor": 2}`), "{", `{"rope_parameters": {"rope_type": "default"},`, 1), `c.json:13:19: /rope_scaling stands beside rope_parameters: keep one of them`},
		{"two thetas", with(`"rope_parameters": {"rope_type": "default", "rope_theta": 7}`), `c.json:13:17: /rope_theta is 500000.0, but /rope_parameters/rope_theta is 7`},
		{"longrope factors", rope(`{"type": "longrope", "short_factor": [1], "long_factor": [1,2,3,4]}`), `c.json: longrope has 1 short and 4 long factors, expected 4 of each (half of 8 rotated values)`},
		{"longrope zero", rope(`{"type": "longrope", "short_factor": [1,1,1,0], "long_factor": [1,2,3,4]}`), `c.json: rope short_factor and long_factor must be above 0`},
		{"llama3 bounds", rope(`{"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1, "original_max_position_embeddings": 64}`), `c.json: rope low_freq_factor 4 is above high_freq_factor 1`},
		{"partial", with(`"partial_rotary_factor": 1.5`), `c.json: partial_rotary_factor is 1.5, expected at most 1`},

		{"quantized", with(`"quantization_config": {"quant_method": "awq"}`), `c.json:2:26: /quantization_config is not supported: quantized weights cannot be read; use the checkpoint before quantization`},
		{"softcap", with(`"attn_logit_softcapping": 50.0`), `c.json:2:29: /attn_logit_softcapping is not supported: it changes the attention scores`},
		{"multiplier", with(`"embedding_multiplier": 12`), `c.json:2:27: /embedding_multiplier is not supported: it changes the embeddings`},
		{"unknown", with(`"use_qk_norm": true`), `c.json:2:18: /use_qk_norm (true) is unknown and may change the numbers; if it does not, remove it from a copy of the file`},
		{"unknown number", with(`"layer_norm_eps": 1e-6`), `c.json:2:21: /layer_norm_eps (1e-6) is unknown and may change the numbers; if it does not, remove it from a copy of the file`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseConfig("c.json", []byte(c.text))
			require.EqualError(t, err, c.want)
		})
	}
}

func TestConfigRemarks(t *testing.T) {
	for field, warning := range map[string]string{
		`"unsloth_version": "2024.9"`:                             "c: unknown field unsloth_version, taken as a remark",
		`"eos_token_id": 400`:                                     "c: bos_token_id or eos_token_id 400 is outside the vocabulary of 320 ids",
		`"embedding_multiplier": 1.0`:                             "",
		`"attn_logit_softcapping": {}`:                            "",
		`"use_qk_norm": false`:                                    "",
		`"pretraining_tp": 2`:                                     "",
		`"_anything": {"a": 1}`:                                   "",
		`"rope_scaling": {"rope_type": "default", "factor": 8.0}`: "c: /rope_scaling/factor is not used by rope type default",
	} {
		c, err := ParseConfig("c", []byte(with(field)))
		require.NoError(t, err, field)
		if warning == "" {
			require.Empty(t, c.Warnings, field)
		} else {
			require.Equal(t, []string{warning}, c.Warnings)
		}
	}
}

func TestGeneration(t *testing.T) {
	g, err := ParseGeneration("g", []byte(`{"bos_token_id": 5, "eos_token_id": [6, 7], "do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.05, "pad_token_id": 3}`))
	require.NoError(t, err)
	require.Equal(t, 5, g.BOSTokenID)
	require.Equal(t, []int{6, 7}, g.EOSTokenIDs)
	require.True(t, g.DoSample)
	require.Equal(t, []float64{0.6, 0.9, 1.05}, []float64{*g.Temperature, *g.TopP, *g.RepetitionPenalty})
	require.Equal(t, 20, *g.TopK)
	require.Nil(t, g.MinP)

	_, err = ParseGeneration("g", []byte(`{"top_k": 0.5}`))
	require.EqualError(t, err, "g:1:11: /top_k is 0.5, expected an integer")
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(llama))
	f.Add([]byte(with(`"rope_scaling": {"type": "longrope", "short_factor": [1,1,1,1], "long_factor": [1,2,3,4]}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig("c", b)
		if err == nil {
			require.Positive(t, c.HeadDim)
			require.Zero(t, c.NumAttentionHeads%c.NumKeyValueHeads)
			require.Zero(t, c.Rope.RotaryDim(c.HeadDim)%2)
		}
		_, _ = ParseGeneration("g", b)
	})
}
