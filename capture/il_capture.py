"""Writes intermediate-tensor sessions of any PyTorch model, of stock vLLM and of stock SGLang.

What every module is given and returns, step by step, as files that ildiff and ilref read. One file; it needs
torch >= 2.0 and Python >= 3.9 alone. Imported with none of its variables set it does nothing.

  with il_capture.capture(model, {"log_step_ids": []}) as session: model.generate(...)      any PyTorch model
  python il_capture.py run --model M --prompt TEXT -o DIR                                     transformers
  PYTHONPATH=capture IL_CAPTURE_CONFIG='{}' vllm serve M                                      vLLM (general plugin)
  PYTHONPATH=capture IL_CAPTURE_CONFIG='{}' python -m sglang.launch_server --disable-cuda-graph ...
  python il_capture.py check DIR                                                              what was recorded

The model's results never change and its process never stops: a fault of the recording (a full disk, an
exception in a hook, a disk too slow) ends the recording with a status in session.json. README.md beside this
file has the config and what is written; docs/format.md the format.
"""
from __future__ import annotations

import argparse
import atexit
import base64
import collections
import contextlib
import ctypes
import dataclasses
import datetime
import difflib
import errno
import functools
import hashlib
import importlib
import json
import math
import os
import platform
import re
import shutil
import struct
import sys
import threading
import time
import traceback
import uuid

try:
    import torch
except ModuleNotFoundError:
    if __name__ != "__main__":
        raise
    sys.exit("il_capture: needs torch, which this Python has not: run it with the Python of the engine, or of transformers")

VERSION = "1.0"
SCHEMA = "il.session.v1"
GIB = 1 << 30
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
ANOTHER = "another rank has stopped"


class CaptureError(ValueError):
    """A config or a model that cannot be recorded as asked; raised before the model runs."""


def log(text):
    """A line on stderr: engines configure logging for their own packages alone."""
    with contextlib.suppress(Exception):
        print(f"il_capture: {text}", file=sys.stderr, flush=True)


def attempt(f, default=None):
    """f(), or default where it raises: no fact for session.json is worth a fault."""
    try:
        return f()
    except Exception:
        return default


# ---- config -------------------------------------------------------------------------------------------------

DEFAULTS = {
    # vLLM's il config, with its meaning
    "output_dir": "/tmp/vllm_intermediates", "module_call_match": None, "log_step_ids": [0], "max_tensor_size": None,
    "device_names": [], "log_post_fwd_inputs": False, "enabled": True, "reload_input_dir": None,
    # the capture's own
    "kwargs": None, "mode": "tensors", "max_session_bytes": 50 * GIB, "min_free_bytes": None, "max_step_seconds": 120,
    "skip_steps": 0, "last_logits": True, "dtype_cast": None, "skip_modules": [], "ranks": "all", "dedupe": "none",
    "queue_bytes": 2 * GIB, "label": None,
}
CASTS = ("float64", "float32", "bfloat16", "float16")
KEYWORDS_NEVER = {"attention_mask", "past_key_values", "past_key_value", "cache_position", "use_cache", "labels"}
# transformers 5 gives its rotary embedding the positions by keyword: the one thing that a session would lack
KEYWORDS_OF = {"transformers": ["rotary_emb.position_ids"]}


def _is_int(x):
    return isinstance(x, int) and not isinstance(x, bool)


def _is_number(x):
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def _is_texts(x):
    return isinstance(x, list) and all(isinstance(v, str) for v in x)


def _is_device(x):
    return isinstance(x, str) and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9]*(:[0-9]+)?", x)


CHECKS = {
    "output_dir": (lambda x: isinstance(x, str) and x, "a folder"),
    "module_call_match": (lambda x: x is None or _is_texts(x), "a list of regexes, or null"),
    "log_step_ids": (lambda x: isinstance(x, list) and all(_is_int(v) and v >= 0 for v in x), "a list of step numbers"),
    "max_tensor_size": (lambda x: x is None or _is_int(x) and x >= 0, "a number of elements, or null"),
    "device_names": (_is_texts, "a list of device labels such as cuda:0"),
    "log_post_fwd_inputs": (lambda x: isinstance(x, bool), "true or false"),
    "enabled": (lambda x: isinstance(x, bool), "true or false"),
    "kwargs": (lambda x: x is None or isinstance(x, bool) or _is_texts(x), "true, false or a list of keywords"),
    "mode": (lambda x: x in ("tensors", "fingerprint", "shapes"), "tensors, fingerprint or shapes"),
    "max_session_bytes": (lambda x: x is None or _is_int(x) and x > 0, "a number of bytes, or null"),
    "min_free_bytes": (lambda x: x is None or _is_int(x) and x >= 0, "a number of bytes, or null"),
    "max_step_seconds": (lambda x: x is None or _is_number(x) and x > 0, "seconds, or null"),
    "skip_steps": (lambda x: _is_int(x) and x >= 0, "a number of forwards"),
    "last_logits": (lambda x: isinstance(x, bool), "true or false"),
    "dtype_cast": (lambda x: x in (None, "none") + CASTS, "none or one of " + ", ".join(CASTS)),
    "skip_modules": (_is_texts, "a list of regexes"),
    "ranks": (lambda x: x == "all" or isinstance(x, list) and all(map(_is_int, x)), '"all" or a list of ranks'),
    "dedupe": (lambda x: x in (None, "none", "link"), "none or link"),
    "queue_bytes": (lambda x: _is_int(x) and x > 0, "a number of bytes"),
    "label": (lambda x: x is None or _is_device(x), "a device such as cuda:0"),
}


