"""Writes the dumps of this folder: sessions of testdata/sessions in the forms that other tools write, with torch.save.

    python make.py SESSIONS OUT      SESSIONS holds llama3-gqa-bf16, -chunk4 and -tp2, unpacked; needs torch and safetensors

The layouts follow the writers' sources, read and not copied:
  dumper-sglang, -tp2, dumper-vllm   sglang debug_utils/dumper.py (00d35548), and what vLLM pull request 52558 makes of it
  pass                               sglang debug_utils/tensor_dump_forward_hook.py (19fed5ff)
  msprobe, msprobe-statistics        msprobe core/dump/data_dump (8ff00da3), as SGLang and vllm-ascend call it
  neuron                             vllm-neuron accuracy/tensor_io.py
  hidden                             vLLM's example_hidden_states_connector.py
"""

import gzip
import json
import os
import re
import sys
import tarfile

import torch
from safetensors.torch import save_file

TUPLES = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")  # return (y, None)


class Call:
    def __init__(self, path, name, index):
        self.name, self.index, self.inputs, self.outputs = name, index, {}, {}
        for f in sorted(os.listdir(path)):
            m = re.match(r"(inputs|outputs)(?:_(\w+?))?_cuda_(\d+)\.pt$", f)
            if m:
                slots = self.inputs if m[1] == "inputs" else self.outputs
                slots.setdefault(m[2] or "", {})[int(m[3])] = torch.load(os.path.join(path, f), map_location="cpu").clone()

    def given(self, i, rank):
        return self.inputs.get(str(i), {}).get(rank)

    def returned(self, rank):
        """The result as the module returned it."""
        out = {k: v[rank] for k, v in self.outputs.items()}
        if list(out) == [""]:
            return out[""]
        if self.name.split(".")[-1] in TUPLES:
            return (out["0"], None)
        return tuple(out[str(i)] for i in range(len(out)))


def load(session, step):
    """The calls of a step in execution order, and the call of the logits of the step before, or None."""
    path = os.path.join(session, f"step_{step}")
    calls, logits = [], None
    for line in dict.fromkeys(open(os.path.join(path, "module_calls.txt")).read().split()):
        m = re.match(r"(.*rotary_emb)_(\d+)$", line)
        c = Call(os.path.join(path, line), m[1] if m else line, int(m[2]) if m else 0)
        if line == "logits_processor":
            logits = c
        else:
            calls.append(c)
    return calls, logits


def events(calls):
    """("in" | "out", call) in the order of hooks, with the layer that runs."""
    stack = []

    def close(until):
        while stack and not until(stack[-1]):
            yield "out", stack.pop()

    for c in calls:
        inside = lambda p: c.name.startswith(p.name + ".") or c.name.endswith("rotary_emb") and p.name.endswith("self_attn") or c.name.endswith("rotary_emb") and re.fullmatch(r"model\.layers\.\d+", p.name)
        yield from close(inside)
        yield "in", c
        stack.append(c)
    yield from close(lambda p: False)


def layer_of(calls):
    """The layer in whose forward each event is."""
    layer = None
    for what, c in events(calls):
        m = re.fullmatch(r"model\.layers\.(\d+)", c.name)
        if m and what == "in":
            layer = int(m[1])
        if m and what == "out":
            layer = None  # the context is cleared before the result is dumped
        yield what, c, layer


# ------------------------------------------------------------------ SGLang's dumper

CORE = {"input_ids", "positions", "seq_lens", "rids", "req_pool_indices"}


