"""Llama and its kin."""
from make import rope

MODELS = {
    "llama-default": ("Llama", dict(rope_parameters=rope("default"), attention_bias=True, mlp_bias=True, head_dim=12)),
    "llama-linear": ("Llama", dict(rope_parameters=rope("linear", factor=4.0))),
    "llama-dynamic": ("Llama", dict(rope_parameters=rope("dynamic", factor=2.0), max_position_embeddings=24)),
    "llama-llama3": ("Llama", dict(rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                        original_max_position_embeddings=32), tie_word_embeddings=True)),
    "llama-yarn": ("Llama", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=16.0))),
    "mistral-window": ("Mistral", dict(rope_parameters=rope("default"), sliding_window=9, head_dim=16)),
    "qwen2-window": ("Qwen2", dict(rope_parameters=rope("default"), tie_word_embeddings=True, use_sliding_window=True,
                                   sliding_window=7, max_window_layers=1)),
    "qwen3": ("Qwen3", dict(rope_parameters=rope("default"), head_dim=16, attention_bias=True)),
    "qwen3-yarn": ("Qwen3", dict(rope_parameters=rope("yarn", factor=2.0, original_max_position_embeddings=64), head_dim=8)),
    "phi3-partial": ("Phi3", dict(rope_parameters=rope("default", partial_rotary_factor=0.5))),
    "phi3-longrope-short": ("Phi3", dict(max_position_embeddings=256, original_max_position_embeddings=64, rope_parameters=rope(
        "longrope", short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.5, 2.5, 4.0, 8.0], original_max_position_embeddings=64))),
    "phi3-longrope-long": ("Phi3", dict(max_position_embeddings=256, original_max_position_embeddings=16, rope_parameters=rope(
        "longrope", short_factor=[1.0, 1.1, 1.3, 1.7], long_factor=[1.5, 2.5, 4.0, 8.0], original_max_position_embeddings=16))),
}