def read_config(config=None, **overrides):
    """The whole config of a dict, a JSON text, or the path of a JSON file. Unknown keys and wrong types raise."""
    c = {**_config_dict(config), **overrides}
    for key in c:
        if key not in DEFAULTS:
            near = difflib.get_close_matches(str(key), DEFAULTS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"keys are {', '.join(DEFAULTS)}"
            raise CaptureError(f"il config: unknown key {key!r}; {hint}")
    if c.get("reload_input_dir"):
        raise CaptureError("il config: reload_input_dir would change the run, which a capture never does; leave it out")
    c = {**DEFAULTS, **c}
    for key, (ok, want) in CHECKS.items():
        if not attempt(lambda: ok(c[key]), False):
            raise CaptureError(f"il config: {key} is {c[key]!r}, want {want}")
    for entry in c["module_call_match"] or []:
        _pattern(entry)
    for r in c["skip_modules"]:
        _regex(r, "skip_modules")
    return c


def _config_dict(config):
    if config is None:
        return {}
    where = "il config"
    if isinstance(config, (str, os.PathLike)):
        text = os.fspath(config)
        if not text.lstrip().startswith("{"):
            where = text
            try:
                with open(text, encoding="utf-8") as f:
                    text = f.read()
            except OSError as e:
                raise CaptureError(f"il config {where}: {e.strerror}; give a JSON object, or the path of a file of one") from e
        try:
            config = json.loads(text)
        except ValueError as e:
            raise CaptureError(f"{where}: no JSON: {e}") from e
    if not isinstance(config, dict):
        raise CaptureError(f"{where}: want a JSON object")
    return config


def _regex(text, key):
    try:
        return re.compile(text)
    except re.error as e:
        raise CaptureError(f"il config: {key}: {text!r} is no regex: {e}") from e


def _pattern(entry):
    """'regex' or 'regex:i', of which i is the call; a colon within the regex is none of that."""
    m = re.fullmatch(r"(.*):([0-9]+)", entry, re.S)
    text, call = (m[1], int(m[2])) if m else (entry, None)
    return _regex(text, "module_call_match"), text, call


class Filter:
    """Which calls of which modules: the first regex that matches decides, with all entries of the same regex."""

    def __init__(self, config):
        self.patterns = [_pattern(e) for e in config["module_call_match"] or []]
        self.skip = [re.compile(r) for r in config["skip_modules"]]

    def calls(self, name):
        """None for no call, else the set of call indices, which is empty for all."""
        if any(r.search(name) for r in self.skip):
            return None
        if not self.patterns:
            return frozenset()
        text = next((t for r, t, _ in self.patterns if r.search(name)), None)
        if text is None:
            return None
        indices = [i for _, t, i in self.patterns if t == text]
        return frozenset() if None in indices else frozenset(indices)


# ---- values -------------------------------------------------------------------------------------------------

def describe(x):
    """The JSON side file of a value, as the GPU logger writes it. Objects are named and never printed: the text
    of an engine's object may copy tensors from the device."""
    if isinstance(x, torch.Tensor):
        return {"type": "tensor", "shape": list(x.shape), "dtype": str(x.dtype), "numel": x.numel()}
    if x is None or isinstance(x, (bool, int, float, str)):
        return plain(x)
    if isinstance(x, (list, tuple)):
        kind = "list" if isinstance(x, list) else "tuple"
        if len(x) > 20:
            return {"type": kind, "length": len(x), "sample": [describe(v) for v in x[:100]], "note": f"Showing only first 20 of {len(x)} items"}
        return {"type": kind, "items": [describe(v) for v in x]}
    if isinstance(x, dict):
        keys = [str(k) for k in x]
        items = {k: describe(v) for k, v in zip(keys[:20], x.values())}
        if len(x) > 20:
            return {"type": "dict", "length": len(x), "keys": keys, "sample": items, "note": f"Showing only first 20 of {len(x)} items"}
        return {"type": "dict", "items": items}
    fields = tensor_fields(x)
    if fields:
        return {"type": "dict", "items": {k: describe(v) for k, v in fields.items()}}
    return {"type": type(x).__name__, "string_repr": type(x).__name__ + "()"}


def plain(x):
    """Members of enumerations, and other kinds of int, float and str, as the value that they are."""
    for kind in (bool, int, float, str):
        if isinstance(x, kind):
            return x if type(x) is kind else kind.__str__(x) if kind is str else kind(x)
    return None


def tensor_fields(x):
    """The fields of a dataclass that are tensors, or lists of some."""
    if not dataclasses.is_dataclass(x) or isinstance(x, type):
        return {}
    values = {f.name: getattr(x, f.name, None) for f in dataclasses.fields(x)}
    of_tensors = lambda v: isinstance(v, (list, tuple)) and len(v) > 0 and all(isinstance(e, torch.Tensor) for e in v)  # noqa: E731
    return {k: v for k, v in values.items() if isinstance(v, torch.Tensor) or of_tensors(v)}


def leaves(x, slot):
    """(slot, tensor) of every tensor in a value: positions and keys are joined with underscores."""
    if isinstance(x, torch.Tensor):
        yield slot, x
    elif isinstance(x, (list, tuple)):
        for i, v in enumerate(x):
            yield from leaves(v, f"{slot}_{i}")
    elif isinstance(x, dict):
        for k, v in x.items():
            yield from leaves(v, f"{slot}_{safe_name(str(k))}")
    else:
        for k, v in tensor_fields(x).items():
            yield from leaves(v, f"{slot}_{k}")


def safe_name(name):
    """A name as one part of a path: no slash, no NUL, none that begins with a dot."""
    name = re.sub(r"[/\\\x00]", "_", name)
    return "_" + name if name.startswith(".") or not name else name


def unrecordable(t):
    """Why a tensor's bytes cannot be written as they are, '' where they can."""
    if t.layout is not torch.strided:
        return f"layout {t.layout}"
    if t.is_quantized:
        return "quantised tensor"
    if getattr(t, "is_nested", False):
        return "nested tensor"
    if t.device.type == "meta":
        return "device meta has no values"
    name = dtype_name(t.dtype)
    if re.match(r"(u?int[1-7]$|float4|bits)", name):
        return f"sub-byte dtype {name}"
    return ""


def dtype_name(dtype):
    return str(dtype).split(".")[-1]


def to_cpu(t):
    """A copy of the values on the CPU, taken now: what kernels do in place later cannot change it. Dense strides
    are kept, other views become contiguous."""
    t = t.detach()
    if type(t) is not torch.Tensor and hasattr(t, "to_local"):  # DTensor: this rank's part
        t = t.to_local()
    if t.is_conj() or t.is_neg():
        t = t.resolve_conj().resolve_neg()
    c = t.to("cpu", copy=True)
    return c if type(c) is torch.Tensor else c.as_subclass(torch.Tensor)


def raw_bytes(t):
    """The bytes of a contiguous CPU tensor, without numpy. t must outlive them."""
    n = t.numel() * t.element_size()
    return memoryview((ctypes.c_char * n).from_address(t.data_ptr())) if n else b""


# ---- fingerprints: what `ildiff baseline save` writes -----------------------------------------------------------

PROJECTIONS = 32
BLOCK = 1 << 14


def _signed(x):
    return x - (1 << 64) if x >= 1 << 63 else x


@functools.lru_cache(maxsize=16)
def _signs(start, n):
    """(32, n) of +1 and -1: SplitMix64's outputs number start.., of the seed 0; a set bit is minus."""
    def shift(z, by):  # logical, of an arithmetic one
        return (z >> by) & ((1 << (64 - by)) - 1)
    z = torch.arange(start + 1, start + n + 1, dtype=torch.int64) * _signed(0x9E3779B97F4A7C15)
    z = (z ^ shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ shift(z, 27)) * _signed(0x94D049BB133111EB)
    z = z ^ shift(z, 31)
    bits = (z.unsqueeze(0) >> torch.arange(PROJECTIONS).unsqueeze(1)) & 1
    return 1.0 - 2.0 * bits.to(torch.float64)


def _running(total, values):
    """total + values, added one after the other along the last dimension: ildiff's sums to the bit."""
    return torch.cat([total.unsqueeze(-1), values], -1).cumsum(-1)[..., -1]


def _project(p, at, values, finite):
    """Adds the finite values, whose indices are at.., to the projections."""
    whole = bool(finite.all())
    i = 0
    while i < values.numel():
        block, skew = divmod(at + i, BLOCK)
        n = min(BLOCK - skew, values.numel() - i)
        v = _signs(block * BLOCK, BLOCK)[:, skew:skew + n] * values[i:i + n]
        p = _running(p, v if whole else v[:, finite[i:i + n]])
        i += n
    return p


def _encoded(p):
    return base64.b64encode(struct.pack(f"<{PROJECTIONS}d", *p.tolist())).decode()


def fingerprint(t):
    """What stands for a CPU tensor in a baseline; compare/baseline/fingerprint.go says what each member is."""
    t = t.contiguous()
    v = (torch.view_as_real(t) if t.is_complex() else t).to(torch.float64).reshape(-1)
    finite = torch.isfinite(v)
    good, zero = v[finite], torch.zeros((), dtype=torch.float64)
    n, limit = good.numel(), sys.float_info.max
    lo, hi = (good.min().item(), good.max().item()) if n else (0.0, 0.0)
    if n and lo == 0:
        lo = -0.0 if bool(torch.signbit(good[good == 0]).any()) else 0.0
    if n and hi == 0:
        hi = -0.0 if bool(torch.signbit(good[good == 0]).all()) else 0.0
    total, squares = _running(zero, good).item(), _running(zero, good * good).item()
    f = {"dtype": dtype_name(t.dtype), "shape": list(t.shape), "numel": t.numel(), "sha256": hashlib.sha256(raw_bytes(t)).hexdigest(),
         "min": lo, "max": hi, "mean": max(-limit, min(limit, total / n)) if n else 0.0, "rms": min(limit, math.sqrt(squares / n)) if n else 0.0,
         "nan": int(torch.isnan(v).sum()), "inf": int(torch.isinf(v).sum()),
         "projected": _encoded(_project(torch.zeros(PROJECTIONS, dtype=torch.float64), 0, v, finite))}
    if n < v.numel():
        h = hashlib.sha256()
        for i in torch.nonzero(~finite).flatten().tolist():
            h.update(struct.pack("<Q", i) + (b"n" if v[i] != v[i] else b"+" if v[i] > 0 else b"-"))
        f["non_finite"] = h.hexdigest()
    rows = _rows(t, v, finite)
    if rows is not None:
        f["by_rows"] = _encoded(rows)
    return f


def _rows(t, v, finite):
    """Projections of the rows, each divided by its root mean square; None below four rows."""
    if t.dim() < 2 or not (t.is_floating_point() or t.is_complex()) or t.numel() == 0:
        return None
    width = v.numel() // t.numel() * t.shape[-1]
    if v.numel() // width < 4:
        return None
    p, zero = torch.zeros(PROJECTIONS, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for at in range(0, v.numel(), width):
        x, ok = v[at:at + width], finite[at:at + width]
        good = x[ok]
        size = math.sqrt(_running(zero, good * good).item() / width)
        if size not in (0.0, float("inf")):
            p = _project(p, at, x / size, ok)
    return p


# ---- writing ------------------------------------------------------------------------------------------------

def disk_full(e):
    """Whether an exception, or what caused it, says that nothing more can be written."""
    while e is not None:
        if isinstance(e, OSError) and e.errno in DISK_ERRORS:
            return True
        e = e.__cause__ or e.__context__
    return False


NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


def write_whole(path, write, sync=False):
    """Writes path whole or not at all: write(file) to PATH.tmp, then a rename."""
    tmp = path + ".tmp"
    try:
        with os.fdopen(os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NOFOLLOW, 0o600), "wb") as f:
            write(f)
            if sync:
                f.flush()
                os.fsync(f.fileno())
        os.replace(tmp, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(tmp)
        raise


def write_text(path, text, sync=False):
    write_whole(path, lambda f: f.write(text.encode()), sync)


def append_line(path, line):
    """A line in one write: several ranks append to the same file."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NOFOLLOW, 0o600)
    try:
        os.write(fd, (line + "\n").encode())
    finally:
        os.close(fd)


class Writer(threading.Thread):
    """One thread that does all writing, behind a queue bounded in bytes. failed(exception) is told of the first
    fault; what is queued then is dropped."""

    def __init__(self, limit, failed):
        super().__init__(name="il-capture-writer", daemon=True)
        self.limit, self.failed = limit, failed
        self.jobs, self.queued, self.busy, self.dead = collections.deque(), 0, False, False
        self.change = threading.Condition()
        self.start()

    def put(self, job, size=0, seconds=None):
        """Queues job, waiting for room; False where there was none for so many seconds. Dropped after a fault."""
        with self.change:
            room = self.change.wait_for(lambda: self.dead or self.queued == 0 or self.queued + size <= self.limit, seconds)
            if room and not self.dead:
                self.jobs.append((job, size))
                self.queued += size
                self.change.notify_all()
            return room

    def finish(self, job):
        """Queues job past all bounds; it runs after a fault too."""
        with self.change:
            self.jobs.append((job, None))
            self.change.notify_all()

    def flush(self, seconds=None):
        """Waits until all is written."""
        with self.change:
            return self.change.wait_for(lambda: not self.jobs and not self.busy, seconds)

    def run(self):
        while True:
            with self.change:
                self.change.wait_for(lambda: self.jobs)
                job, size = self.jobs.popleft()
                self.busy = True
                skip = self.dead and size is not None
            try:
                if not skip:
                    job()
            except BaseException as e:
                self.dead = True
                attempt(lambda: self.failed(e))
            job = None  # its tensors go before the room that they had is given back
            with self.change:
                self.queued -= size or 0
                self.busy = False
                self.change.notify_all()


# ---- the capture --------------------------------------------------------------------------------------------

@dataclasses.dataclass
class Place:
    """Where this process stands among those that share a session: rank = pp_rank * tp + tp_rank."""
    rank: int = 0
    tp: int = 1
    pp: int = 1
    dp: int = 1
    dp_rank: int = 0

    @property
    def world(self):
        return self.tp * self.pp


def _compiling():
    return False


if hasattr(torch, "compiler") and hasattr(torch.compiler, "is_compiling"):
    _compiling = torch.compiler.is_compiling  # noqa: F811  Dynamo folds it to True: a traced hook is empty


def _graph_capturing():
    return torch.cuda.is_current_stream_capturing()


class Hook:
    """The two hooks of one module. They return None: what a module is given and returns never changes. They are
    put on for the steps that are recorded alone, so that other steps run as without a capture."""
    __slots__ = ("capture", "module", "name", "calls", "keywords", "logits", "handles", "open", "count", "fired")

    def __init__(self, capture, module, name, calls, keywords):
        self.capture, self.module, self.name, self.calls, self.keywords = capture, module, name, calls, keywords
        self.handles, self.open, self.count, self.fired = [], [], 0, False
        self.logits = name.rsplit(".", 1)[-1] == "logits_processor"

    def put(self, on):
        """Puts the hooks on the module, or takes them off."""
        if on and not self.handles:
            self.handles = [self.module.register_forward_pre_hook(self.before, with_kwargs=True), self.module.register_forward_hook(self.after, with_kwargs=True)]
        elif not on and self.handles:
            for h in self.handles:
                h.remove()
            self.handles, self.open, self.count = [], [], 0

    def before(self, module, args, kwargs):
        capture = self.capture
        if not capture.on or _compiling() or capture.cuda and _graph_capturing():
            return None
        try:
            capture.enter(self, args, kwargs)
        except Exception as e:
            capture.die(e)
        return None

    def after(self, module, args, kwargs, output):
        capture = self.capture
        if not capture.on or _compiling() or capture.cuda and _graph_capturing():
            return None
        try:
            capture.leave(self, args, kwargs, output)
        except Exception as e:
            capture.die(e)
        return None


class Capture:
    """Records one model into one session: attach, start, then windows in which it is active; end_step (or the
    root's hook, attach_root) after each forward.

    rank, world: of the ranks that share the session (place tells more). label: the device in file names. session:
    the session's folder, else a new one below output_dir. engine: session.json's member. lag: 1 where an engine
    computes the logits of a step after its forward has ended."""

    def __init__(self, config=None, *, rank=0, world=1, label=None, session=None, place=None, engine=None, lag=0, run_id=None):
        c = self.config = config if isinstance(config, dict) and set(config) == set(DEFAULTS) else read_config(config)
        self.place = p = place or Place(rank=rank, tp=world)
        self.engine, self.lag, self.label = engine or {"name": "pytorch"}, lag, c["label"] or label
        self.filter, self.wanted_steps = Filter(c), set(c["log_step_ids"])
        self.cast = None if c["dtype_cast"] in (None, "none") else getattr(torch, c["dtype_cast"])
        ranks = list(range(p.world)) if c["ranks"] == "all" else c["ranks"]
        self.selected = c["enabled"] and p.rank in ranks
        self.writes_text = p.rank == min((r for r in ranks if r // p.tp == p.rank // p.tp), default=-1)  # once a stage: lines, JSON, stubs
        self.is_main = p.rank == min(ranks, default=-1)  # session.json, batches.jsonl
        self.run_id = safe_name(run_id or str(uuid.uuid4()))
        self.dir = os.path.abspath(os.fspath(session)) if session else os.path.join(os.path.abspath(c["output_dir"]), self.run_id)
        self.serving = self.engine["name"] in ("vllm", "sglang")
        self.scheme = "rank" if self.serving else "device"
        self.loose = False     # modules are recorded outside the root's forward too
        self.batch_of = None   # (args, kwargs) of the root's forward -> its line of batches.jsonl
        # what idle hooks read
        self.on = self.logits_only = self.cuda = False
        # the state of the run
        self.pid, self.thread = os.getpid(), None
        self.dead = self.closed = self.began = self.opened = self.in_forward = self.lagging = False
        self.suppressed, self.phase, self.step, self.forwards = 0, "idle", 0, 0
        self.hooks, self.handles, self.armed, self.model, self.writer, self.facts = [], [], "none", None, None, {}
        # the step that is recorded
        self.batch, self.cut, self.fired, self.order = None, "", 0, 0
        self.step_began = self.step_hook_seconds = 0.0
        # what has been recorded
        self.status, self.reason, self.first_error, self.created = "recording", "", "", now()
        self.recorded, self.prints, self.seen = [], {}, {}
        self.files = self.bytes = self.tensors = self.memory_faults = self.steps_cut = 0
        self.stubs, self.args_removed, self.renamed = collections.Counter(), set(), {}
        self.hook_seconds = self.wait_seconds = 0.0

    # -- before the run --

    def attach(self, model, prefix=""):
        """Finds the modules to record: every one but the root that the filter selects."""
        if not self.selected:
            return self
        self.model, self.cuda = model, torch.cuda.is_available()
        if self.label is None:
            device = next((p.device for p in model.parameters()), torch.device("cpu"))
            self.label = "cpu" if device.type == "meta" else str(device)
        names = []
        for name, module in model.named_modules():
            if name:
                names.append(safe_name(prefix + name))
                calls = self.filter.calls(names[-1])
                if calls is not None:
                    self.hook(module, names[-1], calls)
        self.check_filter(names)
        return self

    def keywords(self):
        """Which keyword arguments are recorded."""
        k = self.config["kwargs"]
        return KEYWORDS_OF.get(self.engine["name"], False) if k is None else k

    def hook(self, module, name, calls):
        self.hooks.append(Hook(self, module, name, calls, self.keywords()))

    def arm(self):
        """Puts hooks on the modules that may be recorded in the step that is or comes next, and takes all others off."""
        which = "none"
        if self.began and not self.closed and not self.dead and self.forwards >= self.config["skip_steps"]:
            if self.wants(self.step):
                which = "all"
            elif self.config["last_logits"] and self.wants(self.step - 1):
                which = "logits"
        if which != self.armed:
            self.armed = which
            for h in self.hooks:
                h.put(which == "all" or which == "logits" and h.logits)

    def attach_root(self, model):
        """The root's hooks: its forward is a step."""
        if self.selected:
            self.handles.append(model.register_forward_pre_hook(self.root_before, with_kwargs=True))
            self.handles.append(model.register_forward_hook(self.root_after, with_kwargs=True))

    def check_filter(self, names):
        """Tells of entries that select no module; it is an error where all of them do."""
        dead = [t for r, t, _ in self.filter.patterns if not any(r.search(n) for n in names)]
        lines = []
        for text in dead:
            near = nearest(text, names)
            lines.append(f"module_call_match {text!r} selects no module of this model" + (f"; nearest: {', '.join(near)}" if near else ""))
        if dead and len(dead) == len(self.filter.patterns) and self.place.pp == 1:
            self.detach()
            raise CaptureError("il config: " + "; ".join(lines))
        for line in lines:
            log(line)

    def start(self, facts=None):
        """Makes the session's folder and its session.json. facts: further members of it. Raises OSError."""
        if not self.selected or self.began:
            return self
        self.facts = facts or {}
        for d in (os.path.dirname(self.dir), self.dir):
            os.makedirs(d, mode=0o700, exist_ok=True)
        if os.path.islink(self.dir):
            raise CaptureError(f"{self.dir} is a link: not followed")
        self.writer = Writer(self.config["queue_bytes"], self.write_failed)
        self.began = True
        if self.is_main:
            with contextlib.suppress(OSError), open(os.path.join(self.dir, ".reserve"), "xb") as f:
                f.write(bytes(1 << 20))  # a full disk has room for the last session.json then
            self.save_session()
            log(f"recording to {self.dir}")
        _LIVE.add(self)
        return self

    # -- windows and steps --

    def wants(self, step):
        return step >= 0 and (not self.wanted_steps or step in self.wanted_steps)

    def more(self):
        """Whether a step from this one on is still to be recorded."""
        return not self.wanted_steps or self.step <= max(self.wanted_steps)

    def update(self):
        """Sets on, the one flag that an idle hook reads."""
        self.on = self.logits_only = False
        if not self.opened or self.dead or self.closed or self.suppressed or self.forwards < self.config["skip_steps"]:
            return
        if self.phase == "forward" or self.lagging or self.loose:
            if self.wants(self.step):
                self.on = True
            elif self.phase != "forward" and self.config["last_logits"] and self.wants(self.step - 1):
                self.on = self.logits_only = True

    @contextlib.contextmanager
    def window(self, batch=None):
        """What runs inside is a real forward, or belongs to one. batch: its line of batches.jsonl."""
        self.open_window(batch)
        try:
            yield self
        finally:
            self.close_window()

    def open_window(self, batch=None, forward=True):
        self.leave_to_parent()
        if self.dead or self.closed or not self.began:
            return
        self.thread, self.opened = threading.get_ident(), True
        if forward:
            self.begin_step(batch)
        self.arm()
        self.update()

    def leave_to_parent(self):
        """A forked child has no writer: the session is its parent's."""
        if os.getpid() != self.pid:
            self.dead, self.on = True, False

    def close_window(self):
        self.opened = False
        self.update()
        if self.closed:
            self.detach()

    @contextlib.contextmanager
    def suppress(self):
        """What runs inside is no real forward."""
        self.suppressed += 1
        self.update()
        try:
            yield
        finally:
            self.suppressed -= 1
            self.update()

    def begin_step(self, batch=None):
        if self.in_forward:  # the last forward raised: what it has recorded stays a step of its own
            self.steps_cut += self.fired > 0
            self.next_step()
        self.phase, self.batch, self.fired, self.lagging = "forward", batch, 0, False
        self.step_began, self.step_hook_seconds = time.monotonic(), 0.0
        if not self.more():
            self.close("complete")
        elif self.forwards >= self.config["skip_steps"] and self.wants(self.step):
            why = self.no_room()
            if why:
                self.close("stopped", why)
        self.arm()

    def no_room(self):
        """Why the next step is not begun, '' where it is."""
        if self.place.world > 1 and os.path.exists(os.path.join(self.dir, ".stop")):
            return ANOTHER
        limit = self.config["max_session_bytes"]
        if limit is not None and self.bytes * self.place.world >= limit:
            return f"max_session_bytes: {limit} bytes are written"
        disk = attempt(lambda: shutil.disk_usage(self.dir))
        floor = self.config["min_free_bytes"]
        if disk and disk.free < (min(5 * GIB, disk.total // 20) if floor is None else floor):
            return f"min_free_bytes: {disk.free} bytes of the disk are free"
        return ""

    def of_root(self):
        """Whether a call of the root counts."""
        self.leave_to_parent()
        if self.closed:
            self.detach()
        if self.suppressed or self.closed or self.dead or not self.opened:
            return False
        if self.loose:
            self.thread = threading.get_ident()  # generate may run in a thread of its own
        return threading.get_ident() == self.thread

    def root_before(self, module, args, kwargs):
        try:
            if self.of_root():
                if self.in_forward or self.phase != "forward":
                    self.begin_step()
                self.in_forward = True
                self.update()
                if self.on and self.batch_of:
                    self.batch = attempt(lambda: self.batch_of(args, kwargs))
        except Exception as e:
            self.die(e)
        return None

    def root_after(self, module, args, kwargs, output):
        try:
            if self.of_root():
                self.end_step()
        except Exception as e:
            self.die(e)
        return None

    def end_step(self):
        """The forward has ended: what follows in the window belongs to the next step."""
        self.in_forward = False
        if self.phase != "forward" or self.closed or self.dead:
            return
        if self.on:
            self.note_step()
            if not self.fired and len(self.recorded) == 1:
                self.nothing_captured()
        counted = self.next_step()
        self.lagging = counted and (self.lag == 1 or self.loose and any(h.logits for h in self.hooks))
        self.phase = "after"
        if self.cut:
            self.close("stopped", self.cut)
        elif not self.more() and not (self.lagging and self.config["last_logits"]):
            self.close("complete")
        self.arm()
        self.update()

    def next_step(self):
        """Counts the forward; tells whether it was a step."""
        self.in_forward, self.forwards = False, self.forwards + 1
        counted = self.forwards > self.config["skip_steps"]
        self.step += counted
        for h in self.hooks:
            h.count, h.open = 0, []
        return counted

    def end_lag(self):
        """What belonged to the last forward is done."""
        self.lagging = False
        if self.phase == "after" and not self.more():
            self.close("complete")
        self.arm()
        self.update()

    def note_step(self):
        b = self.batch or {}
        tokens = b.get("num_tokens")
        self.recorded.append({"step": self.step, "forward": self.forwards, "tokens": sum(tokens) if tokens else b.get("padded_tokens"),
                              "padded_tokens": b.get("padded_tokens"), "requests": len(tokens) if tokens else None})
        if b.get("req_ids") and self.is_main:
            line = json.dumps({"step": self.step, "forward": self.forwards, **b})
            self.writer.put(lambda: append_line(os.path.join(self.dir, "batches.jsonl"), line))
        self.writer.put(self.seen.clear)  # links stay within a step
        if self.config["mode"] == "fingerprint" and len(self.recorded) <= 64:
            self.writer.put(self.save_prints)

    # -- calls --

    def enter(self, hook, args, kwargs):
        if threading.get_ident() != self.thread or self.logits_only and not hook.logits:
            return
        start = time.monotonic()
        n = hook.count
        hook.count += 1
        hook.fired = True
        self.fired += 1
        if hook.calls and n not in hook.calls:
            hook.open.append(None)
            return
        if hook.logits and self.phase != "forward" and not self.serving:
            self.lag = 1
        self.order += 1
        call = (self.step, hook.name, n, self.order)
        hook.open.append(call)
        self.record(call, "inputs", *self.arguments(hook, args, kwargs), line=True)
        self.spent(start)

    def leave(self, hook, args, kwargs, output):
        if threading.get_ident() != self.thread or not hook.open:
            return
        call = hook.open.pop()
        if call is None:
            return
        start = time.monotonic()
        output = self.result(hook, output)
        self.record(call, "outputs", list(leaves(output, "outputs")), describe(output))
        if self.config["log_post_fwd_inputs"]:
            self.record(call, "post_fwd_inputs", *self.arguments(hook, args, kwargs, "post_fwd_inputs"))
        self.spent(start)

    def spent(self, start):
        took = time.monotonic() - start
        self.hook_seconds += took
        self.step_hook_seconds += took

    def arguments(self, hook, args, kwargs, direction="inputs"):
        """The (slot, tensor)s of a call's arguments, and their side file."""
        if self.engine["name"] == "sglang":
            args = self.without_engine(hook, args)
        args = tuple(args)
        slots, side = list(leaves(args, direction)), describe(args)
        for k, v in kwargs.items() if kwargs and hook.keywords else ():
            if keyword_wanted(hook, k):
                of = list(leaves(v, f"{direction}_{safe_name(k)}"))
                if of:
                    slots += of
                    side.setdefault("kwargs", {})[k] = describe(v)
        return slots, side

    def without_engine(self, hook, args):
        """SGLang's arguments without its ForwardBatch, so that positions are vLLM's."""
        kept = [a for a in args if not is_forward_batch(a)]
        if len(kept) < len(args):
            self.args_removed.add("ForwardBatch")
        if hook.logits and kept and isinstance(kept[0], torch.Tensor) and not kept[0].is_floating_point():
            self.renamed["logits_processor/inputs_0"] = "model.embed_tokens/inputs_0"  # the ids again; an object in vLLM
            kept[0] = None
        return kept

    def result(self, hook, output):
        """A module's result; of SGLang's dataclass of logits the logits, as vLLM returns them."""
        logits = getattr(output, "next_token_logits", None)
        if not isinstance(logits, torch.Tensor):
            return output
        self.renamed[hook.name + "/outputs_next_token_logits"] = hook.name + "/outputs"
        return logits

    def record(self, call, direction, slots, side, line=False):
        """Copies the tensors and queues the call's files of one direction."""
        files, stubs, size = [], [], 0
        for slot, t in slots:
            why, c = self.stub_reason(t) or self.late(size + t.numel() * t.element_size()), None
            if not why:
                c, why = self.copy(t)
            if why:
                stubs.append((slot, self.stub(t, why)))
            elif not self.config["device_names"] or self.label in self.config["device_names"]:
                files.append((slot, c))
                size += c.numel() * c.element_size()
        start = time.monotonic()
        if self.writer.put(functools.partial(self.write_call, call, direction, files, stubs, side, line), size, self.patience()):
            self.bytes += size
            self.tensors += len(files)
        else:
            self.cut = self.cut or "time: the disk is too slow, and the queue stayed full"
            stubs += [(slot, self.stub(c, "time")) for slot, c in files]
            self.writer.put(functools.partial(self.write_call, call, direction, [], stubs, side, line), 0, 1)
        self.wait_seconds += time.monotonic() - start

    def stub(self, t, why):
        kind = "max_tensor_size" if why.startswith("Tensor size") else why.split(":")[0]
        self.stubs[kind] += 1
        return {"shape": list(t.shape), "dtype": str(t.dtype), "device": self.label, "numel": t.numel(), "skipped": why}

    def patience(self):
        """Seconds that a hook may still wait in this step; None for any."""
        limit = self.config["max_step_seconds"]
        return None if limit is None else max(0.05, limit - self.used())

    def used(self):
        """Seconds of this step: all of them where an engine's time-out counts, else those of the recording."""
        return time.monotonic() - self.step_began if self.serving else self.step_hook_seconds

    def late(self, size):
        """Why the rest of this step is stubs, '' where it is not. size: of what is to be recorded now."""
        limit, most = self.config["max_step_seconds"], self.config["max_session_bytes"]
        if not self.cut and most is not None and (self.bytes + size) * self.place.world > most:
            self.cut = f"max_session_bytes: a step is larger than the {most} bytes allow"
        if not self.cut and limit is not None and self.phase == "forward" and self.used() > limit:
            self.cut = f"time: a step took more than max_step_seconds, {limit} s"
            log(f"{self.cut}: the rest of it is left out, and it is the last. For larger prefills raise it, and vLLM's VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS")
        return self.cut.split(":")[0]

    def stub_reason(self, t):
        limit = self.config["max_tensor_size"]
        if self.config["mode"] == "shapes":
            return "mode shapes"
        if limit is not None and t.numel() > limit:
            return f"Tensor size {t.numel()} exceeds max_tensor_size {limit}"
        return unrecordable(t)

    def copy(self, t):
        """(the copy, ''), or (None, why there is none)."""
        try:
            c = to_cpu(t)
            return c.to(self.cast) if self.cast is not None and c.is_floating_point() else c, ""
        except (MemoryError, RuntimeError) as e:
            text = str(e)
            no_memory = isinstance(e, MemoryError) or "allocate memory" in text or "out of memory" in text
            if not no_memory or self.memory_faults:
                raise
            self.memory_faults += 1
            log(f"no memory for a copy of {tuple(t.shape)}: left out")
            return None, "memory: no room for a copy"

    # -- on the writer's thread --

    def write_call(self, call, direction, files, stubs, side, line):
        step, name, n, order = call
        if self.config["mode"] == "fingerprint":
            for slot, c in files:
                entry = {"step": step, "module": name, "call": n, "direction": direction, "slot": slot[len(direction) + 1:], "rank": 0}
                self.prints[(step, order, direction, slot)] = {**entry, **fingerprint(c)}
            return
        of_step = os.path.join(self.dir, f"step_{step}")
        folder = name + (f"_{n}" if n else "")
        at = os.path.join(of_step, folder)
        os.makedirs(of_step, mode=0o700, exist_ok=True)
        if line and self.writes_text:
            append_line(os.path.join(of_step, "module_calls.txt"), folder)
        os.makedirs(at, mode=0o700, exist_ok=True)
        for slot, c in files:
            self.save_tensor(os.path.join(at, f"{slot}_{self.label.replace(':', '_')}.pt"), c)
        if self.writes_text:
            write_text(os.path.join(at, direction + ".json"), json.dumps(side, indent=2))
            for slot, stub in stubs:  # that of a bare result stands in the place of its side file, as the logger's does
                write_text(os.path.join(at, slot + ".json"), json.dumps(stub, indent=2))

    def save_tensor(self, path, c):
        size = c.numel() * c.element_size()
        self.files += 1
        if self.config["dedupe"] == "link" and size > 4096 and c.is_contiguous():
            key = (hashlib.sha256(raw_bytes(c)).digest(), c.dtype, c.shape)
            if key in self.seen:
                with contextlib.suppress(OSError):
                    os.link(self.seen[key], path + ".tmp")
                    os.replace(path + ".tmp", path)
                    return
            self.seen[key] = path
        try:
            write_whole(path, lambda f: torch.save(c, f))
        except RuntimeError as e:  # torch's zip writer may hide the file's own error
            free = attempt(lambda: shutil.disk_usage(self.dir).free, 0)
            if disk_full(e) or free < size + (1 << 20):
                raise OSError(errno.ENOSPC, f"no room for {size} bytes", path) from e
            raise

    def write_failed(self, e):
        """The writer's first fault ends the recording."""
        if disk_full(e):
            self.close("stopped", f"cannot write: {e}")
        else:
            self.die(e)

    # -- the end --

    def die(self, e):
        """A fault of the recording: told once, and the model goes on without it."""
        first, self.dead, self.on = not self.dead, True, False
        if first:
            self.first_error = f"{type(e).__name__}: {e}"
            trace = "".join(traceback.format_exception(type(e), e, e.__traceback__))
            log(f"the recording has failed and ends, the model goes on: {self.first_error}\n{trace}")
            attempt(lambda: self.close("failed", self.first_error))

    def nothing_captured(self):
        self.dead, self.recorded = True, []
        self.first_error = "nothing captured: " + self.why_nothing()
        log(self.first_error)
        self.close("failed", self.first_error)

    def why_nothing(self):
        if not self.hooks:
            return "the filter selects no module"
        is_compiled = lambda m: type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) is not None  # noqa: E731
        compiled = attempt(lambda: [n or "the root" for n, m in self.model.named_modules() if is_compiled(m)])
        if compiled:
            return f"{compiled[0]} is compiled (torch.compile), and compiled modules call no hooks; run it eagerly"
        if self.engine.get("graphs"):
            return "the engine replays CUDA graphs, which call no hooks; start it with --disable-cuda-graph"
        some = ", ".join(h.name for h in self.hooks[:3])
        return f"a forward called none of {len(self.hooks)} modules with hooks ({some}, ...): they run inside a graph, by .forward(), or not at all"

    def detach(self):
        """Takes the hooks off; by the thread that runs the model alone."""
        for h in self.handles:
            attempt(h.remove)
        self.handles = []
        for h in self.hooks:
            attempt(lambda: h.put(False))

    def close(self, status="complete", reason=""):
        """Ends the recording. What is queued is still written; the writer's thread puts the last session.json."""
        if self.closed:
            return
        if self.phase == "forward" and self.fired and self.on:
            attempt(self.note_step)  # a forward that no call has ended
        self.closed, self.on = True, False
        if self.first_error and status == "complete":
            status, reason = "failed", self.first_error
        self.status, self.reason = status, reason
        if threading.current_thread() is not self.writer:
            self.detach()
        if not self.began or os.getpid() != self.pid:
            return
        if status == "stopped":
            log(f"the recording stops, the model goes on: {reason}")
        if status != "complete" and self.place.world > 1 and reason != ANOTHER:
            attempt(lambda: append_line(os.path.join(self.dir, ".stop"), f"{self.label} {status}: {reason}"))
        self.writer.finish(self.finish)

    def finish(self):
        """On the writer's thread: the last files."""
        if self.is_main:
            attempt(lambda: os.unlink(os.path.join(self.dir, ".reserve")))
        try:
            if self.config["mode"] == "fingerprint":
                self.save_prints()
        except Exception as e:
            self.status, self.reason = "stopped" if disk_full(e) else "failed", f"cannot write the fingerprints: {e}"
        try:
            if self.is_main:
                self.save_session()
        except Exception as e:
            log(f"cannot write the last session.json: {e}")
        if self.is_main:
            log(f"{self.status}: {len(self.recorded)} steps, {self.tensors} tensors, {self.bytes / 1e6:.1f} MB in {self.dir}" + (f" ({self.reason})" if self.reason else ""))
        _LIVE.discard(self)

    def wait(self, seconds=None):
        """Waits until all is written."""
        return self.writer.flush(seconds) if self.writer and os.getpid() == self.pid else True

    # The interface that others name it by.

    def state(self):
        return {"session": self.dir, "status": self.status, "reason": self.reason, "first_error": self.first_error, "label": self.label,
                "step": self.step, "forwards": self.forwards, "steps_recorded": len(self.recorded), "tensors": self.tensors, "bytes": self.bytes}

    # -- session.json --

    def save_prints(self):
        """The baseline of what is recorded so far, in the order of the calls."""
        rank = {"inputs": 0, "outputs": 1, "post_fwd_inputs": 2}
        order = sorted(self.prints, key=lambda k: (k[0], k[1], rank[k[2]], natural(k[3])))
        if order:
            name = "fingerprint.json" if self.place.world == 1 else f"fingerprint_{self.label.replace(':', '_')}.json"
            history = [{"action": "save", "session": os.path.basename(self.dir), "tool": f"il_capture {VERSION}"}]
            baseline = {"schema": "ildiff.baseline/v1", "history": history, "tensors": [self.prints[k] for k in order]}
            write_text(os.path.join(self.dir, name), json.dumps(baseline, indent=1) + "\n")

    def save_session(self):
        text = json.dumps(clean(self.session_json()), indent=2)
        if len(text) > 1 << 20:  # steps are what grows without end
            text = json.dumps(clean(self.session_json(steps=1000)), indent=2)
        write_text(os.path.join(self.dir, "session.json"), text + "\n", sync=True)

    def session_json(self, steps=None):
        out = {
            "schema": SCHEMA, "writer": {"name": "il_capture", "version": VERSION, "sha256": own_sha256()},
            "created": self.created, "finished": now() if self.closed else None,
            "status": self.status, "reason": self.reason or None, "first_error": self.first_error or None,
            "run": {"id": os.path.basename(self.dir), "label": self.scheme, "logits_lag": self.lag, "variant": "A", "kwargs": bool(self.keywords()),
                    "views": "compact", "args_removed": sorted(self.args_removed), "renamed": dict(self.renamed)},
            "config": {k: v for k, v in self.config.items() if v is not None}, "engine": {k: v for k, v in self.engine.items() if k != "graphs"},
            **{k: self.facts.get(k) for k in ("model", "weights", "parallel", "execution", "kernels")},
            "numerics": numerics(), "versions": versions(), "env": environment(), "steps": self.recorded[:steps]}
        if self.closed:
            stopped = attempt(lambda: read_text(os.path.join(self.dir, ".stop")).splitlines(), [])
            out["incomplete"] = {"stubs": dict(self.stubs), "tensors_lost": self.stubs["time"] + self.stubs["memory"], "steps_cut": self.steps_cut + bool(self.cut),
                                 "ranks_stopped": sorted({x.split(" ")[0] for x in stopped})}
            out["never_called"] = self.never_called()
            out["cost"] = {"hook_seconds": round(self.hook_seconds, 3), "wait_seconds": round(self.wait_seconds, 3), "tensors": self.tensors, "files": self.files, "bytes": self.bytes}
        return out

    def never_called(self):
        """Modules with hooks that no forward called, by their class: vLLM's `model`, lists of layers."""
        never = collections.defaultdict(list)
        for h in self.hooks:
            if not h.fired:
                never[type(h.module).__name__].append(h.name)
        return {k: v if len(v) <= 8 else v[:7] + [f"and {len(v) - 7} more"] for k, v in never.items()}


_LIVE = set()


@atexit.register
def _at_exit():
    live = [c for c in list(_LIVE) if c.pid == os.getpid()]
    for c in live:
        attempt(lambda: c.close("complete"))
    for c in live:
        attempt(lambda: c.wait(60))


def keyword_wanted(hook, key):
    """keywords is true, or names; 'module.name' is a keyword of the modules with that last word."""
    if hook.keywords is True:
        return key not in KEYWORDS_NEVER
    return key in hook.keywords or f"{hook.name.rsplit('.', 1)[-1]}.{key}" in hook.keywords


def is_forward_batch(x):
    return any(c.__name__ == "ForwardBatch" for c in type(x).__mro__)


def nearest(pattern, names):
    """The module names, five at most, that a regex which matches none may have meant."""
    text = re.sub(r"\\(.)", r"\1", pattern).replace(".*", "").strip("^$.")
    holding = [n for n in names if text and text.lower() in n.lower()]
    return (holding + [n for n in difflib.get_close_matches(text, names, 5, 0.4) if n not in holding])[:5]


def natural(text):
    """A key that sorts the numbers within a text by their value."""
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", text) if p]


def read_text(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


@functools.lru_cache(maxsize=None)
def own_sha256():
    return attempt(lambda: file_sha256(__file__))


def file_sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def clean(x):
    """What JSON can say of a value; members that are None are left out."""
    if isinstance(x, dict):
        return {str(k): clean(v) for k, v in x.items() if v is not None}
    if isinstance(x, (list, tuple, set, frozenset)):
        return [clean(v) for v in x]
    if isinstance(x, float) and x - x != 0:
        return str(x)
    return plain(x) if x is None or isinstance(x, (bool, int, float, str)) else str(x)


# ---- provenance ---------------------------------------------------------------------------------------------

# Lists, never prefixes: VLLM_API_KEY exists.
ENVIRONMENT = """VLLM_ATTENTION_BACKEND VLLM_FLASH_ATTN_VERSION VLLM_USE_V1 VLLM_USE_V2_MODEL_RUNNER VLLM_BATCH_INVARIANT
VLLM_FLOAT32_MATMUL_PRECISION VLLM_USE_DEEP_GEMM VLLM_ROCM_USE_AITER VLLM_ALLREDUCE_USE_SYMM_MEM VLLM_ALLREDUCE_USE_FLASHINFER
NVIDIA_TF32_OVERRIDE CUBLAS_WORKSPACE_CONFIG TORCH_BLAS_PREFER_CUBLASLT TORCHDYNAMO_DISABLE NCCL_ALGO NCCL_PROTO
SGLANG_ENABLE_DETERMINISTIC_INFERENCE SGLANG_USE_AITER SGLANG_ENABLE_JIT_DEEPGEMM SGLANG_ENABLE_TORCH_COMPILE""".split()

ARGV = """--dtype --kv-cache-dtype --quantization --tensor-parallel-size -tp --tp-size --tp --pipeline-parallel-size --pp-size --data-parallel-size
--dp-size --enforce-eager --max-num-batched-tokens --max-num-seqs --max-model-len --attention-backend --no-enable-prefix-caching
--enable-prefix-caching --no-enable-chunked-prefill --enable-chunked-prefill --chunked-prefill-size --disable-cuda-graph
--disable-piecewise-cuda-graph --disable-radix-cache --disable-overlap-schedule --skip-server-warmup --enable-deterministic-inference
--block-size --page-size --seed --attn --max-tokens""".split()


def environment():
    return {k: os.environ[k] for k in ENVIRONMENT if k in os.environ}


def argv():
    """The arguments of this process that tell how it computes, and no other: keys and paths stand among them."""
    out, words = [], sys.argv[1:]
    for i, w in enumerate(words):
        if w.split("=")[0] in ARGV:
            out.append(w)
            if "=" not in w and i + 1 < len(words) and not words[i + 1].startswith("-"):
                out.append(words[i + 1])
    return out


def numerics():
    m = torch.backends.cuda.matmul
    return {
        "float32_matmul_precision": attempt(torch.get_float32_matmul_precision),
        "cuda_matmul_allow_tf32": attempt(lambda: m.allow_tf32), "cuda_matmul_fp32_precision": attempt(lambda: str(m.fp32_precision)),
        "allow_bf16_reduced_precision_reduction": attempt(lambda: m.allow_bf16_reduced_precision_reduction),
        "allow_fp16_reduced_precision_reduction": attempt(lambda: m.allow_fp16_reduced_precision_reduction),
        "cudnn_allow_tf32": attempt(lambda: torch.backends.cudnn.allow_tf32),
        "deterministic_algorithms": attempt(torch.are_deterministic_algorithms_enabled)}


@functools.lru_cache(maxsize=None)
def versions():
    from importlib import metadata
    v = {"python": platform.python_version(), "torch": torch.__version__, "torch_git": attempt(lambda: torch.version.git_version),
         "cuda": attempt(lambda: torch.version.cuda), "hip": attempt(lambda: torch.version.hip), "cudnn": attempt(lambda: torch.backends.cudnn.version()),
         "nccl": attempt(lambda: ".".join(map(str, torch.cuda.nccl.version())) if torch.cuda.is_available() else None)}
    for package in ("triton", "flash-attn", "vllm-flash-attn", "flashinfer-python", "aiter", "transformers", "tokenizers"):
        v[package.replace("-python", "").replace("-", "_")] = attempt(lambda package=package: metadata.version(package))
    return {k: str(x) for k, x in v.items() if x is not None}


def first(*makers):
    """The first value that is made and is not None."""
    return next((v for v in map(attempt, makers) if v is not None), None)


def model_facts(model, config, dtype=None):
    """session.json's member model; config is an object of transformers', or None."""
    text = first(lambda: config.get_text_config(), lambda: config)
    path = attempt(lambda: config._name_or_path) or ""
    rope = first(lambda: text.rope_parameters, lambda: text.rope_scaling) or {}
    if rope and all(isinstance(v, dict) for v in rope.values()):  # by the kind of layer
        rope = next(iter(rope.values()))
    if dtype is None:
        dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    quant = attempt(lambda: config.quantization_config)
    return {
        "id": os.path.basename(path.rstrip("/")) or None, "revision": attempt(lambda: config._commit_hash),
        "architecture": first(lambda: config.architectures[0]) or type(model).__name__, "config_sha256": config_sha256(config, path),
        "dtype": dtype_name(dtype) if dtype is not None else None,
        "quantization": first(lambda: quant["quant_method"], lambda: str(getattr(quant.quant_method, "value", quant.quant_method))),
        **expert_facts(text),
        "layers": attempt(lambda: text.num_hidden_layers), "hidden": attempt(lambda: text.hidden_size), "vocab": attempt(lambda: text.vocab_size),
        "rope": {"type": rope.get("rope_type") or rope.get("type") or "default", "theta": first(lambda: rope["rope_theta"], lambda: text.rope_theta), **rope_table(model)}}


def expert_facts(config):
    """How many experts a token has, and whether its largest scores choose them: a bias that
    sessions do not hold, and groups of experts, choose otherwise (DeepSeek, GLM, Ernie)."""
    n = first(lambda: config.num_experts_per_tok, lambda: config.moe_k, lambda: config.moe_topk)
    if not isinstance(n, int) or n < 1:
        return {}
    biased = ((attempt(lambda: config.n_group) or 1) > 1 or attempt(lambda: config.topk_method) == "noaux_tc"
              or attempt(lambda: config.model_type) in ("deepseek_v3", "kimi_k2", "glm4_moe", "ernie4_5_moe"))
    return {"experts_per_token": n, "expert_choice": "biased" if biased else "largest"}


def config_sha256(config, path):
    """Of the bytes of config.json, which other programs see too."""
    def cached():
        from huggingface_hub import try_to_load_from_cache
        return try_to_load_from_cache(path, "config.json", revision=attempt(lambda: config._commit_hash))
    file = os.path.join(path, "config.json")
    return attempt(lambda: file_sha256(file if os.path.isfile(file) else cached())) if path else None


def rope_table(model):
    """The type of the table of cosines and sines, where the model keeps one, and a digest of its first 64 rows."""
    for m in model.modules():
        table = getattr(m, "cos_sin_cache", None)
        if isinstance(table, torch.Tensor) and table.dim() >= 2:
            rows = attempt(lambda table=table: table[:64].detach().to("cpu").contiguous())
            if rows is not None:
                return {"table_dtype": dtype_name(table.dtype), "sha256": hashlib.sha256(raw_bytes(rows)).hexdigest()}
    return {}


def weight_facts(model):
    """Digests of eight parameters that engines hold under one name: another checkpoint, or the weights of another
    step of training, are told by them. docs/format.md says which."""
    params = dict(model.named_parameters())
    numbers = sorted({int(m[1]) for m in (re.match(r"model\.layers\.(\d+)\.", n) for n in params) if m})
    if numbers:
        start, middle, last = numbers[0], numbers[len(numbers) // 2], numbers[-1]
        names = ["model.embed_tokens.weight", f"model.layers.{start}.self_attn.o_proj.weight", f"model.layers.{start}.mlp.down_proj.weight",
                 f"model.layers.{middle}.self_attn.o_proj.weight", f"model.layers.{middle}.mlp.down_proj.weight", f"model.layers.{last}.mlp.down_proj.weight",
                 "model.norm.weight", "lm_head.weight"]
    else:
        names = []
    names = [n for n in dict.fromkeys(names) if n in params]
    return [f for f in (attempt(lambda n=n: weight_fact(n, params[n])) for n in names or list(params)[:8]) if f]


def weight_fact(name, p):
    p = p.detach()
    if p.dim() > 1:  # rows enough for 64 KiB
        row = max(1, p[0].numel() * p.element_size())
        p0 = p[:-(-65536 // row)]
    else:
        p0 = p[:65536 // p.element_size()]
    c = p0.to("cpu").contiguous()
    return {"name": name, "shape": list(p.shape), "dtype": dtype_name(p.dtype), "sha256": hashlib.sha256(raw_bytes(c)[:65536]).hexdigest()}


def parallel_facts(cap):
    """session.json's member parallel; of a rank other than this one the place alone is known."""
    def mine():
        if cap.label.startswith("cuda") and torch.cuda.is_available():
            p = torch.cuda.get_device_properties(torch.cuda.current_device())
            return {"device": p.name, "capability": f"{p.major}.{p.minor}"}
        return {"device": platform.processor() or platform.machine()}
    p, kind = cap.place, cap.label.split(":")[0]
    ranks = [{"label": cap.label if r == p.rank else f"{kind}:{r}", "tp": r % p.tp, "pp": r // p.tp, **(attempt(mine, {}) if r == p.rank else {})} for r in range(p.world)]
    return {"tp": p.tp, "pp": p.pp, "dp": p.dp, "dp_rank": p.dp_rank, "ranks": ranks}


# ---- any PyTorch model, and transformers ------------------------------------------------------------------------

def is_transformers(model):
    return any(c.__module__.split(".")[0] == "transformers" for c in type(model).__mro__)


@contextlib.contextmanager
def capture(model, config=None, *, session=None, **overrides):
    """Records what runs in its body, a step a forward of model; yields the session's folder.

    config: a dict, a JSON text or the path of one; overrides: single keys of it; session: the folder, else a new
    one below output_dir. What is wrong raises here, as CaptureError, before the model runs; nothing raises later."""
    c = read_config(config, **overrides)
    if not c["enabled"]:
        yield None
        return
    engine = {"name": "pytorch"}
    if is_transformers(model):
        engine = {"name": "transformers", "version": versions().get("transformers"), "runner": "transformers", "argv": argv()}
    cap = Capture(c, engine=engine, session=session).attach(model)
    cap.attach_root(model)
    cap.batch_of, cap.loose = rows_of_batch, True
    try:
        cap.start(attempt(lambda: torch_facts(cap, model), {}))
    except (OSError, CaptureError) as e:
        cap.detach()
        raise CaptureError(f"cannot make the session {cap.dir}: {getattr(e, 'strerror', None) or e}") from e
    cap.open_window(forward=False)
    try:
        yield cap.dir
    finally:
        cap.close_window()
        if not cap.tensors and not cap.stubs and not cap.closed:
            cap.first_error = "nothing captured: " + ("no forward of the model ran in the block" if not cap.forwards else f"{cap.forwards} forwards ran, none of log_step_ids {c['log_step_ids']}")
            log(cap.first_error)
        cap.close("complete")
        cap.wait()


def torch_facts(cap, model):
    backends = {}
    for name, m in model.named_modules():
        backend = attempt(lambda: m.config._attn_implementation)
        if name.rsplit(".", 1)[-1] in ("self_attn", "attn", "attention") and backend:
            backends.setdefault(str(backend), {"impl": type(m).__name__, "layers": 0})["layers"] += 1
    return {"model": model_facts(model, getattr(model, "config", None)), "weights": weight_facts(model), "parallel": parallel_facts(cap),
            "execution": {"eager": True}, "kernels": {"attention": backends}}


def rows_of_batch(args, kwargs):
    """The rows of a forward of transformers, a request each. None where some are padding: those lie in between."""
    x = next((v for v in (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args) if isinstance(v, torch.Tensor) and v.dim() >= 2), None)
    if x is None:
        return None
    rows, width = x.shape[:2]
    before = int(attempt(lambda: kwargs["past_key_values"].get_seq_length(), 0))
    mask = kwargs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and (mask.dim() != 2 or not bool(mask.bool().all())):
        return None
    return batch_line([str(i) for i in range(rows)], [width] * rows, [before] * rows, rows * width)


def batch_line(req_ids, tokens, computed, padded):
    """A line of batches.jsonl."""
    tokens, computed = [int(x) for x in tokens], [int(x) for x in computed]
    decodes = sum(n == 1 and c > 0 for n, c in zip(tokens, computed))
    return {"req_ids": [str(r) for r in req_ids], "num_tokens": tokens, "num_computed": computed, "padded_tokens": int(padded),
            "kind": "prefill" if not decodes else "decode" if decodes == len(tokens) else "mixed"}


# ---- vLLM ---------------------------------------------------------------------------------------------------

NOT_REAL = ("_warmup", "_v2_", "_dummy")
NOTHING = "NOTHING WILL BE CAPTURED"
_vllm_patched = False


def environment_config():
    """The config that the environment gives, None where it gives none or has it switched off. Raises CaptureError."""
    text = os.environ.get("IL_CAPTURE_CONFIG")
    if text is None:
        return None
    c = read_config(text or None, **({"output_dir": os.environ["IL_CAPTURE_DIR"]} if os.environ.get("IL_CAPTURE_DIR") else {}))
    return c if c["enabled"] else None


def told(f):
    """f(), and a line in place of what it raises."""
    try:
        return f()
    except CaptureError as e:
        log(f"{e}; {NOTHING}")
    except Exception as e:
        log(f"{type(e).__name__}: {e}; {NOTHING}")
    return None


def vllm_plugin():
    """Entry point of vllm.general_plugins. vLLM runs it in the front end, the engine and every worker; an
    exception would stop the server, so none leaves it."""
    told(_vllm_plugin)


def _vllm_plugin():
    global _vllm_patched
    if _vllm_patched or environment_config() is None:
        return
    _vllm_patched = True
    patch_worker_wrapper()
    if os.environ.get("IL_CAPTURE_EAGER", "1") != "0":
        patch_engine_args()


def wrapper_class():
    for module in ("vllm.v1.worker.worker_base", "vllm.worker.worker_base"):
        with contextlib.suppress(ImportError, AttributeError):
            return importlib.import_module(module).WorkerWrapperBase
    raise CaptureError("this vLLM has no WorkerWrapperBase")


def wrap(obj, name, make):
    """Replaces obj.name by make(what it is); False where there is none, or it is done already."""
    original = getattr(obj, name, None)
    if original is None or getattr(original, "_il_wrapped", False):
        return False
    new = functools.wraps(original)(make(original))
    new._il_wrapped = True
    setattr(obj, name, new)
    return True


def patch_worker_wrapper():
    """WorkerWrapperBase.init_device is the first call after the plugin's that has the worker."""
    def make(original):
        def init_device(self, *args, **kwargs):
            out = original(self, *args, **kwargs)
            told(lambda: worker_of(self.worker).install())
            return out
        return init_device
    wrap(wrapper_class(), "init_device", make)


def patch_engine_args():
    """In the front end: module hooks fire in eager mode alone, and each engine's workers share a run id."""
    given = os.environ.get("IL_CAPTURE_RUN_ID")

    def make(original):
        def create_engine_config(self, *args, **kwargs):
            with contextlib.suppress(Exception):
                if not self.enforce_eager:
                    self.enforce_eager = True
                    log("enforce_eager is set: under torch.compile and CUDA graphs no hook fires (IL_CAPTURE_EAGER=0 leaves it)")
                os.environ["IL_CAPTURE_RUN_ID"] = given or str(uuid.uuid4())
            return original(self, *args, **kwargs)
        return create_engine_config
    wrap(importlib.import_module("vllm.engine.arg_utils").EngineArgs, "create_engine_config", make)


def worker_of(worker):
    """The capture's part of a worker, one each."""
    mine = worker.__dict__.get("_il_capture")
    if mine is None:
        mine = worker.__dict__["_il_capture"] = VLLMWorker(worker)
    return mine


class VLLMWorker:
    """The capture in one worker of vLLM. It sees the calls of the runner, and so which forwards are real."""

    def __init__(self, worker):
        self.worker, self.runner, self.capture = worker, None, None
        self.ready = False      # start-up has ended: profiling, compiling, warming up
        self.warming = 0        # it is going on
        self.samples = False    # the runner has sample_tokens, in which logits may be computed
        self.sampling = False   # … and it has not come yet for the last forward
        self.starts, self.refused = 0, ""
        self.scheduled = self.input_batch = None

    def install(self):
        wrap(self.worker, "load_model", self.load_model)
        self.ready = not wrap(self.worker, "compile_or_warm_up_model", self.warm_up)
        wrap(self.worker, "shutdown", self.shutdown)

    def guarded(self, f, *args):
        """f(*args); a fault ends the recording and goes no further."""
        try:
            return f(*args)
        except Exception as e:
            if self.capture and not isinstance(e, CaptureError):
                self.capture.die(e)
            else:
                self.refused = str(e) if isinstance(e, CaptureError) else f"{type(e).__name__}: {e}"
                log(f"{self.refused}; {NOTHING}")
        return None

    def load_model(self, original):
        def load_model(*args, **kwargs):
            out = original(*args, **kwargs)
            self.guarded(self.loaded)
            return out
        return load_model

    def loaded(self):
        self.wrap_runner()
        config = environment_config()
        if config and os.environ.get("IL_CAPTURE_START") != "rpc" and self.capture is None:
            self.begin(config, self.run_id())

    def warm_up(self, original):
        def compile_or_warm_up_model(*args, **kwargs):
            self.warming += 1
            try:
                return original(*args, **kwargs)
            finally:
                self.warming -= 1
                self.ready = True
        return compile_or_warm_up_model

    def shutdown(self, original):
        def end():
            if self.capture:
                self.capture.close("complete")
                self.capture.wait(30)

        def shutdown(*args, **kwargs):
            self.guarded(end)
            return original(*args, **kwargs)
        return shutdown

    def config(self):
        return self.worker.vllm_config

    def run_id(self):
        """The same in all workers of a replica. Ray copies no variable of ours: the config has an id too."""
        given = os.environ.get("IL_CAPTURE_RUN_ID")
        if not given:
            text = str(getattr(self.config(), "instance_id", ""))
            given = str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))
        dp = self.place().dp_rank
        return given + (f"-dp{dp}" if dp else "")

    def place(self):
        p = self.config().parallel_config
        tp, pp = getattr(p, "tensor_parallel_size", 1), getattr(p, "pipeline_parallel_size", 1)

        def of_groups():
            s = importlib.import_module("vllm.distributed.parallel_state")
            return int(s.get_pp_group().rank_in_group * tp + s.get_tp_group().rank_in_group)
        rank = first(of_groups, lambda: int(self.worker.rank) % (tp * pp)) or 0
        return Place(rank, tp, pp, getattr(p, "data_parallel_size", 1), getattr(p, "data_parallel_rank", 0) or 0)

    def cannot(self):
        """Why nothing can be recorded, '' where it can."""
        cfg = self.config()
        if os.environ.get("VLLM_GPU_SYNC_CHECK") == "error":
            return "VLLM_GPU_SYNC_CHECK=error makes every copy from the device an exception; unset it"
        if getattr(cfg.parallel_config, "enable_dbo", False):
            return "dual batch overlap runs the model in two threads; start without --enable-dbo"
        if getattr(cfg.model_config, "enforce_eager", False):
            return ""
        c = cfg.compilation_config
        mode = first(lambda: c.mode, lambda: c.level)
        graphs = getattr(c, "cudagraph_mode", None)
        if getattr(mode, "value", mode) in (0, None) and (graphs is None or getattr(graphs, "name", str(graphs)) == "NONE"):
            return ""
        return f"the model is compiled or in CUDA graphs (mode {mode}, cudagraph_mode {graphs}), where module hooks do not fire; start with --enforce-eager"

    def begin(self, config, run_id):
        """A new capture. Raises CaptureError."""
        why = self.cannot()
        if why:
            raise CaptureError("vLLM: " + why)
        model = first(self.worker.get_model, lambda: self.runner.get_model(), lambda: self.runner.model)
        place = self.place()
        cap = Capture(config, place=place, label=rank_label(model, place), lag=1, run_id=run_id, engine=vllm_engine(self.runner))
        cap.attach(model)
        cap.attach_root(model)
        cap.batch_of = self.batch
        try:
            cap.start(attempt(lambda: vllm_facts(cap, self.config(), model), {}) if cap.is_main else {})
        except OSError as e:
            cap.detach()
            raise CaptureError(f"cannot make the session {cap.dir}: {e.strerror}") from e
        self.capture = cap

    def wrap_runner(self):
        self.runner = self.worker.model_runner
        wrap(self.runner, "execute_model", self.execute_model)
        self.samples = wrap(self.runner, "sample_tokens", self.sample_tokens) or self.samples
        wrap(self.runner, "_dummy_run", self.dummy_run)
        wrap(self.runner, "prepare_inputs", self.prepare_inputs)

    def execute_model(self, original):
        def execute_model(*args, **kwargs):
            opened = self.capture is not None and self.guarded(self.before, args, kwargs)
            try:
                return original(*args, **kwargs)
            finally:
                if opened:
                    self.guarded(self.executed)
        return execute_model

    def before(self, args, kwargs):
        """Opens the window where this is a real forward."""
        cap, s = self.capture, args[0] if args else kwargs.get("scheduler_output")
        if cap.closed:
            cap.detach()
            return False
        if kwargs.get("dummy_run") or self.warming or not self.ready or cap.suppressed or not getattr(s, "total_num_scheduled_tokens", 0):
            return False
        fake = next((i for i in s.num_scheduled_tokens if str(i).startswith(NOT_REAL)), None)
        if fake is not None:
            log(f"a forward of {fake} is taken for a warm-up and not recorded")
            return False
        self.scheduled, self.input_batch, self.sampling = s, None, False
        cap.end_lag()
        cap.open_window()
        return True

    def executed(self):
        self.capture.close_window()
        self.sampling = self.samples
        if not self.samples:
            self.capture.end_lag()

    def sample_tokens(self, original):
        def sample_tokens(*args, **kwargs):
            opened, self.sampling = self.sampling, False
            if opened:
                self.guarded(self.capture.open_window, None, False)
            try:
                return original(*args, **kwargs)
            finally:
                if opened:
                    self.guarded(self.sampled)
        return sample_tokens

    def sampled(self):
        self.capture.close_window()
        self.capture.end_lag()

    def dummy_run(self, original):
        def _dummy_run(*args, **kwargs):
            with self.capture.suppress() if self.capture is not None else contextlib.nullcontext():
                return original(*args, **kwargs)
        return _dummy_run

    def prepare_inputs(self, original):
        def prepare_inputs(*args, **kwargs):
            self.input_batch = original(*args, **kwargs)
            return self.input_batch
        return prepare_inputs

    def batch(self, args, kwargs):
        """The requests of the forward that begins, in the order of its rows."""
        s, b = self.scheduled, self.input_batch
        x = next((v for v in (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args) if isinstance(v, torch.Tensor)), None)
        padded = x.shape[0] if x is not None else s.total_num_scheduled_tokens
        if b is not None:  # the second runner
            n = len(b.req_ids)
            return batch_line(b.req_ids, b.num_scheduled_tokens[:n], b.num_computed_tokens_np[:n], padded)
        b = self.runner.input_batch
        ids = list(b.req_ids)[:b.num_reqs]
        return batch_line(ids, [s.num_scheduled_tokens[r] for r in ids], b.num_computed_tokens_cpu[:len(ids)], padded)


def rank_label(model, place):
    """The label of a rank's files: its rank, whatever the device's number."""
    kind = next((p.device.type for p in model.parameters()), "cpu")
    return "cpu" if kind == "cpu" and place.world == 1 else f"{kind}:{place.rank}"


def vllm_engine(runner):
    version = attempt(lambda: importlib.import_module("vllm").__version__)
    commit = first(lambda: importlib.import_module("vllm._version").__commit_id__.lstrip("g"), lambda: re.search(r"\+g([0-9a-f]{7,40})", version)[1])
    second = any(".worker.gpu." in c.__module__ for c in type(runner).__mro__)
    return {"name": "vllm", "version": version, "commit": commit, "runner": "v2" if second else "v1", "argv": argv()}


def vllm_facts(cap, cfg, model):
    mc, pc, sc, cc, ca = cfg.model_config, cfg.parallel_config, cfg.scheduler_config, cfg.compilation_config, cfg.cache_config
    path = str(attempt(lambda: mc.model) or "")
    m = model_facts(model, attempt(lambda: mc.hf_config), dtype=attempt(lambda: mc.dtype))
    m.update(id=os.path.basename(path.rstrip("/")) or None, revision=attempt(lambda: mc.revision), quantization=attempt(lambda: mc.quantization),
             kv_cache_dtype=attempt(lambda: str(ca.cache_dtype)), config_sha256=config_sha256(attempt(lambda: mc.hf_config), path) or m["config_sha256"])
    parallel = {**parallel_facts(cap), "ep": attempt(lambda: pc.enable_expert_parallel), "dcp": attempt(lambda: pc.decode_context_parallel_size)}
    mode = first(lambda: cc.mode, lambda: cc.level)
    execution = {
        "eager": attempt(lambda: bool(mc.enforce_eager)), "compile_mode": getattr(mode, "name", mode), "cudagraph_mode": attempt(lambda: cc.cudagraph_mode.name),
        "max_num_batched_tokens": attempt(lambda: sc.max_num_batched_tokens),
        "chunked_prefill": first(lambda: sc.enable_chunked_prefill, lambda: sc.chunked_prefill_enabled), "prefix_caching": attempt(lambda: ca.enable_prefix_caching),
        "spec_decode": attempt(lambda: cfg.speculative_config.method), "async_scheduling": attempt(lambda: sc.async_scheduling),
        "dbo": attempt(lambda: pc.enable_dbo), "cascade": attempt(lambda: not mc.disable_cascade_attn), "lora": attempt(lambda: cfg.lora_config is not None),
        "batch_invariant": os.environ.get("VLLM_BATCH_INVARIANT", "0") not in ("", "0"),
        "sequence_parallel": first(lambda: cc.pass_config.enable_sp, lambda: cc.pass_config.enable_sequence_parallelism)}
    return {"model": m, "weights": weight_facts(model), "parallel": parallel, "execution": execution,
            "kernels": {**module_kernels(model), "ir_op_priority": attempt(lambda: str(cfg.kernel_config.ir_op_priority))}}


def module_kernels(model):
    """Which kernel each module has chosen, by what the objects say."""
    attention, ops, linear, moe = {}, {}, collections.Counter(), None
    for m in model.modules():
        impl, backend = getattr(m, "impl", None), getattr(m, "attn_backend", None)
        if impl is not None and (backend is not None or hasattr(m, "backend")):
            name = first(lambda: backend.get_name(), lambda: m.backend.name, lambda: str(m.backend))
            entry = attention.setdefault(str(name), {"impl": type(impl).__name__, "layers": 0, "fa_version": attempt(lambda: impl.vllm_flash_attn_version)})
            entry["layers"] += 1
        method = getattr(m, "_forward_method", None)
        if method is not None:
            ops.setdefault(type(m).__name__, collections.Counter())[getattr(method, "__name__", str(method))] += 1
        quant = getattr(m, "quant_method", None)
        if quant is not None:
            linear[type(quant).__name__] += 1
            moe = type(quant).__name__ if "MoE" in type(quant).__name__ else moe
    return {"attention": attention, "custom_ops": {k: dict(v) for k, v in ops.items()}, "linear": dict(linear), "moe_backend": moe}


class WorkerExtension:
    """For --worker-extension-cls il_capture.WorkerExtension: methods for collective_rpc, JSON text in and out."""

    def il_start(self, config="{}"):
        """Starts a recording: an il config, and in it run_id where the session's name is to be given."""
        w = worker_of(self)
        try:
            if w.capture is not None and not w.capture.closed:
                raise CaptureError("a recording is going on; il_stop ends it")
            c = _config_dict(config or None)
            run_id = c.pop("run_id", None)
            if os.environ.get("IL_CAPTURE_DIR"):
                c.setdefault("output_dir", os.environ["IL_CAPTURE_DIR"])
            if w.runner is None:  # not installed before: the engine is up
                w.ready = True
                w.wrap_runner()
            w.begin(read_config(c), run_id or w.run_id() + (f"-{w.starts + 1}" if w.starts else ""))
            w.starts += 1
            return json.dumps(w.capture.state())
        except Exception as e:
            return json.dumps({"error": str(e) if isinstance(e, CaptureError) else f"{type(e).__name__}: {e}"})

    def il_stop(self):
        """Ends the recording and waits for its files."""
        w = worker_of(self)
        if w.capture is None:
            return json.dumps({"error": "nothing was started", "reason": w.refused})
        attempt(lambda: w.capture.close("complete"))
        attempt(lambda: w.capture.wait(60))
        return json.dumps(w.capture.state())

    def il_status(self):
        """The state of the recording."""
        w = worker_of(self)
        return json.dumps(w.capture.state() if w.capture else {"status": "idle", "reason": w.refused})


# ---- SGLang -------------------------------------------------------------------------------------------------

RUNNER = "sglang.srt.model_executor.model_runner.ModelRunner"


def sglang_plugin():
    """Entry point of sglang.srt.plugins: hooks ModelRunner.load_model and .forward, as SGLang documents it."""
    told(_sglang_plugin)


def _sglang_plugin():
    if environment_config() is None:
        return
    os.environ.setdefault("IL_CAPTURE_RUN_ID", str(uuid.uuid4()))  # the launcher runs this first, and its children inherit it
    registry = importlib.import_module("sglang.srt.plugins.hook_registry")
    registry.HookRegistry.register(RUNNER + ".load_model", sglang_load_model, registry.HookType.AROUND)
    registry.HookRegistry.register(RUNNER + ".forward", sglang_forward, registry.HookType.AROUND)


def sglang_load_model(original, self, *args, **kwargs):
    out = original(self, *args, **kwargs)
    if not getattr(self, "is_draft_worker", False) and self.__dict__.get("_il_capture") is None:
        self.__dict__["_il_capture"] = told(lambda: sglang_begin(self))
    return out


def sglang_begin(runner):
    """The capture of one runner. Raises CaptureError or OSError."""
    args, model, config = attempt(lambda: runner.server_args), runner.model, environment_config()
    graphs = getattr(args, "disable_cuda_graph", True) is False and attempt(lambda: runner.device) != "cpu"
    if graphs:
        log("CUDA graphs are on, whose replays call no hooks: start with --disable-cuda-graph (and --disable-piecewise-cuda-graph); what runs outside graphs is recorded")
    place = sglang_place(runner, args)
    engine = {"name": "sglang", "version": attempt(lambda: importlib.import_module("sglang").__version__), "runner": "sglang", "argv": argv(), "graphs": graphs}
    run_id = os.environ.get("IL_CAPTURE_RUN_ID") or str(uuid.uuid4())
    cap = Capture(config, place=place, label=rank_label(model, place), run_id=run_id + (f"-dp{place.dp_rank}" if place.dp_rank else ""), engine=engine)
    cap.attach(model)
    try:
        return cap.start(attempt(lambda: sglang_facts(cap, runner, model, args), {}) if cap.is_main else {})
    except Exception:
        cap.detach()
        raise


def sglang_place(runner, args):
    """SGLang keeps its ranks on the runner, since 2026 in runner.ps."""
    def get(name, default):
        values = (getattr(x, name, None) for x in (runner, getattr(runner, "ps", None), args))
        return next((v for v in values if _is_int(v)), default)
    tp = get("tp_size", 1)
    return Place(get("pp_rank", 0) * tp + get("tp_rank", 0), tp, get("pp_size", 1), get("dp_size", 1), get("dp_rank", 0))


def sglang_facts(cap, runner, model, args):
    get = lambda n: attempt(lambda: getattr(args, n))  # noqa: E731
    hf, path = attempt(lambda: runner.model_config.hf_config), str(get("model_path") or "")
    m = model_facts(model, hf, dtype=attempt(lambda: runner.model_config.dtype))
    m.update(id=os.path.basename(path.rstrip("/")) or None, revision=get("revision"), quantization=get("quantization"),
             kv_cache_dtype=get("kv_cache_dtype"), config_sha256=config_sha256(hf, path) or m["config_sha256"])
    backend = attempt(lambda: runner.attn_backend)
    layers = sum(type(x).__name__ == "RadixAttention" for x in model.modules())
    attention = {str(get("attention_backend") or type(backend).__name__): {"impl": type(backend).__name__ if backend is not None else None, "layers": layers}}
    execution = {
        "eager": bool(get("disable_cuda_graph")), "chunked_prefill": (get("chunked_prefill_size") or -1) > 0, "prefix_caching": not get("disable_radix_cache"),
        "spec_decode": get("speculative_algorithm"), "async_scheduling": not get("disable_overlap_schedule"), "lora": bool(get("enable_lora")),
        "batch_invariant": bool(get("enable_deterministic_inference"))}
    return {"model": m, "weights": weight_facts(model), "parallel": parallel_facts(cap), "execution": execution, "kernels": {**module_kernels(model), "attention": attention}}


def sglang_forward(original, self, forward_batch, *args, **kwargs):
    """A real forward is one that is not idle: ranks without requests run those."""
    cap = self.__dict__.get("_il_capture")
    opened = cap is not None and told(lambda: sglang_open(cap, forward_batch))
    try:
        return original(self, forward_batch, *args, **kwargs)
    finally:
        if opened:
            sglang_shut(cap)


def sglang_open(cap, batch):
    if cap.closed:
        cap.detach()
        return False
    if sglang_idle(batch):
        return False
    cap.open_window(attempt(lambda: sglang_batch(batch)))
    return True


def sglang_shut(cap):
    try:
        cap.end_step()
        cap.close_window()
    except Exception as e:
        cap.die(e)


def sglang_idle(batch):
    return bool(attempt(lambda: batch.forward_mode.is_idle(), False))


def sglang_batch(b):
    """None where the requests have no names."""
    rids = list(getattr(b, "rids", None) or [])
    lens = first(lambda: b.seq_lens_cpu.tolist(), lambda: b.seq_lens.tolist())
    extend = first(lambda: list(b.extend_seq_lens_cpu), lambda: b.extend_seq_lens.tolist()) if attempt(lambda: b.forward_mode.is_extend(), False) else [1] * len(lens)
    if len(rids) != len(lens) or len(extend) != len(lens):
        return None
    return batch_line(rids, extend, [n - e for n, e in zip(lens, extend)], b.input_ids.shape[0])


def sglang_factory(config):
    """For --forward-hooks of an SGLang without plugins: hook_factory "il_capture:sglang_factory" on the target
    modules "model" and "logits_processor" (hook_type forward_pre where SGLang has it), with an il config. The hook
    is given a module and not its name: the two are told by their classes."""
    key = json.dumps(config or {}, sort_keys=True, default=str)

    def state():
        if key not in _FACTORIES:
            _FACTORIES[key] = SGLangFactory(config)
        return _FACTORIES[key]
    factory = told(state)
    if factory is None:
        return None

    def hook(module, args, *rest):
        before = not rest or len(rest) == 1 and isinstance(rest[0], dict)  # (kwargs) of a pre-hook, else ([kwargs,] output)
        told(lambda: factory.seen(module, args, rest[0] if rest and isinstance(rest[0], dict) else {}, before))
        return None
    return hook


_FACTORIES = {}


class SGLangFactory:
    """A capture that starts with the first call of `model` (after a plain forward hook, with the second). A step
    ends where `model` is called again: the runner calls the root's forward, whose hooks do not fire."""

    def __init__(self, config):
        self.config = read_config(config or {}, **({"output_dir": os.environ["IL_CAPTURE_DIR"]} if os.environ.get("IL_CAPTURE_DIR") else {}))
        self.capture, self.known = None, set()

    def seen(self, module, args, kwargs, before):
        if id(module) in self.known:
            return
        if "LogitsProcessor" in type(module).__name__:
            cap = self.capture
            if cap is not None:
                self.known.add(id(module))
                calls = cap.filter.calls("logits_processor")
                if calls is not None and not cap.closed:
                    cap.hook(module, "logits_processor", calls)
                    cap.hooks[-1].put(cap.armed != "none")
            return
        self.known.add(id(module))
        self.begin(module)
        if before:
            self.model_begins(module, args, kwargs)

    def begin(self, module):
        rank, world = 0, 1
        if attempt(torch.distributed.is_initialized, False):
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        engine = {"name": "sglang", "version": attempt(lambda: importlib.import_module("sglang").__version__), "runner": "sglang", "argv": argv()}
        place = Place(rank, world)
        cap = Capture(self.config, place=place, label=rank_label(module, place), engine=engine, run_id=os.environ.get("IL_CAPTURE_RUN_ID"))
        cap.attach(module, prefix="model.")
        cap.handles.append(module.register_forward_pre_hook(self.model_begins, with_kwargs=True))
        if cap.filter.calls("model") is not None:
            cap.hook(module, "model", cap.filter.calls("model"))
        cap.start({"model": attempt(lambda: model_facts(module, getattr(module, "config", None))), "parallel": parallel_facts(cap), "kernels": module_kernels(module)})
        self.capture = cap

    def model_begins(self, module, args, kwargs):
        cap = self.capture
        if cap.closed or _compiling() or cap.cuda and _graph_capturing():
            return None
        try:
            cap.end_step()
            batch = next((a for a in (*args, *kwargs.values()) if is_forward_batch(a)), None)
            if sglang_idle(batch):
                cap.close_window()
            else:
                cap.open_window(attempt(lambda: sglang_batch(batch)))
        except Exception as e:
            cap.die(e)
        return None


# ---- the command --------------------------------------------------------------------------------------------

def run_command(a):
    """A prefill and so many tokens in transformers, greedy, into a session."""
    import transformers
    keep = {"attn_implementation": a.attn} if a.attn else {}
    dtype = a.dtype if a.dtype == "auto" else getattr(torch, a.dtype)
    config = _config_dict(a.config)
    config = read_config({"log_step_ids": [], **config})
    if a.output and os.path.isdir(a.output) and os.listdir(a.output):
        raise CaptureError(f"{a.output} is not empty: give a folder that is not there yet")
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=dtype, **keep)
    except TypeError:  # before 4.56
        model = transformers.AutoModelForCausalLM.from_pretrained(a.model, torch_dtype=dtype, **keep)
    except (OSError, ValueError) as e:
        raise CaptureError(f"--model {a.model}: {e}") from e
    model = model.to(a.device).eval()
    ids, vocab = prompt_ids(a, transformers), model.get_input_embeddings().num_embeddings
    if not ids or min(ids) < 0 or max(ids) >= vocab:
        raise CaptureError(f"the prompt has {len(ids)} token ids, {ids[:8]} first: want one or more, from 0 to {vocab - 1}")
    x = torch.tensor([ids], device=a.device)
    with capture(model, config, session=a.output) as session, torch.inference_mode():
        out = model.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=a.max_tokens, do_sample=False)
    print(session)
    log("tokens " + ",".join(map(str, out[0].tolist()[x.shape[1]:])))
    return 0


def prompt_ids(a, transformers):
    if a.ids:
        try:
            return [int(x) for x in re.split(r"[,\s]+", a.ids.strip(", "))]
        except ValueError:
            raise CaptureError(f"--ids {a.ids!r}: want token ids with commas between them") from None
    if a.prompt is None:
        raise CaptureError("give --prompt TEXT or --ids 1,5,9")
    try:
        return transformers.AutoTokenizer.from_pretrained(a.model)(a.prompt)["input_ids"]
    except Exception as e:
        raise CaptureError(f"{a.model} has no tokenizer that reads the prompt ({type(e).__name__}: {e}); give token ids with --ids") from e


def check_command(a):
    """Says what a session holds: 0 where something is recorded, 1 where nothing is."""
    root = a.session
    if not os.path.isdir(root):
        raise CaptureError(f"{root} is no folder")
    try:
        s = json.loads(read_text(os.path.join(root, "session.json")))
    except (OSError, ValueError) as e:
        s = {"status": "unknown", "reason": f"no session.json that can be read: {e}"}
    n = collections.Counter(steps=0, calls=0)
    for d in os.listdir(root):
        n["steps"] += bool(re.fullmatch(r"step_\d+", d))
        n["prints"] += bool(re.fullmatch(r"fingerprint.*\.json", d))
        n["calls"] += attempt(lambda: read_text(os.path.join(root, d, "module_calls.txt")).count("\n"), 0)
    for _, _, files in os.walk(root):
        n["tensors"] += sum(f.endswith(".pt") for f in files)
        n["unfinished"] += sum(f.endswith(".tmp") for f in files)
        n["stubs"] += sum(bool(re.fullmatch(r"(inputs|outputs|post_fwd_inputs)_.+\.json", f)) for f in files)
    engine, model = s.get("engine") or {}, s.get("model") or {}
    print(f"{root}: {s.get('status')}" + (f" ({s['reason']})" if s.get("reason") else ""))
    print(f"  {n['steps']} steps, {n['calls']} calls, {n['tensors']} tensors, {n['stubs']} stubs, {n['prints']} files of fingerprints, {n['unfinished']} unfinished files")
    print("  " + " ".join(str(x) for x in (engine.get("name"), engine.get("version"), engine.get("runner"), model.get("architecture"), model.get("dtype")) if x))
    if s.get("status") == "recording":
        print("  the process that records it is still going, or was killed")
    if not n["tensors"] + n["stubs"] + n["prints"]:
        print("  NOTHING WAS CAPTURED: " + (s.get("first_error") or s.get("reason") or "see the process's log for the lines of il_capture"))
        return 1
    return 0


def main(args=None):
    p = argparse.ArgumentParser(prog="il_capture.py", description="Records intermediate tensors of a model into a session that ildiff and ilref read.")
    sub = p.add_subparsers(required=True)
    r = sub.add_parser("run", help="run a model in transformers and record it")
    r.add_argument("--model", required=True, help="a folder or a hub's name")
    r.add_argument("--prompt", help="text")
    r.add_argument("--ids", help="token ids in place of a prompt: 1,5,9")
    r.add_argument("--max-tokens", type=int, default=1, help="tokens to generate (default 1: the prefill alone)")
    r.add_argument("--dtype", default="auto", choices=("auto",) + CASTS)
    r.add_argument("--attn", choices=("eager", "sdpa"), help="the attention implementation (default: transformers')")
    r.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    r.add_argument("--config", help="an il config, JSON or a file of it (default: all steps, all modules)")
    r.add_argument("-o", "--output", metavar="DIR", help="the session's folder (default: a new one below output_dir)")
    r.set_defaults(do=run_command)
    c = sub.add_parser("check", help="say what a session holds")
    c.add_argument("session")
    c.set_defaults(do=check_command)
    a = p.parse_args(args)
    try:
        return a.do(a)
    except CaptureError as e:
        print(f"il_capture.py: {e}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

if os.environ.get("IL_CAPTURE_CONFIG") is not None and "vllm" in sys.modules:
    vllm_plugin()  # --worker-extension-cls imports this module in a worker, before the worker is built
