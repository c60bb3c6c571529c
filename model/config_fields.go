package model

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A field of config.json is understood, neutral (no value of it changes the
// numbers of inference), or refused when it is set. What nobody has thought of
// is refused as well: a wrong number is worse than an error.

// understood are the fields that Config takes in.
var understood = []string{
	"architectures", "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
	"num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings", "max_sequence_length", "rms_norm_eps",
	"hidden_act", "tie_word_embeddings", "attention_bias", "bias", "qkv_bias", "mlp_bias", "dtype", "torch_dtype",
	"rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "original_max_position_embeddings",
	"sliding_window", "use_sliding_window", "max_window_layers", "layer_types", "bos_token_id", "eos_token_id",
}

// neutral fields change no number at inference: notes, settings of training
// and of other programs, and defaults for sampling that older versions wrote.
var neutral = []string{
	"transformers_version", "use_cache", "initializer_range", "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop",
	"classifier_dropout", "pad_token_id", "sep_token_id", "unk_token_id", "decoder_start_token_id",
	// vLLM computes the projections whole whatever this says.
	"pretraining_tp",
	"return_dict", "output_attentions", "output_hidden_states", "torchscript", "tf_legacy_loss", "id2label", "label2id",
	"problem_type", "finetuning_task", "task_specific_params", "tokenizer_class", "prefix", "auto_map", "chunk_size_feed_forward",
	"keys_to_ignore_at_inference", "gradient_checkpointing", "attn_implementation", "transformers.js_config", "is_llama_config",
	"max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty",
	"temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size",
	"encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores", "return_dict_in_generate",
	"forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values", "exponential_decay_length_penalty",
	"suppress_tokens", "begin_suppress_tokens",
}

// off is the value that a field must have to change nothing, where that is not
// null, false or empty.
var off = map[string]string{
	"embedding_multiplier": "1", "residual_multiplier": "1", "logits_scaling": "1", "logit_scale": "1",
	"num_experts": "0", "num_local_experts": "0", "num_nextn_predict_layers": "0",
	"full_attn_mod": "1", "interpolate_factor": "1", // Phi-4-mini
}

// reasons explain the fields that are met in practice.
var reasons = map[string]string{
	"quantization_config":         "quantized weights cannot be read; use the checkpoint before quantization",
	"compression_config":          "compressed weights cannot be read; use the checkpoint before compression",
	"text_config":                 "models of images or sound are not supported",
	"vision_config":               "models of images or sound are not supported",
	"num_experts":                 "this architecture has no experts",
	"num_local_experts":           "this architecture has no experts",
	"attn_logit_softcapping":      "it changes the attention scores",
	"final_logit_softcapping":     "it changes the logits",
	"logit_scale":                 "it changes the logits",
	"logits_scaling":              "it changes the logits",
	"embedding_multiplier":        "it changes the embeddings",
	"residual_multiplier":         "it changes the residual stream",
	"attention_multiplier":        "it changes the attention scores",
	"query_pre_attn_scalar":       "it changes the attention scores",
	"dual_chunk_attention_config": "it changes which keys a query sees",
	"index_topk":                  "sparse attention, which DeepSeek-V3.2 has",
	"llama_4_scaling":             "it changes the queries",
	"clip_qkv":                    "it changes queries, keys and values",
}

// remarks are parts of the names of fields that only ever say something about
// a model: they give a warning.
var remarks = []string{
	"version", "dropout", "token_id", "loss", "label", "train", "license", "author", "date", "language", "description", "unsloth",
}

// checkFields walks every field of a config; own are those of its family.
func (c *Config) checkFields(o *object, own []string) {
	for _, key := range o.keys {
		raw := o.values[key].raw
		switch {
		case slices.Contains(own, key), slices.Contains(understood, key), slices.Contains(neutral, key), strings.HasPrefix(key, "_"):
		case isUnset(raw), off[key] != "" && isNumber(raw, off[key]):
		case reasons[key] != "":
			o.failKey(key, "is not supported: %s", reasons[key])
		case slices.ContainsFunc(remarks, func(s string) bool { return strings.Contains(key, s) }):
			c.warn("unknown field %s, taken as a remark", key)
		default:
			o.failKey(key, "(%s) is unknown and may change the numbers; if it does not, remove it from a copy of the file", describe(raw))
		}
	}
}

func isUnset(raw jsontext.Value) bool {
	v := raw.Clone()
	_ = v.Compact() // a valid value always compacts
	return slices.Contains([]string{"null", "false", `""`, "[]", "{}"}, string(v))
}

// isNumber reports whether raw is the integer n, also written as n.0.
func isNumber(raw jsontext.Value, n string) bool {
	return strings.TrimSuffix(string(raw), ".0") == n
}
