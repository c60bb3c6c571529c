#!/usr/bin/env python3
"""Makes stats.pt and stats.json, what PyTorch computes of it (2.14.1 here).

    make.py FOLDER

Statistics are over the finite values, in float64; std divides by n-1.
"""
import hashlib, json, os, sys
import torch

g = torch.Generator().manual_seed(1)


def randn(*shape):
    return torch.randn(*shape, generator=g)


bad = randn(100, 101) * 3 + 50
bad[3, 4], bad[5, 6], bad[7, 8], bad[9, 10] = float("nan"), float("inf"), -float("inf"), float("nan")
tensors = {
    "float64": randn(3, 1000).double() + 1e9,
    "float32 with nan": bad,
    "bfloat16/strided": (randn(40, 60) * 100).bfloat16().t()[3:, 5:],
    "float16": randn(5).half(),
    "float8": randn(300).to(torch.float8_e4m3fn),
    "float4": torch.arange(256).to(torch.uint8).view(torch.float4_e2m1fn_x2),
    "int64": torch.tensor([2**63 - 1, -(2**63), 7]),
    "uint64": torch.tensor([2**64 - 1, 5], dtype=torch.uint64),
    "int8": torch.arange(-128, 128).to(torch.int8),
    "bool": torch.tensor([True, False, True]),
    "complex64": torch.complex(randn(9), randn(9)),
    "bits8": torch.arange(10).to(torch.uint8).view(torch.bits8),
    "qint8": torch.quantize_per_channel(randn(3, 4), torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0, 5, -5]), 0, torch.qint8),
    "scalar": torch.tensor(-0.25),
    "empty": torch.empty(0, 3),
    "only nan": torch.full((2,), float("nan")),
    "expanded": torch.tensor([1.5]).expand(1_000_000, 100_000),
    "meta": torch.empty(2, 3, dtype=torch.bfloat16, device="meta"),
}
FLOAT4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=torch.float64)


def raw(t):
    if t.is_quantized:
        t = t.int_repr()
    t = t.contiguous().flatten()
    return b"" if t.numel() == 0 else bytes(t.view(torch.uint8).tolist())


def numbers(t):
    if t.is_quantized:
        return t.dequantize().double().flatten()
    if t.dtype == torch.float4_e2m1fn_x2:
        b = t.view(torch.uint8).long()
        return FLOAT4[torch.stack([b & 15, b >> 4], 1)].flatten()
    if t.dtype == torch.uint64:
        return torch.tensor([float(x) for x in t.tolist()], dtype=torch.float64)
    return None if t.dtype == torch.bits8 else t.double().flatten()


def describe(path, t):
    d = dict(path=path, dtype=str(t.dtype)[6:], shape=list(t.shape), stride=list(t.stride()),
             storage_offset=t.storage_offset(), numel=t.numel(), sha256=None, device=t.device.type,
             min=None, max=None, mean=None, std=None, nan=None, inf=None)
    if path in ("/expanded", "/meta"):
        return d
    d["sha256"] = hashlib.sha256(raw(t)).hexdigest()
    if t.is_complex():
        return d | dict(nan=0, inf=0)
    v = numbers(t)
    if v is None:
        return d
    f = v[v.isfinite()]
    d |= dict(nan=int(v.isnan().sum()), inf=int(v.isinf().sum()))
    if len(f):
        d |= dict(min=f.min().item(), max=f.max().item(), mean=f.mean().item())
    if len(f) > 1:
        d |= dict(std=f.std().item())
    return d


folder = sys.argv[1]
torch.save(tensors, os.path.join(folder, "stats.pt"))
with open(os.path.join(folder, "stats.json"), "w") as f:
    json.dump(dict(file="stats.pt", tensors=[describe("/" + k, t) for k, t in tensors.items()]), f, indent=1)
    f.write("\n")
