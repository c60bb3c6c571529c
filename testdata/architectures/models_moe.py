"""Mixtures of experts."""
import torch

from make import rope
from trace import A, Trace

MODELS = {
    "mixtral": ("Mixtral", dict(rope_parameters=rope("default", ), intermediate_size=24, num_local_experts=5, num_experts_per_tok=2, sliding_window=11)),
    "mixtral-three": ("Mixtral", dict(rope_parameters=rope("default"), intermediate_size=20, num_local_experts=6, num_experts_per_tok=3, head_dim=12,
                                      rms_norm_eps=1e-6, tie_word_embeddings=True)),
}
