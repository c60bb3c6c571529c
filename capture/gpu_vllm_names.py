"""A Llama in plain PyTorch under vLLM's module names, call order and rounding points (vllm-2025), for captures on a
GPU where vLLM does not run: cuBLAS's matrix products and torch's attention kernels, as vLLM's are with its own.

  python3 gpu_vllm_names.py --bin DIR -o OUT [--device cuda] [--tiny] [--dtype bfloat16] [--rows 300]

DIR holds ilref and ildiff. Makes a random checkpoint in bfloat16, captures a prompt and decoded tokens with several
attention kernels and settings of cuBLAS, clean and with faults planted into what modules return, and holds ilref's
verdict to them. Figures go to OUT/results.json.
"""
import argparse
import contextlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import il_capture  # noqa: E402

EPS, THETA = 1e-5, 500000.0


class RMSNorm(nn.Module):
    """csrc/layernorm_kernels.cu of 2025: the normed value is rounded before the weight; both arguments in place."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def norm(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + EPS)).to(x.dtype) * self.weight

    def forward(self, x, residual=None):
        if residual is None:
            return self.norm(x)
        residual.add_(x)
        x.copy_(self.norm(residual))
        return x, residual


class Linear(nn.Module):
    """Returns (output, None), as vLLM's parallel linears do."""

    def __init__(self, i, o):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(o, i))

    def forward(self, x):
        return F.linear(x, self.weight), None


class RotaryEmbedding(nn.Module):
    """Neox style, in place; each product is rounded."""

    def __init__(self, dim, positions, dtype, device):
        super().__init__()
        t = torch.outer(torch.arange(positions, device=device).float(), 1 / THETA ** (torch.arange(0, dim, 2, device=device).float() / dim))
        self.register_buffer("cos_sin_cache", torch.cat((t.cos(), t.sin()), -1).to(dtype), persistent=False)
        self.dim = dim

    def forward(self, positions, q, k):
        cos, sin = self.cos_sin_cache[positions].unsqueeze(1).chunk(2, -1)
        for x in (q, k):
            a, b = x.view(x.shape[0], -1, self.dim).chunk(2, -1)
            lo, hi = a * cos - b * sin, b * cos + a * sin
            a.copy_(lo)
            b.copy_(hi)
        return q, k


class Attn(nn.Module):
    """Appends to a cache and attends with torch's kernel."""

    def __init__(self, heads, kv, dim):
        super().__init__()
        self.heads, self.kv, self.dim, self.cache = heads, kv, dim, None

    def forward(self, q, k, v):
        split = lambda x, h: x.view(1, -1, h, self.dim).transpose(1, 2)  # noqa: E731
        k, v = split(k, self.kv).clone(), split(v, self.kv).clone()
        if self.cache is not None:
            k, v = torch.cat((self.cache[0], k), 2), torch.cat((self.cache[1], v), 2)
        self.cache = (k, v)
        group = self.heads // self.kv
        rows = q.shape[0]
        out = F.scaled_dot_product_attention(split(q, self.heads), k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), is_causal=rows > 1)
        return out.transpose(1, 2).reshape(rows, self.heads * self.dim)


class SelfAttention(nn.Module):
    def __init__(self, c, rope):
        super().__init__()
        self.q, self.k = c["heads"] * c["dim"], c["kv"] * c["dim"]
        self.qkv_proj = Linear(c["hidden"], self.q + 2 * self.k)
        self.o_proj = Linear(self.q, c["hidden"])
        self.rotary_emb = rope
        self.attn = Attn(c["heads"], c["kv"], c["dim"])

    def forward(self, positions, hidden_states):
        qkv, _ = self.qkv_proj(hidden_states)
        q, k, v = qkv.split([self.q, self.k, self.k], -1)
        q, k = self.rotary_emb(positions, q, k)
        return self.o_proj(self.attn(q, k, v))[0]


class SiluAndMul(nn.Module):
    def forward(self, x):
        gate, up = x.chunk(2, -1)
        return F.silu(gate) * up


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_up_proj = Linear(c["hidden"], 2 * c["inner"])
        self.down_proj = Linear(c["inner"], c["hidden"])
        self.act_fn = SiluAndMul()

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_up_proj(x)[0]))[0]