class Dumper:
    def __init__(self, out, rank, info):
        self.out, self.rank, self.info, self.step, self.index = out, rank, info, 0, 0
        os.makedirs(out, exist_ok=True)

    def dump(self, name, value, layer=None):
        self.index += 1
        tags = dict(step=self.step, rank=self.rank, dump_index=self.index, name=name, recompute_status="disabled")
        if layer is not None:
            tags["layer_id"] = layer
        file = "___".join(f"{k}={v}" for k, v in tags.items()) + ".pt"
        torch.save({"value": value, "meta": {**tags, "world_rank": self.rank, "world_size": 1, self.info: {"tp_rank": self.rank, "pp_rank": 0}}}, os.path.join(self.out, file))

    def value(self, module, value, sub, layer=None):
        """What a hook makes of an argument or a result."""
        if isinstance(value, (tuple, list)):
            tensors = [t for t in value if isinstance(t, torch.Tensor)]
            items = {"": tensors[0]} if len(tensors) == 1 else {str(i): t for i, t in enumerate(tensors)}
        elif isinstance(value, dict):
            items = value
        else:
            items = {"": value} if isinstance(value, torch.Tensor) else {}
        for key, item in items.items():
            core = key or sub.rsplit(".", 1)[-1]
            if core in CORE:
                self.dump(core, item, layer)
            else:
                self.dump("non_intrusive__" + ".".join(p for p in (module, sub, key) if p), item, layer)

    def forward(self, calls, rank, sglang):
        """The hooks of all modules in a forward."""
        for what, c, layer in layer_of(calls):
            if what == "out":
                self.value(c.name, c.returned(rank), "output", layer)
                continue
            if c.name.endswith("self_attn"):  # keyword arguments
                i = layer
                self.value(c.name, calls[[x.name for x in calls].index(f"model.layers.{i}")].given(0, rank), "inputs.positions", layer)
                norm = [x for x in calls if x.name == f"model.layers.{i}.input_layernorm"][0].returned(rank)
                self.value(c.name, norm[0] if isinstance(norm, tuple) else norm, "inputs.hidden_states", layer)
                continue
            is_layer = re.fullmatch(r"model\.layers\.\d+", c.name)
            for k in c.inputs:
                x = c.inputs[k][rank]
                if sglang and c.name == "model.embed_tokens":
                    x = x.long()
                at = "3" if sglang and is_layer and k == "2" else k  # the batch is argument 2
                self.value(c.name, x, "inputs." + at, layer)


def sglang_dumper(session, steps, out, ranks=1):
    for rank in range(ranks):
        d = Dumper(out, rank, "sglang_parallel_info")
        for step in steps:
            calls, _ = load(session, step)
            ids, positions = calls[0].given(0, rank).long(), calls[1].given(0, rank)
            batch = {"input_ids": ids, "seq_lens": positions[-1:] + 1, "positions": positions, "req_pool_indices": torch.zeros(1, dtype=torch.int64), "rids": ["a-request"]}
            d.value("", ids, "inputs.0")
            d.value("", positions, "inputs.1")
            for k, v in batch.items():  # the root is given the batch
                d.dump(k, v)
            d.value("model", ids, "inputs.0")
            d.value("model", positions, "inputs.1")
            d.forward(calls, rank, True)
            hidden = calls[-1].returned(rank)[0]
            d.value("model", hidden, "output")
            _, logits = load(session, step + 1)
            d.value("logits_processor", ids, "inputs.0")
            d.value("logits_processor", hidden, "inputs.1")
            if logits.outputs[""].get(rank) is not None:
                d.value("logits_processor", {"next_token_logits": logits.outputs[""][rank]}, "output")
                d.value("", {"next_token_logits": logits.outputs[""][rank]}, "output")
            d.step += 1


def vllm_dumper(session, steps, out):
    """Also what a warm-up and a dummy run of a data-parallel replica leave, before the batch of a step."""
    d = Dumper(out, 0, "vllm_parallel_info")

    def dummy():
        d.value("model.embed_tokens", torch.zeros(3, dtype=torch.int32), "inputs.0")
        d.value("model.embed_tokens", torch.zeros(3, 64, dtype=torch.bfloat16), "output")
        d.value("model.norm", torch.zeros(3, 64, dtype=torch.bfloat16), "output")

    for step in steps:
        calls, logits = load(session, step)
        if logits is not None and step > 0:
            d.value("logits_processor", logits.given(1, 0), "inputs.1")
            d.value("logits_processor", logits.returned(0), "output")
        dummy()
        if step == 0:
            d.value("logits_processor", torch.zeros(3, 64, dtype=torch.bfloat16), "inputs.1")
            d.value("logits_processor", torch.zeros(3, 512, dtype=torch.bfloat16), "output")
        positions = calls[1].given(0, 0)
        for k, v in {"input_ids": calls[0].given(0, 0), "positions": positions, "seq_lens": positions[-1:] + 1, "rids": ["a-request"], "extend_seq_lens": [len(positions)]}.items():
            d.dump("forward_batch_info_" + k, v)
        d.dump("input_ids", calls[0].given(0, 0))  # the root's keyword arguments
        d.dump("positions", positions)
        d.forward(calls, 0, False)
        d.step += 1
    _, logits = load(session, steps[-1] + 1)
    d.value("logits_processor", logits.given(1, 0), "inputs.1")
    d.value("logits_processor", logits.returned(0), "output")
    dummy()


# ------------------------------------------------------------------ PassNNNNN.pt


