"""Small random checkpoints of every supported architecture and rope kind, and
transformers' float32 logits for them.

Written with transformers 5 and torch 2.14:  python3 make.py [FOLDER]

Each folder holds a checkpoint (bfloat16) and golden.safetensors: input_ids
(48,) int32, of which the last 8 are what greedy decoding chose after the first
40, and logits (48, V) float32 of the checkpoint run in float32 with eager
attention.
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file

BASE = dict(hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=160, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=None)

CHUNKS = [16, 16, 8] + [1] * 8  # as the test computes them


def rope(kind, **kw):
    return dict(rope_type=kind, rope_theta=10000.0, **kw)


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


def make(name, kind, extra, folder):
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, kind + "Config")(**{**BASE, **extra})
    config._attn_implementation = "eager"
    model = getattr(transformers, kind + "ForCausalLM")(config).eval()
    with torch.no_grad():  # weights large enough that attention and gates matter
        for key, p in model.named_parameters():
            if "norm" in key:
                p.copy_(1 + 0.2 * torch.randn_like(p))
            elif key.endswith("bias"):
                p.copy_(0.3 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.5 / p.shape[-1] ** 0.5 if "embed" not in key else 1.0))
    model = model.to(torch.bfloat16)
    path = os.path.join(folder, name)
    model.save_pretrained(path)
    # Read it again: a conversion of the live model would round inv_freq too.
    model = type(model).from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(3, config.vocab_size, (40,))
    ids[0] = 1
    with torch.no_grad():
        for _ in range(8):
            ids = torch.cat([ids, model(ids[None], use_cache=False).logits[0, -1].argmax()[None]])
        if extra["rope_parameters"]["rope_type"] == "dynamic":
            # theta depends on the length so far, so chunks are another
            # computation than one pass: the golden logits are those of CHUNKS,
            # on a fresh model (transformers 5.12 keeps the longest theta seen).
            model = type(model).from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
            cache, parts, at = transformers.DynamicCache(config=config), [], 0
            for n in CHUNKS:
                parts.append(model(ids[None, at:at + n], past_key_values=cache, use_cache=True).logits[0])
                at += n
            logits = torch.cat(parts)
        else:
            logits = model(ids[None], use_cache=False).logits[0]
    save_file({"input_ids": ids.to(torch.int32), "logits": logits.contiguous()}, os.path.join(path, "golden.safetensors"))
    cfg = json.load(open(os.path.join(path, "config.json")))
    print(name, cfg["rope_parameters"], float(logits.abs().max()))


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for name, (kind, extra) in MODELS.items():
        make(name, kind, extra, folder)
