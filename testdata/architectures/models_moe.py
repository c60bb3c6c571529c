"""Mixtures of experts."""
import torch

from make import rope
from trace import A, Trace

MODELS = {
    "mixtral": ("Mixtral", dict(rope_parameters=rope("default", ), intermediate_size=24, num_local_experts=5, num_experts_per_tok=2, sliding_window=11)),
    "mixtral-three": ("Mixtral", dict(rope_parameters=rope("default"), intermediate_size=20, num_local_experts=6, num_experts_per_tok=3, head_dim=12,
                                      rms_norm_eps=1e-6, tie_word_embeddings=True)),
    "qwen2moe": ("Qwen2Moe", dict(rope_parameters=rope("default"), moe_intermediate_size=12, shared_expert_intermediate_size=28, num_experts=6,
                                  num_experts_per_tok=3, mlp_only_layers=[1])),
    "qwen2moe-renormalised": ("Qwen2Moe", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32), num_experts=4,
                                               moe_intermediate_size=20, shared_expert_intermediate_size=8, num_experts_per_tok=2,
                                               norm_topk_prob=True, decoder_sparse_step=2, num_hidden_layers=4, tie_word_embeddings=True)),
    "qwen3moe": ("Qwen3Moe", dict(rope_parameters=rope("default"), head_dim=16, moe_intermediate_size=8, num_experts=10, num_experts_per_tok=5,
                                  norm_topk_prob=True, mlp_only_layers=[0])),
    "qwen3moe-plain": ("Qwen3Moe", dict(rope_parameters=rope("linear", factor=2.0), head_dim=8, moe_intermediate_size=16, num_experts=5,
                                        num_experts_per_tok=4, decoder_sparse_step=1)),
}
