"""Llama 4, the text part."""
from make import rope

LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
TEMPERED = dict(attn_temperature_tuning=True, floor_scale=6, attn_scale=0.3)

MODELS = {
    "llama4": ("Llama4Text", dict(rope_parameters={**rope("llama3", **LLAMA3), "rope_theta": 20000.5}, head_dim=16, intermediate_size=24, intermediate_size_mlp=40,
                                  num_local_experts=4, interleave_moe_layer_step=2, no_rope_layers=[1, 0, 1], attention_chunk_size=7,
                                  max_position_embeddings=65536, **TEMPERED)),
    "llama4-plain": ("Llama4Text", dict(rope_parameters=rope("default"), head_dim=12, intermediate_size=20, intermediate_size_mlp=28, num_local_experts=3,
                                        num_hidden_layers=4, no_rope_layer_interval=2, attention_chunk_size=13, use_qk_norm=False,
                                        num_attention_heads=6, num_key_value_heads=3, attn_temperature_tuning=False, tie_word_embeddings=True)),
}
