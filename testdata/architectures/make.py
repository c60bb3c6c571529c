"""Small random checkpoints of every supported architecture and rope kind, and
transformers' float32 logits for them.

Written with transformers 5 and torch 2.14:  python3 make.py [FOLDER [NAME..]]

Each folder holds a checkpoint (bfloat16) and golden.safetensors: input_ids
(48,) int32, of which the last 8 are what greedy decoding chose after the first
40, and logits (48, V) float32 of the checkpoint run in float32 with eager
attention.

The folders of BF16 hold modules.safetensors too: what every module of vLLM's
model is given and returns in bfloat16 for the first 16 ids, computed by plain
PyTorch on a CPU with the rounding points of vLLM's kernels (profile vllm-2025):
"model.norm.inputs.0", "model.norm.outputs.0", ...
"""
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
    "olmo2": ("Olmo2", dict(rope_parameters=rope("default"), rms_norm_eps=1e-5)),
    "olmo2-tied": ("Olmo2", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32), num_key_value_heads=4,
                                 tie_word_embeddings=True)),
}


A = torch.bfloat16


class Trace:
    """Modules in bfloat16. Each call keeps copies of its arguments and results."""

    def __init__(self, config, weights):
        self.config, self.weights, self.tensors = config, weights, {}

    def call(self, name, f, *args):
        for i, x in enumerate(args):
            self.tensors[f"{name}.inputs.{i}"] = x.clone()
        out = f(*args)
        for i, x in enumerate(out if isinstance(out, tuple) else (out,)):
            self.tensors[f"{name}.outputs.{i}"] = x.clone()
        return out

    def linear(self, name, x, *parts):
        w = torch.cat([self.weights[p + ".weight"] for p in parts])
        return self.call(name, lambda x: (x.float() @ w.float().T).to(A), x)

    def norm(self, name, x):  # csrc/layernorm_kernels.cu: one rounding before the weight, one after
        def f(x):
            x = x.float()
            x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
            return x.to(A) * self.weights[name + ".weight"]
        return self.call(name, f, x)

    def rotate(self, name, positions, q, k):  # csrc/pos_encoding_kernels.cu: products and sums in bfloat16
        d = self.config.hidden_size // self.config.num_attention_heads
        inv = 1.0 / 10000.0 ** (torch.arange(0, d, 2).float() / d)
        angles = positions.float()[:, None] * inv
        cos, sin = angles.cos().to(A)[:, None], angles.sin().to(A)[:, None]

        def f(positions, q, k):
            out = []
            for x in (q, k):
                x, y = x.view(len(positions), -1, d).chunk(2, dim=-1)
                out.append(torch.cat([x * cos - y * sin, y * cos + x * sin], dim=-1).flatten(1))
            return tuple(out)
        return self.call(name, f, positions, q, k)

    def attend(self, name, q, k, v):  # FlashAttention: scores in float32, weights rounded where they meet the values
        n = self.config.num_attention_heads

        def f(q, k, v):
            d = q.shape[1] // n
            q, k, v = (x.view(len(q), -1, d).transpose(0, 1).float() for x in (q, k, v))
            k, v = (x.repeat_interleave(n // len(x), dim=0) for x in (k, v))
            s = (q @ k.transpose(1, 2)).masked_fill(torch.ones(q.shape[1], q.shape[1]).triu(1).bool(), -torch.inf)
            p = ((s - s.amax(-1, keepdim=True)) * d ** -0.5).exp()
            out = (p.to(A).float() @ v) / p.sum(-1, keepdim=True)
            return out.to(A).transpose(0, 1).flatten(1)
        return self.call(name, f, q, k, v)

    def silu_and_mul(self, name, x):  # csrc/activation_kernels.cu
        def f(x):
            gate, up = x.chunk(2, dim=-1)
            return torch.nn.functional.silu(gate.float()).to(A) * up
        return self.call(name, f, x)

    def olmo2(self, ids):  # vLLM v0.10.2 models/olmo2.py
        positions = torch.arange(len(ids))
        hidden = self.call("model.embed_tokens", lambda ids: self.weights["model.embed_tokens.weight"][ids.long()], ids)
        for i in range(self.config.num_hidden_layers):
            hidden = self.call(f"model.layers.{i}", lambda p, h: self.olmo2_layer(f"model.layers.{i}", p, h), positions, hidden)
        hidden = self.norm("model.norm", hidden)
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        logits = (hidden.float() @ head.float().T).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors

    def olmo2_layer(self, n, positions, hidden):
        x = self.call(n + ".self_attn", lambda p, h: self.olmo2_attention(n + ".self_attn", p, h), positions, hidden)
        hidden = self.norm(n + ".post_attention_layernorm", x) + hidden
        x = self.call(n + ".mlp", lambda h: self.mlp(n + ".mlp", h), hidden)
        return hidden + self.norm(n + ".post_feedforward_layernorm", x)

    def olmo2_attention(self, n, positions, hidden):
        qkv = self.linear(n + ".qkv_proj", hidden, n + ".q_proj", n + ".k_proj", n + ".v_proj")
        kv = len(self.weights[n + ".k_proj.weight"])
        q, k, v = qkv.split([qkv.shape[1] - 2 * kv, kv, kv], dim=-1)
        q, k = self.norm(n + ".q_norm", q), self.norm(n + ".k_norm", k)
        q, k = self.rotate("model.layers.0.self_attn.rotary_emb" + (f"_{n.split('.')[2]}" if ".0." not in n else ""), positions, q, k)
        return self.linear(n + ".o_proj", self.attend(n + ".attn", q, k, v), n + ".o_proj")

    def mlp(self, n, x):
        x = self.silu_and_mul(n + ".act_fn", self.linear(n + ".gate_up_proj", x, n + ".gate_proj", n + ".up_proj"))
        return self.linear(n + ".down_proj", x, n + ".down_proj")


BF16 = {"olmo2": Trace.olmo2}


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
    if name in BF16:
        with torch.no_grad():
            tensors = BF16[name](Trace(config, load_file(os.path.join(path, "model.safetensors"))), ids[:16].to(torch.int32))
        save_file({k: x.contiguous() for k, x in tensors.items()}, os.path.join(path, "modules.safetensors"))
    cfg = json.load(open(os.path.join(path, "config.json")))
    print(name, cfg["rope_parameters"], float(logits.abs().max()))


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for name in sys.argv[2:] or MODELS:
        make(name, *MODELS[name], folder)
