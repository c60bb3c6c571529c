"""DeepSeek-V2, DeepSeek-V3 and Kimi K2."""
from make import rope

LATENT = dict(num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=14, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=9,
              intermediate_size=44)

MODELS = {
    "deepseek3-dense": ("DeepseekV3", dict(LATENT, q_lora_rank=20, first_k_dense_replace=3, rope_parameters=rope(
        "yarn", factor=4.0, original_max_position_embeddings=32, mscale=0.9, mscale_all_dim=0.7, beta_fast=32, beta_slow=1))),
    "deepseek2-dense": ("DeepseekV2", dict(LATENT, q_lora_rank=None, first_k_dense_replace=3, rms_norm_eps=1e-6, num_experts_per_tok=2, rope_parameters=rope("default"))),
}
