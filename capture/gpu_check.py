"""Sessions of a random 1B checkpoint captured on this machine, clean and with planted faults, held against ilref.

  python3 gpu_check.py --bin DIR -o OUT [--device cuda] [--tiny] [--rounding NAME] [--no-bench]

Needs torch and transformers and no network; DIR holds the programs ilref and ildiff (CGO_ENABLED=0 go build). It
makes two checkpoints in bfloat16 (a Llama of 1.2 billion parameters, a small Qwen3), captures a prompt of 64 ids
and 4 decoded tokens of each with sdpa and with eager attention, and once more with a fault in the weights that
run: a row of o_proj times 1.1, a key head of zeros. Then `ilref run --diff` must pass the clean ones and name the
fault's module for the others. Every figure goes to OUT/results.json; the exit code is 0 where all is as it should be.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402
import il_capture  # noqa: E402

PROMPT, NEW = 64, 4


def checkpoints(tiny):
    """(name, class, config) of each."""
    shape = dict(vocab_size=512 if tiny else 32000, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2)
    if tiny:
        llama = dict(hidden_size=128, intermediate_size=320, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=2)
        qwen = dict(hidden_size=128, intermediate_size=320, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=4, head_dim=32)
    else:
        llama = dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8)
        qwen = dict(hidden_size=1024, intermediate_size=3072, num_hidden_layers=4, num_attention_heads=16, num_key_value_heads=8, head_dim=128)
    theta = dict(rope_parameters=dict(rope_type="default", rope_theta=500000.0))
    return [("llama", "Llama", {**shape, **llama, **theta}), ("qwen3", "Qwen3", {**shape, **qwen, **theta})]


def make(kind, config, device, folder):
    """Writes a random checkpoint. Norm weights are not all one, so that a wrong one shows."""
    import transformers
    torch.manual_seed(1)
    with torch.device(device):
        model = getattr(transformers, kind + "ForCausalLM")(getattr(transformers, kind + "Config")(**config)).to(torch.bfloat16)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.uniform_(0.5, 1.5)
    model.save_pretrained(folder)


def load(folder, attn, device):
    import transformers
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation=attn).to(device).eval()


def scale_row(model, layer):
    """Row 3 of o_proj times 1.1: one element of each token's output."""
    with torch.no_grad():
        model.model.layers[layer].self_attn.o_proj.weight[3] *= 1.1
    return f"model.layers.{layer}.self_attn.o_proj"


def zero_key_head(model, layer):
    """The keys of one head are zero. vLLM's module that holds them is qkv_proj."""
    attn = model.model.layers[layer].self_attn
    with torch.no_grad():
        attn.k_proj.weight[:attn.head_dim] = 0
    return f"model.layers.{layer}.self_attn.qkv_proj"


def generate(model, ids):
    with torch.inference_mode():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, output_logits=True, return_dict_in_generate=True)
    return torch.cat([out.sequences[0].float(), *(x[0].float() for x in out.logits)])


def capture(model, ids, session):
    """Captures a run; tells whether its outputs are those of a run without, to the bit, and whether two runs without are."""
    want, again = generate(model, ids), generate(model, ids)
    start = time.perf_counter()
    with il_capture.capture(model, session=session, log_step_ids=[]):
        got = generate(model, ids)
    with open(os.path.join(session, "session.json"), encoding="utf-8") as f:
        s = json.load(f)
    return {"status": s["status"], "steps": len(s["steps"]), "MB": s["cost"]["bytes"] / 1e6, "seconds": time.perf_counter() - start,
            "plain_runs_equal": torch.equal(want, again), "outputs_equal": torch.equal(want, got), "attention": s["kernels"]["attention"], "device": s["parallel"]["ranks"][0].get("device")}


