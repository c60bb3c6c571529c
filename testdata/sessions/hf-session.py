"""Writes OUTPUT: a session of transformers' own model through the rules of the GPU logger's variant A (hooks on every
module but the root, the root's forward hook ends the step), greedy, NEW tokens; of 0 it is one forward of all ids with
the logits of every row, as a trainer computes them.
Usage: python3 hf-session.py CHECKPOINT OUTPUT DTYPE NEW ID.. (ids of the prompt), with torch 2.14 and transformers 5."""
import json, os, sys
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
    def __init__(self, model, run):
        self.run, self.step, self.count = run, 0, {}
        for name, module in model.named_modules():
            if name:
                module.register_forward_pre_hook(lambda m, args, name=name: self.before(name, args))
                module.register_forward_hook(lambda m, args, out, name=name: self.after(name, out))
        model.register_forward_hook(lambda m, args, out: self.end())

    def log(self, name, kind, value):
        n = self.count[name]
        d = f"{self.run}/step_{self.step}/{name}" + (f"_{n}" if n else "")
        os.makedirs(d, exist_ok=True)
        save(value, f"{d}/{kind}")
        with open(f"{d}/{kind}.json", "w") as f:
            json.dump(describe(value), f, indent=2)
        return d

    def before(self, name, args):
        self.count[name] = self.count.get(name, -1) + 1
        d = self.log(name, "inputs", args)
        with open(f"{self.run}/step_{self.step}/module_calls.txt", "a") as f:
            f.write(os.path.basename(d) + "\n")

    def after(self, name, out):
        self.log(name, "outputs", out)

    def end(self):
        self.step, self.count = self.step + 1, {}


checkpoint, output, dtype, new = sys.argv[1:5]
ids = [int(x) for x in sys.argv[5:]]
model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=getattr(torch, dtype), attn_implementation="eager").eval()
Logger(model, output)
with torch.inference_mode():
    if int(new):
        out = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=int(new), do_sample=False)
        print(output, out.tolist())
    else:
        model(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)))
