"""DeepSeek-V2, DeepSeek-V3, Kimi K2 and GLM-4 MoE."""
from transformers.models.deepseek_v2 import modeling_deepseek_v2

from make import rope

# transformers 5.12 reads an attribute there that it never sets, where topk_method is group_limited_greedy.
modeling_deepseek_v2.DeepseekV2Moe.num_experts = property(lambda self: self.config.n_routed_experts)

LATENT = dict(num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=14, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=9,
              intermediate_size=28, moe_intermediate_size=8)

MODELS = {
    "deepseek2": ("DeepseekV2", dict(LATENT, q_lora_rank=None, first_k_dense_replace=1, n_routed_experts=6, num_experts_per_tok=3, n_shared_experts=2,
                                     rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=32, beta_slow=1))),
    "deepseek2-groups": ("DeepseekV2", dict(LATENT, q_lora_rank=11, v_head_dim=16, first_k_dense_replace=0, num_hidden_layers=2, n_routed_experts=9,
                                            num_experts_per_tok=5, n_shared_experts=1, topk_method="group_limited_greedy", n_group=3, topk_group=2,
                                            routed_scaling_factor=16.0, rms_norm_eps=1e-6, rope_parameters=rope("default"))),
    "deepseek3": ("DeepseekV3", dict(LATENT, q_lora_rank=20, first_k_dense_replace=1, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
                                     n_group=4, topk_group=2, rope_parameters=rope(
                                         "yarn", factor=4.0, original_max_position_embeddings=32, mscale=0.9, mscale_all_dim=0.7, beta_fast=32, beta_slow=1))),
    "deepseek3-kimi": ("DeepseekV3", dict(LATENT, q_lora_rank=17, kv_lora_rank=10, qk_nope_head_dim=7, qk_rope_head_dim=4, v_head_dim=8, first_k_dense_replace=2,
                                          n_routed_experts=11, num_experts_per_tok=6, n_shared_experts=2, n_group=1, topk_group=1, norm_topk_prob=False,
                                          routed_scaling_factor=2.827, rope_parameters=rope("default"))),
    "glm4moe": ("Glm4Moe", dict(head_dim=12, attention_bias=True, use_qk_norm=True, intermediate_size=28, moe_intermediate_size=8, n_routed_experts=7,
                                num_experts_per_tok=4, n_shared_experts=1, first_k_dense_replace=1, routed_scaling_factor=2.2, rope_parameters=rope("default"))),
    "glm4moe-groups": ("Glm4Moe", dict(head_dim=16, intermediate_size=28, moe_intermediate_size=12, n_routed_experts=8, num_experts_per_tok=2,
                                       n_shared_experts=2, first_k_dense_replace=0, num_hidden_layers=2, n_group=4, topk_group=2, norm_topk_prob=False,
                                       partial_rotary_factor=0.25,
                                       rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32))),
}
