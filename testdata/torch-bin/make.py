"""The qwen3 checkpoint of this folder as pytorch_model.bin: one file, and
sharded by an index, some weights stored transposed as a view.

Written with torch 2.14:  python3 make_bin.py ARCHITECTURES OUT
"""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import load_file

source, out = os.path.join(sys.argv[1], "qwen3"), sys.argv[2]
state = load_file(os.path.join(source, "model.safetensors"))
for name in list(state):
    if name.endswith("o_proj.weight"):  # a view: column-major in the file
        state[name] = state[name].t().contiguous().t()
for kind in ("single", "sharded"):
    os.makedirs(os.path.join(out, kind), exist_ok=True)
    shutil.copy(os.path.join(source, "config.json"), os.path.join(out, kind))
torch.save(state, os.path.join(out, "single", "pytorch_model.bin"))
names = sorted(state)
index = {"metadata": {"total_size": sum(t.numel() * t.element_size() for t in state.values())}, "weight_map": {}}
for i, part in enumerate((names[:10], names[10:])):
    file = f"pytorch_model-0000{i + 1}-of-00002.bin"
    torch.save({n: state[n] for n in part}, os.path.join(out, "sharded", file), _use_new_zipfile_serialization=i == 0)
    index["weight_map"].update({n: file for n in part})
json.dump(index, open(os.path.join(out, "sharded", "pytorch_model.bin.index.json"), "w"), indent=1)
