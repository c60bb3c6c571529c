"""ilref beside its peers in one run, on this machine.

    go build -o bin/ ./cmd/... && go test -c -o bin/ ./internal/kernel ./ref
    python3 bench/peers.py WORKDIR bin [--parts gemm,model,...] [--threads N] [--repeat N]

Needs a Python with numpy, torch, transformers and safetensors, and llama-bench
of llama.cpp on the PATH (a peer that is missing is left out and said so).
WORKDIR gets a random-weight checkpoint of Llama-3.2-1B's geometry (2.5 GB) in
safetensors and GGUF; it is made once.

  limits   multiply-adds of a core, and bytes read from memory
  gemm     matrix products on one thread: OpenBLAS, torch
  model    prefill of 512 and decode of 64: transformers on torch, llama.cpp;
           bytes of weights a second, and start-up
  memory   peak anonymous memory beside its bound; less memory than the checkpoint has
  logging  a run that logs all modules beside the run and plain writes
  diff     ildiff beside torch, and beside cat where files are not in memory (torch_diff.py in this folder)

Each figure is the best of the rounds; the programs alternate in a round, so
that a change of the machine's speed meets all of them. ilref's prefill and
decode are differences of whole runs (513 tokens against 1; 65 new tokens
against 1), so that start-up falls out. CPU seconds are better to compare than
wall time where the machine is shared.
"""
import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import checkpoint
import gemm
import machine
import memory


def timed(f):
    before, t = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    f()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.time() - t, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ilref(args, dtype):
    def run(prompt, new):
        ids = ",".join(str(i + 3) for i in range(prompt))
        return timed(lambda: subprocess.run([args.ilref, "run", "--model", args.workdir, "--prompt-ids", ids, "--max-tokens", str(new),
                                             "--dtype", dtype, "--threads", str(args.threads)], check=True, capture_output=True))
    start, prefill, decode = run(1, 1), run(513, 1), run(1, 65)
    return {"prefill": [a - b for a, b in zip(prefill, start)], "decode": [a - b for a, b in zip(decode, start)], "start": list(start)}


TORCH = """
import sys, time, resource, json, torch, transformers
torch.set_num_threads(int(sys.argv[2]))
m = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=getattr(torch, sys.argv[3])).eval()
def timed(f):
    c = resource.getrusage(resource.RUSAGE_SELF); t = time.time(); f(); d = resource.getrusage(resource.RUSAGE_SELF)
    return [time.time() - t, d.ru_utime + d.ru_stime - c.ru_utime - c.ru_stime]
ids = torch.arange(3, 515)[None]
with torch.no_grad():
    m(ids[:, :8])
    prefill = timed(lambda: m(ids, logits_to_keep=1))
    cache = transformers.DynamicCache(config=m.config)
    m(ids[:, :1], past_key_values=cache, use_cache=True)
    def decode():
        for i in range(64):
            m(ids[:, i:i + 1], past_key_values=cache, use_cache=True)
    decode = timed(decode)
print(json.dumps(dict(prefill=prefill, decode=decode)))
"""


