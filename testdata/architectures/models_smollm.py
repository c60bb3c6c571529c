"""SmolLM 3."""
from make import rope

MODELS = {
    "smollm3": ("SmolLM3", dict(rope_parameters=rope("default"), no_rope_layers=[1, 0, 1])),
    "smollm3-biases": ("SmolLM3", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32), no_rope_layer_interval=2, num_hidden_layers=2, attention_bias=True, mlp_bias=True,
                                       tie_word_embeddings=False, use_sliding_window=True, sliding_window=7, num_key_value_heads=1)),
}