def passes(session, steps, out):
    rank = os.path.join(out, "TP0_PP0_Rank0_pid4711")
    os.makedirs(rank)
    current = {}

    def add(name, value):
        if isinstance(value, tuple):
            tensors = [t for t in value if t is not None]
            value = tensors[0] if len(tensors) == 1 else tensors
        current[name] = value

    for n, step in enumerate(steps):
        calls, _ = load(session, step)
        ropes = [c for c in calls if c.name.endswith("rotary_emb")]
        for c in calls:
            last = c.name.split(".")[-1]
            if last.isdigit() or last in ("self_attn", "mlp"):
                continue  # not a leaf
            if last == "rotary_emb":  # every layer's name is given the result of each call
                for i in range(len(ropes)):
                    add(f"model.layers.{i}.self_attn.rotary_emb", c.returned(0))
                continue
            add(c.name, c.returned(0))
        positions = calls[1].given(0, 0)
        info = {"input_ids": calls[0].given(0, 0).long(), "seq_lens": positions[-1:] + 1, "positions": positions}
        for k, v in info.items():
            add("model.forward_batch_info." + k, v)
        torch.save(current, os.path.join(rank, f"Pass{n:05d}.pt"))
        current.clear()
        add("model", calls[-1].returned(0)[0])  # of this forward, written with the next
        _, logits = load(session, step + 1)
        add("logits_processor", logits.returned(0))


# ------------------------------------------------------------------ msprobe

CLASSES = {"embed_tokens": "VocabParallelEmbedding", "self_attn": "LlamaAttention", "qkv_proj": "QKVParallelLinear", "o_proj": "RowParallelLinear", "rotary_emb": "RotaryEmbedding",
           "attn": "RadixAttention", "mlp": "LlamaMLP", "gate_up_proj": "MergedColumnParallelLinear", "down_proj": "RowParallelLinear", "act_fn": "SiluAndMul", "logits_processor": "LogitsProcessor"}


class Probe:
    def __init__(self, out, tensors, returned):
        self.out, self.tensors, self.returned, self.begun, self.data = out, tensors, returned, {}, {}
        os.makedirs(os.path.join(out, "dump_tensor_data") if tensors else out)

    def describe(self, name, value):
        if value is None:
            return None
        if isinstance(value, (tuple, list)):
            return [self.describe(f"{name}.{i}", v) for i, v in enumerate(value)]
        if isinstance(value, dict):
            return {k: self.describe(f"{name}.{k}", v) for k, v in value.items()}
        if not isinstance(value, torch.Tensor):
            return {"type": type(value).__name__, "value": value}
        f = value.float()
        t = {"type": "torch.Tensor", "dtype": str(value.dtype), "shape": list(value.shape), "Max": f.max().item(), "Min": f.min().item(), "Mean": f.mean().item(), "Norm": f.norm().item(), "requires_grad": False}
        if value.dtype == torch.int64:
            t["Mean"] = t["Norm"] = None
        if self.tensors:
            t["data_name"] = name + ".pt"
            torch.save(value.clone(), os.path.join(self.out, "dump_tensor_data", name + ".pt"))
        return t

    def forward_in(self, name, args, kwargs):
        self.begun[name] = {"input_args": self.describe(name + ".input", args), "input_kwargs": self.describe(name + ".kwargs", kwargs)}
        if not self.returned:
            self.data[name] = self.begun[name]

    def forward_out(self, name, value):
        self.data[name] = self.begun[name]  # releases of 2026 list a call when it returns, earlier ones when it begins
        self.data[name]["output"] = self.describe(name + ".output", value if isinstance(value, tuple) else (value,))

    def close(self, **more):
        data = {"task": "tensor" if self.tensors else "statistics", "level": "mix", "framework": "pytorch", "dump_data_dir": "/somewhere/else", "data": self.data}
        with open(os.path.join(self.out, "dump.json"), "w") as f:
            json.dump(data, f, indent=1)
        for name in ("stack.json", "construct.json"):
            with open(os.path.join(self.out, name), "w") as f:
                json.dump({}, f)


