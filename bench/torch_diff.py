#!/usr/bin/env python3
"""Compares two sessions as ildiff does, with torch, to set ildiff beside it.

  python3 bench/torch_diff.py make DIR [LAYERS]   writes DIR/a and DIR/b: random outputs of a
                                                  Llama-3.2-1B's modules, 512 tokens, bfloat16
  python3 bench/torch_diff.py A B [ILDIFF]        measures A against B with torch, and with the program ILDIFF
  python3 bench/torch_diff.py cold A B ILDIFF     ILDIFF beside two cats, A and B not being in memory (Linux)

The figures are those of compare/metric, every sum in float64; one thread each. Files are read
once before, so that both take them from the page cache; cold evicts them and uses all cores.
"""
import os
import resource
import subprocess
import sys
import time

import torch

import memory

MODULES = [("input_layernorm", 2048), ("self_attn.qkv_proj", 3072), ("self_attn.attn", 2048), ("self_attn.o_proj", 2048),
           ("post_attention_layernorm", 2048), ("mlp.gate_up_proj", 16384), ("mlp.act_fn", 8192), ("mlp.down_proj", 2048)]


def make(root, layers):
    torch.manual_seed(1)
    for side in "ab":
        os.makedirs(f"{root}/{side}/step_0")
    calls = []
    for layer in range(layers):
        for name, width in MODULES:
            module = f"model.layers.{layer}.{name}"
            calls.append(module)
            a = torch.randn(512, width)
            b = a * (1 + 3e-3 * torch.randn(512, width))
            for side, x in (("a", a), ("b", b)):
                os.makedirs(f"{root}/{side}/step_0/{module}")
                torch.save(x.to(torch.bfloat16), f"{root}/{side}/step_0/{module}/outputs_cuda_0.pt")
    for side in "ab":
        with open(f"{root}/{side}/step_0/module_calls.txt", "w") as f:
            f.write("\n".join(calls) + "\n")


def measure(r, t):
    """All figures of metric.Gap for finite bfloat16 tensors of two dimensions."""
    r, t = r.double(), t.double()
    d = t - r
    abs_d, abs_r = d.abs(), r.abs()
    rr, tt, dd, rd = r * r, t * t, d * d, r * d
    row_dd, row_rr, row_rd = dd.sum(1), rr.sum(1), rd.sum(1)
    norm_r, norm_t, norm_d = rr.sum().sqrt(), tt.sum().sqrt(), row_dd.sum().sqrt()
    at = abs_d.argmax()
    unit = torch.exp2(torch.floor(torch.log2(torch.maximum(abs_r, t.abs()).clamp_min(2.0**-126))) - 7)
    units = abs_d / unit
    buckets = torch.bincount((units.clamp_min(0.25).log2() * 8).floor().long().flatten() + 16, minlength=100)
    rows = (row_dd / row_rr).sqrt()
    columns = (dd.sum(0) / rr.sum(0)).sqrt()
    return {
        "max_abs": abs_d.flatten()[at].item(), "at": at.item(), "reference": r.flatten()[at].item(), "target": t.flatten()[at].item(),
        "cosine": ((r * t).sum() / (norm_r * norm_t)).item(), "rel_l2": (norm_d / norm_r).item(), "norm_ratio": (norm_t / norm_r).item(),
        "mismatched": (abs_d > 1e-5 + 1.6e-2 * abs_r).sum().item(), "equal": (r == t).sum().item(),
        "nan": (r.isnan().sum().item(), t.isnan().sum().item()), "inf": (r.isinf().sum().item(), t.isinf().sum().item()),
        "mean_abs": abs_d.mean().item(), "rmse": dd.mean().sqrt().item(), "max_rel": (abs_d / abs_r.clamp_min(1e-5)).max().item(),
        "scale": (row_rd.sum() / rr.sum()).item(), "signs": (row_rd.sign().sum()).item(),
        "worst_token": rows.argmax().item(), "worst_channel": columns.argmax().item(),
        "ulp_max": units.max().item(), "ulp_histogram": buckets.tolist(),
    }


def diff(a, b):
    out = {}
    for folder, _, files in sorted(os.walk(a)):
        for name in files:
            if name.endswith(".pt"):
                path = os.path.join(folder, name)
                out[path] = measure(torch.load(path), torch.load(path.replace(a, b, 1)))
    return out


def files(*roots):
    return [os.path.join(folder, name) for root in roots for folder, _, names in os.walk(root) for name in names]


def cold(a, b, ildiff, rounds=5):
    sides = [files(a), files(b)]
    size = sum(os.path.getsize(p) for side in sides for p in side)
    cats, diffs = [], []

    def evict():
        for path in sides[0] + sides[1]:
            memory.forget(path)

    for _ in range(rounds):
        evict()
        start = time.time()
        for p in [subprocess.Popen(["cat", *side], stdout=subprocess.DEVNULL) for side in sides]:
            p.wait()
        cats.append(time.time() - start)
        evict()
        start = time.time()
        subprocess.run([ildiff, a, b], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        diffs.append(time.time() - start)
    for name, seconds in (("cat", cats), ("ildiff", diffs)):
        seconds.sort()
        print(f"{name:7} {size / 1e9:.2f} GB from the disk: {seconds[rounds // 2]:.2f} s, {seconds[0]:.2f} to {seconds[-1]:.2f}")


def cpu(who):
    use = resource.getrusage(who)
    return use.ru_utime + use.ru_stime


def main():
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 16)
        return
    if sys.argv[1] == "cold":
        cold(*sys.argv[2:])
        return
    torch.set_num_threads(1)
    a, b = sys.argv[1].rstrip("/"), sys.argv[2].rstrip("/")
    size = 0
    for path in files(a, b):
        with open(path, "rb") as f:
            while block := f.read(1 << 22):
                size += len(block)
    wall, used = time.time(), cpu(resource.RUSAGE_SELF)
    found = diff(a, b)
    seconds = {"torch": (time.time() - wall, cpu(resource.RUSAGE_SELF) - used)}
    if len(sys.argv) > 3:
        wall, used = time.time(), cpu(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.argv[3], a, b], stdout=subprocess.DEVNULL, env={**os.environ, "GOMAXPROCS": "1"}, check=False)
        seconds["ildiff"] = (time.time() - wall, cpu(resource.RUSAGE_CHILDREN) - used)
    for name, (wall, used) in seconds.items():
        print(f"{name:7} {len(found)} tensors, {size / 1e9:.2f} GB: {wall:.2f} s ({size / wall / 1e9:.2f} GB/s), of one core {used:.2f} s ({size / used / 1e9:.2f} GB/s)")
    if "ildiff" in seconds:
        print(f"torch / ildiff: {seconds['torch'][0] / seconds['ildiff'][0]:.1f} x the time, {seconds['torch'][1] / seconds['ildiff'][1]:.1f} x that of the core")


if __name__ == "__main__":
    main()