def compare(binaries, checkpoint, session, out, rounding):
    """The verdict of ilref run --diff, and of lint."""
    command = [os.path.join(binaries, "ilref"), "run", "--model", checkpoint, "--diff", session, "--output-dir", os.path.join(out, "ilref")]
    start = time.perf_counter()
    run = subprocess.run(command + (["--rounding", rounding] if rounding else []), capture_output=True, text=True)
    seconds = time.perf_counter() - start
    lint = subprocess.run([os.path.join(binaries, "ildiff"), "lint", session], capture_output=True, text=True)
    with open(session.rstrip("/") + ".txt", "w", encoding="utf-8") as f:
        f.write(run.stdout + run.stderr + lint.stdout + lint.stderr)
    shutil.rmtree(os.path.join(out, "ilref"), ignore_errors=True)
    lines = run.stdout.splitlines()
    coverage = next((x for x in lines if x.startswith("Coverage")), "")
    found = [w for w in re.findall(r"model\.[\w.]+", "\n".join(x for x in lines if "divergence" in x.lower() or "fault" in x.lower() or "FAIL" in x or "first" in x.lower()))]
    noise = [float(m[1]) for m in (re.search(r"\s(\d[\d.e+-]*)\s+(?:ok|FAIL\S*|gap\S*|fault\S*)\s*$", x) for x in lines) if m]
    return {"rc": run.returncode, "seconds": seconds, "verdict": next((x for x in reversed(lines) if x.startswith("Verdict")), run.stderr[-300:]),
            "headline": next((x for x in lines if "divergence" in x.lower()), "")[:400], "coverage": coverage, "named": list(dict.fromkeys(found))[:4],
            "largest_noise": max(noise, default=None), "lint": lint.stdout.strip().splitlines()[-1:] or lint.stderr[-200:], "lint_rc": lint.returncode}


def main():
    p = argparse.ArgumentParser(description="Captures sessions on this machine and holds them against ilref.")
    p.add_argument("--bin", help="the folder of ilref and ildiff; without it nothing is compared")
    p.add_argument("-o", "--output", required=True)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--tiny", action="store_true", help="small models, to try the script")
    p.add_argument("--rounding", help="ilref's rounding profile (default: its own choice)")
    p.add_argument("--only", default="", help="a regex of the runs to make: llama-sdpa, qwen3, clean")
    p.add_argument("--no-bench", action="store_true")
    a = p.parse_args()
    os.makedirs(a.output, exist_ok=True)
    results, bad = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if a.device.startswith("cuda") else a.device, "runs": []}, 0
    for name, kind, config in checkpoints(a.tiny):
        folder = os.path.join(a.output, name)
        make(kind, config, a.device, folder)
        generator = torch.Generator().manual_seed(5)
        ids = torch.randint(3, config["vocab_size"], (1, PROMPT), generator=generator).to(a.device)
        layers = config["num_hidden_layers"]
        for attn in ("sdpa", "eager"):
            for fault, plant in (("clean", None), ("row", scale_row), ("khead", zero_key_head)):
                session = os.path.join(a.output, f"{name}-{attn}-{fault}")
                if not re.search(a.only, os.path.basename(session)):
                    continue
                model = load(folder, attn, a.device)
                where = plant(model, min(7, layers - 2) if plant is scale_row else layers // 2) if plant else None
                r = {"session": os.path.basename(session), "fault": where, "capture": capture(model, ids, session)}
                del model
                good = (r["capture"]["outputs_equal"] or not r["capture"]["plain_runs_equal"]) and r["capture"]["status"] == "complete" and r["capture"]["steps"] == NEW
                if a.bin:
                    c = r["compare"] = compare(a.bin, folder, session, a.output, a.rounding)
                    good = good and c["lint_rc"] == 0 and (c["rc"] == 0 if where is None else c["rc"] == 1 and where in c["headline"])
                r["as_it_should_be"] = good
                bad += not good
                results["runs"].append(r)
                print(json.dumps(r), flush=True)
                shutil.rmtree(session)
    if not a.no_bench:
        dtype = torch.bfloat16
        model = bench.llama(128 if a.tiny else 2048, 2 if a.tiny else 16, a.device, dtype)
        results["cost"] = bench.measure(model, 3 if a.device == "cpu" else 20, os.path.join(a.output, "bench"))
        print(json.dumps(results["cost"]), flush=True)
        shutil.rmtree(os.path.join(a.output, "bench"))
    with open(os.path.join(a.output, "results.json"), "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
    print(f"{len(results['runs']) - bad} of {len(results['runs'])} runs as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
