"""Writes OUTPUT: a session of transformers' own model through the rules of the GPU logger's variant A (hooks on every
module but the root, the root's forward hook ends the step), greedy, NEW tokens; of 0 it is one forward of
all ids with the logits of every row, as a trainer computes them.
Usage: python3 hf-session.py CHECKPOINT OUTPUT DTYPE NEW ID.. (ids of the prompt), with torch 2.14 and transformers 5.
hf-rounding.py calls record() for sessions with other attention, in chunks, and with faults."""
import json, os, re, sys
import torch
from transformers import AutoModelForCausalLM


def describe(x):
    if isinstance(x, torch.Tensor):
        return {"type": "tensor", "shape": list(x.shape), "dtype": str(x.dtype), "numel": x.numel()}
    if isinstance(x, (list, tuple)):
        return {"type": type(x).__name__, "items": [describe(v) for v in x]}
    if isinstance(x, dict):
        return {"type": "dict", "items": {k: describe(v) for k, v in x.items()}}
    if x is None or isinstance(x, (int, float, bool, str)):
        return x
    return {"type": type(x).__name__, "string_repr": str(x)}


def save(x, path):
    if isinstance(x, torch.Tensor):
        torch.save(x, f"{path}_{str(x.device).replace(':', '_')}.pt")
    elif isinstance(x, (list, tuple)):
        for i, v in enumerate(x):
            save(v, f"{path}_{i}")
    elif isinstance(x, dict):
        for k, v in x.items():
            save(v, f"{path}_{k}")


class Logger:
    def __init__(self, model, run, keywords=(), only=""):
        self.run, self.step, self.count, self.keywords = run, 0, {}, keywords
        for name, module in model.named_modules():
            if name and re.search(only, name):
                module.register_forward_pre_hook(lambda m, args, kwargs, name=name: self.before(name, args, kwargs), with_kwargs=True)
                module.register_forward_hook(lambda m, args, out, name=name: self.after(name, out))
        model.register_forward_hook(lambda m, args, out: self.end())

    def log(self, name, kind, value, kwargs={}):
        n = self.count[name]
        d = f"{self.run}/step_{self.step}/{name}" + (f"_{n}" if n else "")
        os.makedirs(d, exist_ok=True)
        save(value, f"{d}/{kind}")
        save(kwargs, f"{d}/{kind}")
        with open(f"{d}/{kind}.json", "w") as f:
            json.dump({**describe(value), "kwargs": {k: describe(v) for k, v in kwargs.items()}} if kwargs else describe(value), f, indent=2)
        return d

    def before(self, name, args, kwargs):
        self.count[name] = self.count.get(name, -1) + 1
        d = self.log(name, "inputs", args, {k: kwargs[k] for k in self.keywords if k in kwargs})
        with open(f"{self.run}/step_{self.step}/module_calls.txt", "a") as f:
            f.write(os.path.basename(d) + "\n")

    def after(self, name, out):
        self.log(name, "outputs", out)

    def end(self):
        self.step, self.count = self.step + 1, {}


def record(checkpoint, output, dtype, new, ids, attention="eager", chunks=None, keywords=(), only="", fault=None, told=False):
    """Runs the prompt, in chunks of these lengths where given, then NEW tokens that are chosen greedily. keywords are
    the arguments by keyword that are recorded too, only the modules that are (a regex); fault is called with the model before the logger's hooks are there; told writes a session.json with the model's architecture."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype), attn_implementation=attention).eval()
    if fault:
        fault(model)
    Logger(model, output, keywords, only)
    if told:
        os.makedirs(output, exist_ok=True)
        with open(f"{output}/session.json", "w") as f:
            json.dump({"schema": "il.session.v1", "status": "complete", "engine": {"name": "transformers"}, "model": {"architecture": type(model).__name__}, "run": {"logits_lag": 0}}, f)
    with torch.inference_mode():
        if chunks:
            out, cache, at = list(ids), None, 0
            for n in chunks:
                step = model(torch.tensor([ids[at:at + n]]), past_key_values=cache, use_cache=True)
                cache, at = step.past_key_values, at + n
            for _ in range(new - 1):
                out.append(int(step.logits[0, -1].argmax()))
                step = model(torch.tensor([out[-1:]]), past_key_values=cache, use_cache=True)
            out.append(int(step.logits[0, -1].argmax()))
        elif new == 0:
            out = model(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids))).logits[0].argmax(-1).tolist()
        else:
            out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=new, do_sample=False)[0].tolist()
    print(output, out)


if __name__ == "__main__":
    checkpoint, output, dtype, new = sys.argv[1:5]
    record(checkpoint, output, dtype, int(new), [int(x) for x in sys.argv[5:]])