def transformers(args, dtype):
    out = subprocess.run([sys.executable, "-c", TORCH, args.workdir, str(args.threads), dtype], check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def llama_cpp(args):
    result = {}
    for what, tokens, flags in (("prefill", 512, ["-p", "512", "-n", "0"]), ("decode", 64, ["-p", "0", "-n", "64"])):
        def run():
            result["out"] = subprocess.run(["llama-bench", "-m", os.path.join(args.workdir, "model.gguf"), "-t", str(args.threads), "-r", "1",
                                            "-o", "json", *flags], check=True, capture_output=True, text=True).stdout
        cpu = timed(run)[1]
        # CPU seconds: with its start-up and a warm-up of one token
        result[what] = [tokens / json.loads(result.pop("out"))[0]["avg_ts"], cpu]
    return result


def missing(module):
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode != 0


def model(args):
    programs = {"ilref bfloat16": lambda: ilref(args, "bfloat16"), "ilref float32": lambda: ilref(args, "float32")}
    if missing("transformers"):
        print("\ntransformers is not installed: left out")
    else:
        programs["transformers float32"] = lambda: transformers(args, "float32")
    if shutil.which("llama-bench"):
        programs["llama.cpp bfloat16"] = lambda: llama_cpp(args)
    else:
        print("\nllama-bench is not on the PATH: left out")
    runs = {name: [] for name in programs}
    for _ in range(args.repeat):
        for name, f in programs.items():
            runs[name].append(f())
    best = lambda name, what, i=0: min(r[what][i] for r in runs[name])
    print(f"\n| {args.threads} threads | prefill of 512 | CPU | ilref bfloat16 is | decode of 64 | CPU | ilref bfloat16 is |\n|---|---|---|---|---|---|---|")
    for name in programs:
        row = [name]
        for what in ("prefill", "decode"):
            row += [f"{best(name, what):.2f} s", f"{best(name, what, 1):.1f} s", f"{best(name, what) / best('ilref bfloat16', what):.2f} x"]
        print("| " + " | ".join(row) + " |")
    weights = os.path.getsize(os.path.join(args.workdir, "model.safetensors"))
    token = best("ilref bfloat16", "decode") / 64
    line = f"\nDecode reads {weights / token / 1e9:.1f} GB/s of weights"
    if args.bandwidth:
        line += f", {weights / token / 1e9 / args.bandwidth:.2f} of the {args.bandwidth:.1f} GB/s that memory gives"
    print(line + f". Start-up and the first token of a checkpoint of {weights / 1e9:.1f} GB: {best('ilref bfloat16', 'start'):.2f} s, start-up alone "
          f"{max(best('ilref bfloat16', 'start') - token, 0):.2f} s.")


def logging(args):
    """BenchmarkLogging of ref; TMPDIR says which disk."""
    out = subprocess.run([os.path.join(args.bin, "ref.test"), "-test.run", "^$", "-test.bench", "Logging", "-test.benchtime", f"{args.repeat}x"],
                         check=True, capture_output=True, text=True, env=dict(os.environ, ILREF_BENCH_MODEL=os.path.abspath(args.workdir))).stdout
    print("\n| logging all modules | the run | writing the same files | both | with logging | of both | CPU |\n|---|---|---|---|---|---|---|")
    for line in out.splitlines():
        if not line.startswith("BenchmarkLogging/"):
            continue
        f = line.split()
        v = {unit: float(x) for x, unit in zip(f[2::2], f[3::2])}
        what = f[0].split("/")[1].split("-")[0]
        print(f"| {what} ({v['files']:.0f} files, {v['MB']:.0f} MB) | {v['s-plain']:.2f} s | {v['s-WriteFile']:.2f} s | {v['s-plain'] + v['s-WriteFile']:.2f} s "
              f"| {v['s-logged']:.2f} s | {v['logged/budget']:.2f} | {v['cpu-logged/budget']:.2f} |")


def diff(args):
    """A script of its own sets ildiff beside torch, on sessions that it makes once."""
    script, sessions = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_diff.py"), os.path.join(args.workdir, "diff")
    if not os.path.exists(script) or missing("torch"):
        print("\ntorch_diff.py or torch is missing: ildiff is left out")
        return
    if not os.path.exists(sessions):
        subprocess.run([sys.executable, script, "make", sessions], check=True)
    print(flush=True)
    both = [os.path.join(sessions, "a"), os.path.join(sessions, "b"), os.path.join(args.bin, "ildiff")]
    subprocess.run([sys.executable, script, *both], check=True)
    subprocess.run([sys.executable, script, "cold", *both], check=True)


def limits(args):
    if not machine.wide():
        print("\nThe machine's limits are measured with AVX2 or AVX-512 only: left out")
        return
    args.peak, args.bandwidth = machine.fma_peak(), machine.read_bandwidth(args.threads)
    print(f"\nOne core: {args.peak:.0f} GFLOP/s of fused multiply-adds in float32 ({8 * machine.wide()}-bit registers). "
          f"Memory: {args.bandwidth:.1f} GB/s read by {args.threads} threads, {machine.read_bandwidth(1):.1f} GB/s by one.")


PARTS = {
    "limits": limits,
    "gemm": lambda args: gemm.report(os.path.join(args.bin, "kernel.test"), args.repeat, args.peak),
    "model": model,
    "memory": lambda args: memory.report(args.ilref, args.workdir, checkpoint.CONFIG, args.threads),
    "logging": logging,
    "diff": diff,
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("workdir")
    p.add_argument("bin", help="the folder of ilref, ildiff, kernel.test and ref.test")
    p.add_argument("--parts", default=",".join(PARTS), help="those to run, comma-separated (default: all)")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--repeat", type=int, default=3, help="rounds")
    args = p.parse_args()
    parts = args.parts.split(",")
    for part in parts:
        if part not in PARTS:
            p.error(f"--parts {part}: expected some of {', '.join(PARTS)}")
    args.bin = os.path.abspath(args.bin)
    args.ilref, args.peak, args.bandwidth = os.path.join(args.bin, "ilref"), 0, 0
    if {"model", "memory", "logging"} & set(parts) and not os.path.exists(os.path.join(args.workdir, "config.json")):
        checkpoint.make_checkpoint(args.workdir)
    if {"gemm", "model"} & set(parts) and "limits" not in parts:
        limits(args)
    for part in parts:
        PARTS[part](args)
        sys.stdout.flush()
    print(f"\nLoad of the machine at the end: {os.getloadavg()[0]:.1f}")


main()
