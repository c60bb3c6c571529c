"""What il_capture costs: a capture that records no step against none on a decode step, and recording per GB.

  python3 bench.py [--device cuda] [--dtype float32] [--layers 16] [--hidden 2048] [--repeat 10]

The model is a random Llama of a 1B geometry, made in memory. The idle cost is measured twice: on the decode step
itself, with and without a capture in turns (its noise on a shared machine is larger than the cost), and on a module
that does nothing, called many times, the fastest of many rounds: as the root of a capture that waits for its step,
and with hooks on it that find nothing to record, which is what each module of a recorded step pays before a byte is
copied.
"""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import timeit

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import il_capture  # noqa: E402

NEVER = {"log_step_ids": [1 << 40]}


def llama(hidden, layers, device, dtype, intermediate=None, heads=32, kv=8, vocab=32000):
    """A random Llama, made on its device."""
    from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(hidden_size=hidden, intermediate_size=intermediate or 4 * hidden, num_hidden_layers=layers, num_attention_heads=heads,
                         num_key_value_heads=kv, vocab_size=vocab, max_position_embeddings=4096, bos_token_id=1, eos_token_id=2)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config).to(dtype).eval()
    finally:
        torch.set_default_dtype(before)


class Decode:
    """One token behind a prompt, again and again."""

    def __init__(self, model, prompt=64):
        self.model, self.prompt = model, prompt
        self.device = next(model.parameters()).device
        with torch.inference_mode():
            self.cache = model(torch.arange(3, 3 + prompt, device=self.device)[None]).past_key_values
        self.token = torch.tensor([[7]], device=self.device)

    def step(self):
        """Seconds of one step."""
        with torch.inference_mode():
            self.cache.crop(self.prompt)
            self.sync()
            start = time.perf_counter()
            self.model(self.token, past_key_values=self.cache)
            self.sync()
            return time.perf_counter() - start

    def sync(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def idle(model, repeat, batch=3):
    """Median seconds of a step without a capture, and with one that waits for its step, measured in turns."""
    d, plain, waiting = Decode(model), [], []
    d.step()
    with tempfile.TemporaryDirectory() as out:
        for _ in range(repeat):
            plain += [d.step() for _ in range(batch)]
            with quiet(), il_capture.capture(model, NEVER, output_dir=out):
                waiting += [d.step() for _ in range(batch)]
    return statistics.median(plain), statistics.median(waiting)


class Root(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Identity()

    def forward(self, x):
        return x


def call_costs():
    """Microseconds that a call of a root pays to a capture that waits, and a module's call to its hooks."""
    root, x = Root(), torch.zeros(1)
    fastest = lambda f: min(timeit.repeat(lambda: f(x), number=500, repeat=60)) / 500 * 1e6  # noqa: E731
    with torch.inference_mode(), tempfile.TemporaryDirectory() as out:
        plain, inner = fastest(root), fastest(root.inner)
        with quiet(), il_capture.capture(root, NEVER, output_dir=out):
            waiting = fastest(root)
        cap = il_capture.Capture(NEVER).attach(root)
        cap.hooks[0].put(True)
        hooked = fastest(root.inner)
    return waiting - plain, hooked - inner


class quiet:
    """Without the capture's lines on stderr."""

    def __enter__(self):
        self.log, il_capture.log = il_capture.log, lambda text: None

    def __exit__(self, *_):
        il_capture.log = self.log


def recording(model, prompt, folder):
    """Seconds of a prefill without and with recording, until all is written, and what session.json says."""
    device = next(model.parameters()).device
    ids = torch.arange(3, 3 + prompt, device=device)[None]
    sync = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    with torch.inference_mode():
        model(ids)
        sync()
        start = time.perf_counter()
        want = model(ids).logits
        sync()
        plain = time.perf_counter() - start
        start = time.perf_counter()
        with quiet(), il_capture.capture(model, session=folder):
            got = model(ids).logits
            sync()
            forward = time.perf_counter() - start
        whole = time.perf_counter() - start
    with open(os.path.join(folder, "session.json"), encoding="utf-8") as f:
        s = json.load(f)
    return {"plain_s": plain, "forward_s": forward, "until_written_s": whole, "bytes": s["cost"]["bytes"], "files": s["cost"]["files"], "status": s["status"],
            "s_per_GB": (whole - plain) / s["cost"]["bytes"] * 1e9, "outputs_equal": torch.equal(want, got)}


def measure(model, repeat, folder, prompt=64):
    """All figures of a model, as a dict."""
    plain, waiting = idle(model, repeat)
    root, module = call_costs()
    modules = sum(1 for _ in model.named_modules()) - 1
    return {"modules": modules, "decode_step_s": plain, "decode_step_capture_waiting_s": waiting, "measured_idle_share": waiting / plain - 1,
            "idle_us": root, "idle_share": root / plain / 1e6, "hooks_on_us_a_module": module, "hooks_on_share": module * modules / plain / 1e6,
            "recording": recording(model, prompt, folder)}


def main():
    p = argparse.ArgumentParser(description="What il_capture costs.")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    p.add_argument("--layers", type=int, default=16)
    p.add_argument("--hidden", type=int, default=2048)
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--prompt", type=int, default=64, help="tokens of the prefill that is recorded")
    p.add_argument("-o", "--output", help="a folder for the session (default: a temporary one)")
    a = p.parse_args()
    dtype = getattr(torch, a.dtype)
    model = llama(a.hidden, a.layers, a.device, dtype)
    folder = tempfile.mkdtemp(dir=a.output)
    try:
        out = measure(model, a.repeat, os.path.join(folder, "session"), a.prompt)
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"parameters": sum(x.numel() for x in model.parameters()), "device": a.device, "dtype": a.dtype, "threads": torch.get_num_threads(), **out}, indent=1))


if __name__ == "__main__":
    main()