class Layer(nn.Module):
    def __init__(self, c, rope):
        super().__init__()
        self.self_attn = SelfAttention(c, rope)
        self.mlp = MLP(c)
        self.input_layernorm = RMSNorm(c["hidden"])
        self.post_attention_layernorm = RMSNorm(c["hidden"])

    def forward(self, positions, hidden_states, residual):
        if residual is None:
            residual = hidden_states
            hidden_states = self.input_layernorm(hidden_states)
        else:
            hidden_states, residual = self.input_layernorm(hidden_states, residual)
        hidden_states = self.self_attn(positions=positions, hidden_states=hidden_states)
        hidden_states, residual = self.post_attention_layernorm(hidden_states, residual)
        return self.mlp(hidden_states), residual


class LlamaModel(nn.Module):
    """Called by forward, as vLLM's compiled wrapper does: no hook of its own fires."""

    def __init__(self, c, device, dtype):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab"], c["hidden"])
        rope = RotaryEmbedding(c["dim"], 4096, dtype, device)
        self.layers = nn.ModuleList(Layer(c, rope) for _ in range(c["layers"]))
        self.norm = RMSNorm(c["hidden"])

    def forward(self, input_ids, positions):
        hidden_states, residual = self.embed_tokens(input_ids), None
        for layer in self.layers:
            hidden_states, residual = layer(positions, hidden_states, residual)
        return self.norm(hidden_states, residual)[0]


class LMHead(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(c["vocab"], c["hidden"]))


class LogitsProcessor(nn.Module):
    def forward(self, lm_head, hidden_states, metadata=None):
        return F.linear(hidden_states, lm_head.weight)


class LlamaForCausalLM(nn.Module):
    def __init__(self, c, device, dtype):
        super().__init__()
        self.model = LlamaModel(c, device, dtype)
        self.lm_head = LMHead(c)
        self.logits_processor = LogitsProcessor()

    def forward(self, input_ids, positions):
        return self.model.forward(input_ids, positions)


def checkpoint(model, c, folder, dtype):
    """The weights under Hugging Face's names."""
    from safetensors.torch import save_file
    os.makedirs(folder, exist_ok=True)
    out = {}
    for name, p in model.named_parameters():
        if name.endswith("qkv_proj.weight"):
            for part, w in zip("qkv", p.split([c["heads"] * c["dim"]] + 2 * [c["kv"] * c["dim"]])):
                out[name.replace("qkv", part)] = w.contiguous()
        elif name.endswith("gate_up_proj.weight"):
            for part, w in zip(("gate", "up"), p.chunk(2)):
                out[name.replace("gate_up", part)] = w.contiguous()
        else:
            out[name] = p.contiguous()
    save_file({k: v.detach().cpu() for k, v in out.items()}, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": c["hidden"], "intermediate_size": c["inner"], "num_hidden_layers": c["layers"],
                   "num_attention_heads": c["heads"], "num_key_value_heads": c["kv"], "head_dim": c["dim"], "vocab_size": c["vocab"], "rms_norm_eps": EPS, "rope_theta": THETA,
                   "max_position_embeddings": 4096, "torch_dtype": dtype, "tie_word_embeddings": False, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}, f)


def build(c, device, dtype):
    torch.manual_seed(3)
    with torch.device(device):
        model = LlamaForCausalLM(c, device, dtype).to(dtype)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.uniform_(0.5, 1.5) if "norm" in name else p.normal_(std=0.02 if "embed" not in name else 1.0)
        model.model.embed_tokens.weight[1, 5] = 600.0  # a massive first token
    return model


@torch.inference_mode()
def generate(model, ids, new, sessions=None):
    """Prefill, then token by token; the logits of a step come after its root."""
    for layer in model.model.layers:
        layer.self_attn.attn.cache = None
    position, outputs = 0, []
    for _ in range(new + 1):
        positions = torch.arange(position, position + len(ids), device=ids.device)
        hidden = model(input_ids=ids, positions=positions)
        logits = model.logits_processor(model.lm_head, hidden[-1:])
        outputs.append(logits)
        position += len(ids)
        ids = logits.argmax(-1).to(torch.int32)
    return torch.cat(outputs)


