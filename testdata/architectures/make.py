"""Small random checkpoints of every supported architecture and rope kind, and
transformers' float32 logits for them.

Written with transformers 5 and torch 2.14:  python3 make.py [FOLDER [NAME..]]

Each folder holds a checkpoint (bfloat16) and golden.safetensors: input_ids
(48,) int32, of which the last 8 are what greedy decoding chose after the first
40, and logits (48, V) float32 of the checkpoint run in float32 with eager
attention.

A family's models stand in its models_*.py, in MODELS. The folders of its BF16 hold
modules.ERA.safetensors too: what every module of vLLM's model is given and returns in
bfloat16 for the first 16 ids, computed by plain PyTorch on a CPU with the rounding points
of vLLM's kernels in an era (trace.py): "model.norm.inputs.0", "model.norm.outputs.0", ...
"""
import glob
import importlib
import json
import os
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

BASE = dict(hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=160, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=None)

CHUNKS = [16, 16, 8] + [1] * 8  # as the test computes them


def rope(kind, **kw):
    return dict(rope_type=kind, rope_theta=10000.0, **kw)


def make(folder, name, kind, extra, bf16):
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, kind + "Config")(**{**BASE, **extra})
    config._attn_implementation = "eager"
    model = getattr(transformers, kind.removesuffix("Text") + "ForCausalLM")(config).eval()
    with torch.no_grad():  # weights large enough that attention and gates matter
        for key, p in model.named_parameters():
            if "norm" in key:
                p.copy_(1 + 0.2 * torch.randn_like(p))
            elif key.endswith("bias"):
                p.copy_(0.3 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.5 / p.shape[-1] ** 0.5 if "embed" not in key else 1.0))
    biases = {}
    for key, x in model.named_buffers():  # of routers: float32, beside weights in bfloat16
        if key.endswith("e_score_correction_bias"):
            biases[key] = 0.3 * torch.randn_like(x)
    model = model.to(torch.bfloat16)
    for key, x in biases.items():
        model.get_submodule(key.rpartition(".")[0]).e_score_correction_bias = x
    path = os.path.join(folder, name)
    model.save_pretrained(path)
    # Read it again: a conversion of the live model would round inv_freq too.
    model = type(model).from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(3, config.vocab_size, (40,))
    ids[0] = 1
    with torch.no_grad():
        for _ in range(8):
            ids = torch.cat([ids, model(ids[None], use_cache=False).logits[0, -1].argmax()[None]])
        if extra.get("rope_parameters", {}).get("rope_type") == "dynamic":
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
    trace, forward, eras = bf16 or (None, None, [])
    for era in eras:
        with torch.no_grad():
            tensors = forward(trace(config, load_file(os.path.join(path, "model.safetensors")), era), ids[:16].to(torch.int32))
        save_file({k: x.contiguous() for k, x in tensors.items()}, os.path.join(path, f"modules.{era}.safetensors"))
    cfg = json.load(open(os.path.join(path, "config.json")))
    print(name, cfg.get("rope_parameters"), float(logits.abs().max()))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    folder = sys.argv[1] if len(sys.argv) > 1 else here
    models, bf16 = {}, {}
    for file in sorted(glob.glob(os.path.join(here, "models_*.py"))):
        family = importlib.import_module(os.path.splitext(os.path.basename(file))[0])
        models.update(family.MODELS)
        bf16.update(getattr(family, "BF16", {}))
    for name in sys.argv[2:] or models:
        make(folder, name, *models[name], bf16.get(name))


if __name__ == "__main__":
    main()
