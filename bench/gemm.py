"""Matrix products on one thread: ilref's kernels beside OpenBLAS (by way of numpy) and torch.

C = A·Bᵀ with B stored [out, in], as checkpoints are. One row and 2048 x 2048
weights lie in the cache in every round, the larger shapes do not.
"""
import json
import os
import re
import subprocess
import sys

SHAPES = [(1, 2048, 2048), (1, 8192, 2048), (16, 4096, 4096), (128, 4096, 4096), (512, 2048, 2048), (512, 8192, 2048)]

PEERS = """
import ctypes, json, sys, time
import numpy as np
shapes, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
try:
    import torch
    torch.set_num_threads(1)
except ImportError:
    torch = None
try:
    blas = ctypes.CDLL("libopenblas.so.0")
    blas.openblas_get_corename.restype = ctypes.c_char_p
    kernel = blas.openblas_get_corename().decode()
except OSError:
    kernel = ""
def best(f):
    f()
    low = float("inf")
    for _ in range(rounds):
        calls, start = 0, time.perf_counter()
        while time.perf_counter() < start + 0.01:
            f(); calls += 1
        low = min(low, (time.perf_counter() - start) / calls)
    return low
out = {"kernel": kernel, "numpy": np.__version__, "OpenBLAS": {}, "torch": {}}
for name, dtype in (("f32", np.float32), ("f64", np.float64)):
    for m, n, k in shapes:
        rng = np.random.default_rng(1)
        a, b, c = rng.random((m, k), dtype), rng.random((n, k), dtype), np.empty((m, n), dtype)
        key = f"{name} {m},{n},{k}"
        out["OpenBLAS"][key] = 2e-9 * m * n * k / best(lambda: np.matmul(a, b.T, out=c))
        if torch:
            x, y, z = torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(c)
            out["torch"][key] = 2e-9 * m * n * k / best(lambda: torch.mm(x, y.T, out=z))
print(json.dumps(out))
"""

BENCHMARKS = {"Sgemm": "f32", "Dgemm": "f64", "MatMul32/bfloat16": "f32 from bfloat16"}


def environment():
    """One thread, and OpenBLAS's own choice of a kernel."""
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", GOMAXPROCS="1")
    env.pop("OPENBLAS_CORETYPE", None)
    return env


def peers(rounds):
    out = subprocess.run([sys.executable, "-c", PEERS, json.dumps(SHAPES), str(rounds)], check=True, capture_output=True, text=True, env=environment()).stdout
    return json.loads(out.splitlines()[-1])


def kernels(program, rounds):
    """GFLOP/s of internal/kernel's benchmarks, by shape."""
    out = {}
    for bench, kind in BENCHMARKS.items():
        text = subprocess.run([program, "-test.run", "^$", "-test.bench", bench + "$", "-test.benchtime", "10ms", "-test.count", str(rounds)], check=True, capture_output=True, text=True, env=environment()).stdout
        for shape, gflops in re.findall(r"/(\d+,\d+,\d+)\S*\s.*?([\d.]+) GFLOP/s", text):
            out[f"{kind} {shape}"] = max(float(gflops), out.get(f"{kind} {shape}", 0))
    return out


def measure(program, repeat, rounds=10):
    """The best of repeat x rounds of 10 ms (of one product, where it takes longer). The programs alternate."""
    best = {"ilref": {}, "OpenBLAS": {}, "torch": {}}
    for _ in range(repeat):
        found = peers(rounds)
        found["ilref"] = kernels(program, rounds)
        for name, values in best.items():
            for key, v in found[name].items():
                values[key] = max(v, values.get(key, 0))
    return best, found["kernel"]


def report(program, repeat, peak):
    best, kernel = measure(program, repeat)
    print(f"\nMatrix products, one thread, GFLOP/s (OpenBLAS's kernel: {kernel or 'unknown'}"
          + (f"; the peak of multiply-adds in float32 is {peak:.0f}" if peak else "") + ")\n")
    print("| rows, outputs, inputs | ilref | of the peak | OpenBLAS | ilref is | torch | ilref is |\n|---|---|---|---|---|---|---|")
    for key, ours in best["ilref"].items():
        kind, shape = key.rsplit(" ", 1)
        limit = peak / 2 if kind == "f64" else peak
        row = [f"{shape.replace(',', ', ')} {kind}", f"{ours:.1f}", f"{ours / limit:.2f}" if limit else "-"]
        for peer in ("OpenBLAS", "torch"):
            theirs = best[peer].get(f"{kind[:3]} {shape}")
            row += [f"{theirs:.1f}", f"{ours / theirs:.2f} x"] if theirs else ["-", "-"]
        print("| " + " | ".join(row) + " |")