# What modules return wrong. Each takes the module's output tensor.
def row10(t):
    t[len(t) // 2] *= 1.1


def column10(t):
    t[:, 3] *= 1.1


def head_off(t):
    t[:, :64] *= 0.97


def late_key(t):
    t[-1] = t[0]


FAULTS = [("o_proj row", "self_attn.o_proj", row10), ("down_proj column", "mlp.down_proj", column10), ("attn head", "self_attn.attn", head_off), ("qkv last row", "self_attn.qkv_proj", late_key),
          ("norm scale", "post_attention_layernorm", lambda t: t.mul_(1.01))]


def kernels(device, dtype):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    if not device.startswith("cuda") or dtype == "float32":
        return [("default", contextlib.nullcontext, False)]
    of = lambda b: (lambda: sdpa_kernel(b))  # noqa: E731
    return [("flash", of(SDPBackend.FLASH_ATTENTION), False), ("efficient", of(SDPBackend.EFFICIENT_ATTENTION), False), ("math", of(SDPBackend.MATH), False),
            ("cudnn", of(SDPBackend.CUDNN_ATTENTION), False), ("flash, split-K rounds", of(SDPBackend.FLASH_ATTENTION), True)]


def verdict(binaries, folder, session, out):
    start = time.perf_counter()
    run = subprocess.run([os.path.join(binaries, "ilref"), "run", "--model", folder, "--diff", session, "--rounding", "vllm-2025", "--output-dir", os.path.join(out, "ilref")], capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    shutil.rmtree(os.path.join(out, "ilref"), ignore_errors=True)
    with open(session + ".txt", "w", encoding="utf-8") as f:
        f.write(run.stdout + run.stderr)
    lines = run.stdout.splitlines()
    pick = lambda word: next((x for x in reversed(lines) if x.startswith(word)), "")[:300]  # noqa: E731
    return {"rc": run.returncode, "seconds": round(time.perf_counter() - start, 1), "verdict": pick("Verdict") or run.stderr[-300:], "first": pick("First divergence"), "coverage": pick("Coverage")}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True)
    p.add_argument("-o", "--output", required=True)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--tiny", action="store_true")
    p.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--no-faults", action="store_true")
    p.add_argument("--rows", type=int, default=300)
    p.add_argument("--new", type=int, default=2)
    a = p.parse_args()
    c = dict(vocab=512, hidden=128, inner=320, layers=4, heads=8, kv=2, dim=16) if a.tiny else dict(vocab=32000, hidden=2048, inner=8192, layers=a.layers, heads=32, kv=8, dim=64)
    os.makedirs(a.output, exist_ok=True)
    model, folder = build(c, a.device, getattr(torch, a.dtype)), os.path.join(a.output, "checkpoint")
    checkpoint(model, c, folder, a.dtype)
    ids = torch.randint(3, c["vocab"], (a.rows,), generator=torch.Generator().manual_seed(5)).to(torch.int32)
    ids[0] = 1
    ids, results, bad = ids.to(a.device), [], 0
    layer = c["layers"] // 2
    runs = [(name, kernel, reduced, None) for name, kernel, reduced in kernels(a.device, a.dtype)] + [(kernels(a.device, a.dtype)[0][0], kernels(a.device, a.dtype)[0][1], False, f) for f in FAULTS if not a.no_faults]
    for name, kernel, reduced, fault in runs:
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduced
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = reduced
        session = os.path.join(a.output, re.sub(r"\W+", "-", name if fault is None else fault[0]))
        where, handle = None, None
        if fault is not None:
            where = f"model.layers.{layer}.{fault[1]}"

            def plant(_m, _a, out, change=fault[2]):
                change(out[0] if isinstance(out, tuple) else out)
            handle = model.get_submodule(where).register_forward_hook(plant)
        with kernel():
            want = generate(model, ids, a.new)
            with il_capture.capture(model, session=session, log_step_ids=[]):
                got = generate(model, ids, a.new)
        if handle is not None:
            handle.remove()
        r = {"run": name if fault is None else fault[0], "where": where, "outputs_equal": torch.equal(want, got), **verdict(a.bin, folder, session, a.output)}
        r["as_it_should_be"] = r["outputs_equal"] and (r["rc"] == 0 if where is None else r["rc"] == 1 and where in r["first"])
        bad += not r["as_it_should_be"]
        results.append(r)
        print(json.dumps(r), flush=True)
        shutil.rmtree(session)
    with open(os.path.join(a.output, "results.json"), "w", encoding="utf-8") as f:
        json.dump({"torch": torch.__version__, "device": torch.cuda.get_device_name() if a.device.startswith("cuda") else a.device, "config": c, "rows": a.rows, "runs": results}, f, indent=1)
    print(f"{len(results) - bad} of {len(results)} as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
