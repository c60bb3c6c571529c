"""GPT-OSS."""
from make import rope

YARN = dict(factor=4.0, original_max_position_embeddings=32, beta_fast=32.0, beta_slow=1.0)

MODELS = {
    "gptoss": ("GptOss", dict(rope_parameters={**rope("yarn", **YARN, truncate=False), "rope_theta": 150000.0}, intermediate_size=20, num_local_experts=6,
                              num_experts_per_tok=4, head_dim=16, sliding_window=7)),
    "gptoss-two": ("GptOss", dict(rope_parameters={**rope("yarn", factor=8.0, original_max_position_embeddings=16, beta_fast=8.0, beta_slow=1.0, truncate=True), "rope_theta": 5000.0},
                                  intermediate_size=12, num_local_experts=5, num_experts_per_tok=2, head_dim=12, sliding_window=16, num_hidden_layers=4,
                                  num_attention_heads=6, num_key_value_heads=3)),
}
