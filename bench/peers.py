"""ilref beside its peers in one run, on this machine.

    python3 bench/peers.py WORKDIR ILREF [--threads N] [--repeat N]

Needs a Python with torch, transformers and safetensors, and llama-bench of
llama.cpp on the PATH (each peer that is missing is left out and said so).
WORKDIR gets a random-weight checkpoint of Llama-3.2-1B's geometry (2.5 GB) in
safetensors and GGUF; it is made once.

Prefill is 512 tokens, decode 64. Each figure is the median of the runs; the
runs of the programs alternate, so that a change of the machine's speed meets
all of them. ilref's figures are differences of whole runs (513 tokens against
1; 65 new tokens against 1), so that start-up falls out. CPU seconds are better
to compare than wall time where the machine is shared.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import time

H, L, I, V, NH, NKV, D = 2048, 16, 8192, 128256, 32, 8, 64
CONFIG = dict(architectures=["LlamaForCausalLM"], attention_bias=False, bos_token_id=128000, dtype="bfloat16", eos_token_id=128001,
              head_dim=D, hidden_act="silu", hidden_size=H, intermediate_size=I, max_position_embeddings=8192, mlp_bias=False,
              model_type="llama", num_attention_heads=NH, num_hidden_layers=L, num_key_value_heads=NKV, rms_norm_eps=1e-5,
              rope_parameters=dict(rope_theta=500000.0, rope_type="default"), tie_word_embeddings=True, vocab_size=V)


def weights():
    import torch
    g = torch.Generator().manual_seed(1)
    rand = lambda *s: (torch.randn(*s, generator=g) * 0.02).to(torch.bfloat16)
    yield "model.embed_tokens.weight", "token_embd.weight", rand(V, H)
    for i in range(L):
        for hf, gguf, shape in (("self_attn.q_proj", "attn_q", (NH * D, H)), ("self_attn.k_proj", "attn_k", (NKV * D, H)),
                                ("self_attn.v_proj", "attn_v", (NKV * D, H)), ("self_attn.o_proj", "attn_output", (H, NH * D)),
                                ("mlp.gate_proj", "ffn_gate", (I, H)), ("mlp.up_proj", "ffn_up", (I, H)), ("mlp.down_proj", "ffn_down", (H, I))):
            yield f"model.layers.{i}.{hf}.weight", f"blk.{i}.{gguf}.weight", rand(*shape)
        for hf, gguf in (("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")):
            yield f"model.layers.{i}.{hf}.weight", f"blk.{i}.{gguf}.weight", torch.ones(H, dtype=torch.bfloat16)
    yield "model.norm.weight", "output_norm.weight", torch.ones(H, dtype=torch.bfloat16)


def make_checkpoint(folder):
    import torch
    from safetensors.torch import save_file
    os.makedirs(folder, exist_ok=True)
    tensors = list(weights())
    save_file({hf: t for hf, _, t in tensors}, os.path.join(folder, "model.safetensors"))
    write_gguf(os.path.join(folder, "model.gguf"), [(n, t.float() if t.dim() == 1 else t) for _, n, t in tensors])
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(CONFIG, f)


def write_gguf(path, tensors):
    """GGUF version 3 (llama.cpp, gguf.md): bfloat16 matrices, float32 norms."""
    import torch
    text = lambda s: struct.pack("<Q", len(s)) + s.encode()
    u32 = lambda k, v: text(k) + struct.pack("<II", 4, v)
    f32 = lambda k, v: text(k) + struct.pack("<If", 6, v)
    string = lambda k, v: text(k) + struct.pack("<I", 8) + text(v)
    meta = [string("general.architecture", "llama"), u32("llama.block_count", L), u32("llama.context_length", 8192),
            u32("llama.embedding_length", H), u32("llama.feed_forward_length", I), u32("llama.attention.head_count", NH),
            u32("llama.attention.head_count_kv", NKV), u32("llama.rope.dimension_count", D), f32("llama.rope.freq_base", 500000.0),
            f32("llama.attention.layer_norm_rms_epsilon", 1e-5), u32("llama.vocab_size", V), string("tokenizer.ggml.model", "no_vocab")]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(meta)) + b"".join(meta)
    offset, blobs = 0, []
    for name, t in tensors:
        kind = 0 if t.dtype == torch.float32 else 30
        head += text(name) + struct.pack("<I", t.dim()) + b"".join(struct.pack("<Q", s) for s in reversed(t.shape)) + struct.pack("<IQ", kind, offset)
        data = t.contiguous().view(torch.uint8).numpy().tobytes()
        data += b"\0" * (-len(data) % 32)
        offset += len(data)
        blobs.append(data)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        for b in blobs:
            f.write(b)


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
    for what, flags in (("prefill", ["-p", "512", "-n", "0"]), ("decode", ["-p", "0", "-n", "64"])):
        def run():
            result[what + "_out"] = subprocess.run(["llama-bench", "-m", os.path.join(args.workdir, "model.gguf"), "-t", str(args.threads), "-r", "1",
                                                    "-o", "json", *flags], check=True, capture_output=True, text=True).stdout
        run()
        tokens = 512 if what == "prefill" else 64
        result[what] = [tokens / json.loads(result.pop(what + "_out"))[0]["avg_ts"], float("nan")]
    return result


def main():
    p = argparse.ArgumentParser()
    p.add_argument("workdir")
    p.add_argument("ilref")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--repeat", type=int, default=3)
    args = p.parse_args()
    if not os.path.exists(os.path.join(args.workdir, "config.json")):
        make_checkpoint(args.workdir)
    programs = {"ilref bfloat16": lambda: ilref(args, "bfloat16"), "ilref float32": lambda: ilref(args, "float32"),
                "transformers float32": lambda: transformers(args, "float32")}
    if shutil.which("llama-bench"):
        programs["llama.cpp bfloat16"] = lambda: llama_cpp(args)
    else:
        print("llama-bench is not on the PATH: left out")
    runs = {name: [] for name in programs}
    for _ in range(args.repeat):
        for name, f in programs.items():
            runs[name].append(f())
    base = None
    for name, results in runs.items():
        wall = {w: statistics.median(r[w][0] for r in results) for w in ("prefill", "decode")}
        cpu = {w: statistics.median(r[w][1] for r in results) for w in ("prefill", "decode")}
        base = base or wall
        print(f"{name:22} prefill 512: {wall['prefill']:7.2f} s ({cpu['prefill']:6.2f} CPU s, ilref bfloat16 is {wall['prefill'] / base['prefill']:5.2f} x as fast)   "
              f"decode 64: {wall['decode']:7.2f} s ({cpu['decode']:6.2f} CPU s, {wall['decode'] / base['decode']:5.2f} x)")


main()