def msprobe(session, steps, out, tensors, sglang):
    for step in steps:
        p = Probe(os.path.join(out, f"step{step}", "rank" if sglang else "rank0"), tensors, sglang)
        calls, _ = load(session, step)
        positions = calls[1].given(0, 0)
        batch = {"forward_mode": 1, "input_ids": calls[0].given(0, 0).long(), "seq_lens": positions[-1:] + 1, "req_pool_indices": torch.zeros(1, dtype=torch.int64), "positions": positions}
        full = lambda c: f"Module.{c.name}.{CLASSES.get(c.name.split('.')[-1], 'LlamaDecoderLayer' if c.name[-1].isdigit() else 'RMSNorm')}.forward.{c.index}"
        root = "Module.LlamaForCausalLM.forward.0"
        p.forward_in(root, (calls[0].given(0, 0), positions), {})
        functions = 0
        for what, c, layer in layer_of(calls):
            if what == "out":
                p.forward_out(full(c), c.returned(0))
                continue
            args = [c.given(i, 0) for i in range(1 + max((int(k) for k in c.inputs), default=-1))]
            kwargs = {}
            if re.fullmatch(r"model\.layers\.\d+", c.name):
                args += [None] * (3 - len(args))  # no residual yet
                if sglang:
                    args.insert(2, batch)
            elif c.name.endswith("self_attn"):
                norm = [x for x in calls if x.name == f"model.layers.{layer}.input_layernorm"][0].returned(0)
                kwargs = {"positions": positions, "hidden_states": norm[0] if isinstance(norm, tuple) else norm}
                if sglang:
                    kwargs["forward_batch"] = batch
            elif c.name.endswith(".attn") and sglang:
                args.append(batch)
            p.forward_in(full(c), tuple(args), kwargs)
            if c.name.endswith("qkv_proj"):
                p.data[f"Functional.linear.{functions}.forward"] = {"input_args": [None], "input_kwargs": {}, "output": [None]}
                functions += 1
        _, logits = load(session, step + 1)
        name = "Module.logits_processor.LogitsProcessor.forward.0"
        if sglang:
            p.forward_in(name, (calls[0].given(0, 0).long(), calls[-1].returned(0)[0], None, batch), {})
            p.forward_out(name, {"next_token_logits": logits.returned(0), "hidden_states": None})
        else:
            p.forward_in(name, (None, logits.given(1, 0)), {})
            p.forward_out(name, logits.returned(0))
        p.forward_out(root, None if sglang else calls[-1].returned(0)[0])
        if not tensors:  # a statistic that JSON has no word for
            p.data[name]["output"][0]["Max"] = float("nan")
        p.close()


# ------------------------------------------------------------------ vllm-neuron


def neuron(session, steps, out, bucket):
    os.makedirs(os.path.join(out, "dp0"))
    for n, step in enumerate(steps):
        calls, _ = load(session, step)
        _, logits = load(session, step + 1)
        name = f"prefill_s{bucket}_{n}"
        dir = os.path.join(out, "dp0", name)
        for c in calls + [logits]:
            if c.name.endswith("rotary_emb"):
                continue
            value = c.returned(0)
            value = value[0] if isinstance(value, tuple) else value
            padded = value
            if c is not logits:
                padded = torch.full((bucket,) + tuple(value.shape[1:]), 7, dtype=value.dtype)
                padded[: len(value)] = value
            os.makedirs(os.path.join(dir, c.name))
            torch.save(padded.unsqueeze(0), os.path.join(dir, c.name, "rank0.pt"))
        with open(os.path.join(dir, name + "_meta.json"), "w") as f:
            json.dump({"req_ids": ["a-request"], "positions": calls[1].given(0, 0).tolist(), "dp_rank": 0}, f)


# ------------------------------------------------------------------ hidden states


def hidden(session, out):
    calls = {c.name: c for c in load(session, 0)[0]}
    sums = [calls["model.embed_tokens"].returned(0)]
    sums += [calls[f"model.layers.{i}.input_layernorm"].returned(0)[1] for i in (1, 2)]
    sums.append(calls["model.norm"].returned(0)[1])
    os.makedirs(out)
    save_file({"hidden_states": torch.stack(sums, 1).contiguous(), "token_ids": calls["model.embed_tokens"].given(0, 0).long()}, os.path.join(out, "cmpl-1-0.safetensors"))
    open(os.path.join(out, "cmpl-1-0.safetensors.lock"), "w").close()
    with open(os.path.join(out, "layer_ids.json"), "w") as f:
        json.dump([0, 1, 2, "norm"], f)


def pack(folder):
    with open(folder + ".tar.gz", "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z, tarfile.open(fileobj=z, mode="w") as t:
        def plain(i):
            i.uid = i.gid = i.mtime = 0
            i.uname = i.gname = ""
            return i
        t.add(folder, os.path.basename(folder), filter=plain)


def main(sessions, out):
    plain, chunks, tp2 = (os.path.join(sessions, "llama3-gqa-bf16" + s) for s in ("", "-chunk4", "-tp2"))
    made = {
        "dumper-sglang": lambda o: sglang_dumper(chunks, [0, 1], o),
        "dumper-tp2": lambda o: sglang_dumper(tp2, [1], o, 2),
        "dumper-vllm": lambda o: vllm_dumper(chunks, [0, 1], o),
        "pass": lambda o: passes(chunks, [0, 1], o),
        "msprobe": lambda o: msprobe(chunks, [0, 1], o, True, True),
        "msprobe-statistics": lambda o: msprobe(chunks, [0, 1], o, False, False),
        "neuron": lambda o: neuron(chunks, [0, 1], o, 8),
        "hidden": lambda o: hidden(plain, o),
    }
    for name, make in made.items():
        folder = os.path.join(out, name)
        make(folder)
        pack(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
