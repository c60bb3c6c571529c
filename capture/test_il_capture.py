"""Tests of il_capture.py: python3 test_il_capture.py [-v], with torch; those of transformers are skipped without it.

IL_BIN names a folder with ilref and ildiff (go build -o DIR ./cmd/...): what they say of the sessions is tested too.
"""
import contextlib
import errno
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest
from unittest import mock

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import il_capture  # noqa: E402
from il_capture import Capture, CaptureError, Place, capture, read_config  # noqa: E402

ROOT = os.path.dirname(HERE)
BIN = os.environ.get("IL_BIN")
try:
    import transformers
except ImportError:
    transformers = None


# ---- a model with what is hard: calls of vLLM's kind ---------------------------------------------------------

class Norm(torch.nn.Module):
    """In place, as vLLM's fused kernel: the residual's storage is reused."""

    def __init__(self, n):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(n) + 0.5)

    def forward(self, x, residual=None):
        if residual is None:
            return x * self.weight
        residual.add_(x)
        x.copy_(residual * self.weight)
        return x, residual


class Rotary(torch.nn.Module):
    def forward(self, positions, q, k):
        turn = (positions.float() / 100).cos()[:, None].to(q.dtype)
        q.mul_(turn)
        k.mul_(turn)
        return q, k


class Packed(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x), None


class Attention(torch.nn.Module):
    def __init__(self, n, rotary):
        super().__init__()
        self.qkv_proj, self.o_proj, self.rotary_emb = Packed(n, 3 * n), Packed(n, n), rotary

    def forward(self, positions, hidden_states):
        q, k, v = self.qkv_proj(hidden_states)[0].chunk(3, -1)  # views of one storage
        q, k = self.rotary_emb(positions, q, k)
        return self.o_proj(q * k + v)[0]


class Layer(torch.nn.Module):
    def __init__(self, n, rotary):
        super().__init__()
        self.self_attn, self.mlp = Attention(n, rotary), torch.nn.Linear(n, n)
        self.input_layernorm, self.post_attention_layernorm = Norm(n), Norm(n)

    def forward(self, positions, hidden_states, residual):
        if residual is None:
            residual = hidden_states.clone()
            hidden_states = self.input_layernorm(hidden_states)
        else:
            hidden_states, residual = self.input_layernorm(hidden_states, residual)
        hidden_states = self.self_attn(positions=positions, hidden_states=hidden_states)
        hidden_states, residual = self.post_attention_layernorm(hidden_states, residual)
        return self.mlp(hidden_states), residual


class Extras(torch.nn.Module):
    """Values of every kind that the side files describe."""

    def forward(self, x, items, table, flag, none, text):
        return {"last": x + 1, "many": [x * i for i in range(25)], "wide": {f"k{i}": i for i in range(30)}, 3: (x, None)}


class Inner(torch.nn.Module):
    def __init__(self, n, layers):
        super().__init__()
        rotary = Rotary()
        self.embed_tokens = torch.nn.Embedding(50, n)
        self.layers = torch.nn.ModuleList(Layer(n, rotary) for _ in range(layers))
        self.norm, self.extras = Norm(n), Extras()

    def forward(self, input_ids, positions):
        hidden_states, residual = self.embed_tokens(input_ids), None
        for layer in self.layers:
            hidden_states, residual = layer(positions, hidden_states, residual)
        hidden_states, _ = self.norm(hidden_states, residual)
        self.extras(hidden_states, [hidden_states, (1, 2.5)], {"a": hidden_states}, True, None, "text")
        return hidden_states


class Logits(torch.nn.Module):
    def forward(self, head, hidden_states):
        return hidden_states @ head.weight.T


class Model(torch.nn.Module):
    """vLLM's tree: the logits are computed outside the root's forward."""

    def __init__(self, n=16, layers=2, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(3)
        self.model, self.lm_head, self.logits_processor = Inner(n, layers), torch.nn.Linear(n, 50, bias=False), Logits()
        self.to(dtype)

    def forward(self, input_ids, positions):
        return self.model(input_ids, positions)

    def compute_logits(self, hidden_states):
        return self.logits_processor(self.lm_head, hidden_states)


def run(model, steps=3):
    """Logits of a prefill and decoded tokens."""
    out, ids = [], torch.tensor([1, 5, 9, 20])
    with torch.no_grad():
        for i in range(steps):
            positions = torch.arange(4) if i == 0 else torch.tensor([3 + i])
            hidden = model(ids, positions)
            logits = model.compute_logits(hidden[-1:])
            out += [hidden.clone(), logits.clone()]
            ids = logits.argmax(-1)
    return out


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b))


# ---- the logger of the fixtures, by the rules of the format alone --------------------------------------------

class Logger:
    """Variant A: plain hooks on all modules but the root, whose forward hook ends the step."""

    def __init__(self, model, folder):
        self.folder, self.step, self.count = folder, 0, {}
        self.handles = [model.register_forward_hook(self.end)]
        for name, m in model.named_modules():
            if name:
                self.handles += [m.register_forward_pre_hook(self.hook(self.before, name)), m.register_forward_hook(self.hook(self.after, name))]

    @staticmethod
    def hook(f, name):
        return lambda module, *values: f(name, *values)

    def call(self, name):
        n = self.count[name]
        return name if n == 0 else f"{name}_{n}"

    def save(self, name, kind, value):
        folder = os.path.join(self.folder, f"step_{self.step}", self.call(name))
        os.makedirs(folder, exist_ok=True)

        def tensors(v, at):
            if isinstance(v, torch.Tensor):
                torch.save(v.clone(), os.path.join(folder, f"{at}_{str(v.device).replace(':', '_')}.pt"))
            for k, x in v.items() if isinstance(v, dict) else enumerate(v) if isinstance(v, (list, tuple)) else ():
                tensors(x, f"{at}_{k}")
        tensors(value, kind)
        with open(os.path.join(folder, kind + ".json"), "w") as f:
            json.dump(self.say(value), f, indent=2)

    def say(self, v):
        if isinstance(v, torch.Tensor):
            return {"type": "tensor", "shape": list(v.shape), "dtype": str(v.dtype), "numel": v.numel()}
        if isinstance(v, (list, tuple)):
            kind = "list" if isinstance(v, list) else "tuple"
            if len(v) > 20:
                return {"type": kind, "length": len(v), "sample": [self.say(x) for x in v[:100]], "note": f"Showing only first 20 of {len(v)} items"}
            return {"type": kind, "items": [self.say(x) for x in v]}
        if isinstance(v, dict):
            first = {str(k): self.say(x) for k, x in list(v.items())[:20]}
            if len(v) > 20:
                return {"type": "dict", "length": len(v), "keys": [str(k) for k in v], "sample": first, "note": f"Showing only first 20 of {len(v)} items"}
            return {"type": "dict", "items": first}
        if v is None or isinstance(v, (int, float, bool, str)):
            return v
        return {"type": type(v).__name__, "string_repr": type(v).__name__ + "()"}

    def before(self, name, args):
        self.count[name] = self.count.get(name, -1) + 1
        with_step = os.path.join(self.folder, f"step_{self.step}")
        os.makedirs(with_step, exist_ok=True)
        with open(os.path.join(with_step, "module_calls.txt"), "a") as f:
            f.write(self.call(name) + "\n")
        self.save(name, "inputs", args)

    def after(self, name, args, output):
        self.save(name, "outputs", output)

    def end(self, module, args, output):
        self.step, self.count = self.step + 1, {}


# ---- helpers ------------------------------------------------------------------------------------------------

def files(folder):
    """Every file below the steps of a session: tensors by value, all else by its text."""
    out = {}
    for at, _, names in os.walk(folder):
        for n in names:
            path = os.path.join(at, n)
            rel = os.path.relpath(path, folder)
            if rel.startswith("step_"):
                with open(path, "rb") as f:
                    out[rel] = torch.load(f, weights_only=True) if n.endswith(".pt") else f.read()
    return out


def session(folder):
    with open(os.path.join(folder, "session.json"), encoding="utf-8") as f:
        return json.load(f)


def lines(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return f.read().splitlines()


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.said = io.StringIO()
        patch = mock.patch.object(il_capture, "log", lambda text: self.said.write(text + "\n"))
        patch.start()
        self.addCleanup(patch.stop)

    def tearDown(self):
        for c in list(il_capture._LIVE):
            c.close()
            c.wait(5)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def equal_files(self, got, want, but=lambda name: False):
        a, b = files(got), files(want)
        self.assertEqual(sorted(k for k in a if not but(k)), sorted(k for k in b if not but(k)))
        for name in b:
            if but(name):
                continue
            if name.endswith(".pt"):
                self.assertEqual((a[name].dtype, a[name].shape), (b[name].dtype, b[name].shape), name)
                self.assertTrue(torch.equal(a[name], b[name]), name)
            else:
                self.assertEqual(a[name], b[name], name)

    def lint(self, folder, rc=0):
        if BIN:
            r = subprocess.run([os.path.join(BIN, "ildiff"), "lint", folder], capture_output=True, text=True)
            self.assertEqual(r.returncode, rc, r.stdout + r.stderr)
            return r.stdout
        return ""

    def record(self, **config):
        """Runs the model captured; returns the session's folder. Its outputs are those of a run without."""
        want, model = run(Model()), Model()
        folder = self.path(f"s{len(os.listdir(self.dir))}")
        with capture(model, session=folder, **config):
            got = run(model)
        self.assertTrue(same(want, got))
        self.assertTrue(all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules()))
        return folder


class Sessions(Case):
    def test_equal_to_the_fixtures_logger(self):
        for dtype in (torch.float32, torch.bfloat16):
            plain = Model(dtype=dtype)
            Logger(plain, self.path("logger"))
            want, model = run(plain), Model(dtype=dtype)
            with capture(model, log_step_ids=[], session=self.path("capture")) as s:
                self.assertTrue(same(run(model), want))
            self.equal_files(s, self.path("logger"))
            self.assertGreater(len(files(s)), 100)
            got = session(s)
            self.assertEqual((got["status"], got["run"]["logits_lag"], got["engine"]["name"], got["run"]["kwargs"]), ("complete", 1, "pytorch", False))
            self.assertEqual([x["step"] for x in got["steps"]], [0, 1, 2])
            self.lint(s)
            shutil.rmtree(self.path("logger"))
            shutil.rmtree(s)

    def test_logits_after_the_last_step(self):
        s = self.record()
        self.assertEqual(sorted(os.listdir(self.path(s, "step_1"))), ["logits_processor", "module_calls.txt"])
        self.assertEqual(sorted(d for d in os.listdir(self.record(last_logits=False)) if d.startswith("step")), ["step_0"])
        self.assertEqual(sorted(d for d in os.listdir(self.record(module_call_match=["norm"])) if d.startswith("step")), ["step_0"])

    def test_filter(self):
        s = self.record(module_call_match=[r"layers\.1\.(?:mlp|input)", "rotary_emb:1", "rotary_emb:5"])
        self.assertEqual(lines(s, "step_0/module_calls.txt"), ["model.layers.1.input_layernorm", "model.layers.0.self_attn.rotary_emb_1", "model.layers.1.mlp"])
        self.assertIn("outputs_0_cpu.pt", os.listdir(self.path(s, "step_0", "model.layers.0.self_attn.rotary_emb_1")))
        s = self.record(skip_modules=["layers", "extras"])
        self.assertEqual(lines(s, "step_0/module_calls.txt"), ["model", "model.embed_tokens", "model.norm"])

    def test_steps(self):
        s = self.record(log_step_ids=[1], skip_steps=1)
        got = session(s)
        self.assertEqual([(x["step"], x["forward"]) for x in got["steps"]], [(1, 2)])
        self.assertEqual(got["status"], "complete")

    def test_keywords(self):
        s = self.record(kwargs=True)
        self.assertEqual(sorted(os.listdir(self.path(s, "step_0", "model.layers.0.self_attn"))),
                         ["inputs.json", "inputs_hidden_states_cpu.pt", "inputs_positions_cpu.pt", "outputs.json", "outputs_cpu.pt"])
        with open(self.path(s, "step_0", "model.layers.0.self_attn", "inputs.json")) as f:
            side = json.load(f)
        self.assertEqual((side["type"], side["items"], list(side["kwargs"])), ("tuple", [], ["positions", "hidden_states"]))
        self.lint(s)
        s = self.record(kwargs=["self_attn.positions"])
        self.assertEqual(sorted(x for x in files(s) if "inputs_pos" in x)[:1], ["step_0/model.layers.0.self_attn/inputs_positions_cpu.pt"])

    def test_stubs(self):
        s = self.record(max_tensor_size=100, log_post_fwd_inputs=True)
        at = self.path(s, "step_0", "model.layers.0.self_attn.qkv_proj")
        with open(os.path.join(at, "outputs_0.json")) as f:
            self.assertEqual(json.load(f), {"shape": [4, 48], "dtype": "torch.float32", "device": "cpu", "numel": 192, "skipped": "Tensor size 192 exceeds max_tensor_size 100"})
        self.assertIn("post_fwd_inputs_0_cpu.pt", os.listdir(at))
        self.assertGreater(session(s)["incomplete"]["stubs"]["max_tensor_size"], 0)
        self.lint(s)
        s = self.record(mode="shapes")
        self.assertFalse([x for x in files(s) if x.endswith(".pt")])
        self.assertIn(b"mode shapes", files(s)["step_0/model.embed_tokens/outputs.json"] + files(s)["step_0/model.embed_tokens/inputs_0.json"])

    def test_in_place(self):
        """The inputs are those before the call, though the kernel writes over them."""
        s = files(self.record(log_post_fwd_inputs=True))
        at = "step_0/model.layers.1.input_layernorm/"
        self.assertFalse(torch.equal(s[at + "inputs_0_cpu.pt"], s[at + "post_fwd_inputs_0_cpu.pt"]))
        self.assertTrue(torch.equal(s[at + "outputs_0_cpu.pt"], s[at + "post_fwd_inputs_0_cpu.pt"]))

    def test_links(self):
        plain, s = self.record(), self.record(dedupe="link")
        self.equal_files(s, plain)
        big = Model(n=512)
        with capture(big, dedupe="link", session=self.path("links")) as s:
            run(big)
        inodes = [os.stat(self.path(s, x)).st_ino for x in files(s) if x.endswith(".pt")]
        self.assertLess(len(set(inodes)), len(inodes))

    def test_cast(self):
        s = files(self.record(dtype_cast="float16"))
        self.assertEqual(s["step_0/model.norm/outputs_0_cpu.pt"].dtype, torch.float16)
        self.assertEqual(s["step_0/model.embed_tokens/inputs_0_cpu.pt"].dtype, torch.int64)

    def test_odd_tensors(self):
        class Odd(torch.nn.Module):
            def forward(self, *x):
                return x

        class Root(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.odd = Odd()

            def forward(self, *x):
                return self.odd(*x)
        model, base = Root(), torch.arange(24.).reshape(4, 6)
        given = [base.to_sparse(), torch.empty(2, device="meta"), base[:, 1:3], base.T, torch.randn(3, dtype=torch.complex64).conj(), torch.empty(0, 3),
                 torch.quantize_per_tensor(base, 0.1, 0, torch.qint8), torch.tensor(3.5), base.to(torch.float8_e4m3fn), torch.nn.Parameter(base)]
        with capture(model, session=self.path("odd")) as s:
            model(*given)
        got = files(s)
        at = "step_0/odd/inputs_"
        self.assertTrue(torch.equal(got[at + "2_cpu.pt"], base[:, 1:3]) and got[at + "2_cpu.pt"].untyped_storage().nbytes() == 32)
        self.assertEqual(got[at + "3_cpu.pt"].stride(), (1, 6))
        self.assertTrue(torch.equal(got[at + "4_cpu.pt"], given[4].resolve_conj()))
        self.assertEqual([i for i in range(10) if f"{at}{i}.json" in got], [0, 1, 6])
        self.assertIn(b"quantised", got[at + "6.json"])
        self.assertEqual((got[at + "8_cpu.pt"].dtype, type(got[at + "9_cpu.pt"]), got[at + "9_cpu.pt"].requires_grad), (torch.float8_e4m3fn, torch.Tensor, False))

    def test_training_is_left_alone(self):
        def loss(model):
            x = torch.ones(2, 16, requires_grad=True)
            model.model.layers[0].mlp(x).sum().backward()
            return x.grad
        model = Model()
        want = loss(Model())
        with capture(model, session=self.path("t")):
            self.assertTrue(torch.equal(loss(model), want))
        self.assertTrue(files(self.path("t")))

    def test_modes_and_the_generator(self):
        """Random numbers and the shapes of what is drawn do not move."""
        model = Model()
        with capture(model, session=self.path("r")):
            torch.manual_seed(5)
            run(model)
            a = torch.rand(3)
        torch.manual_seed(5)
        run(Model())
        torch.manual_seed(5)
        self.assertTrue(torch.equal(a, torch.rand(3)))


class Fingerprints(Case):
    def test_equal_to_ildiff(self):
        """To the bit: hash, statistics, projections."""
        model, ids = Model(n=48, dtype=torch.bfloat16), torch.arange(40)

        class Bad(torch.nn.Module):
            def forward(self, x):
                x = x.clone()
                x[3] = 0
                return x, torch.zeros(5), torch.tensor([0.0, -0.0]), torch.tensor([True, False]), torch.empty(0, 4), torch.randn(6, 3, dtype=torch.complex64), torch.full((5, 2), 1e200, dtype=torch.float64)
        model.model.bad = Bad()
        inner = model.model.forward
        model.model.forward = lambda *a: model.model.bad(inner(*a))[0]
        with torch.no_grad():
            for mode in ("tensors", "fingerprint"):
                torch.manual_seed(0)
                with capture(model, mode=mode, session=self.path(mode)):
                    model(ids, ids)
        self.assertFalse(files(self.path("fingerprint")))
        with open(self.path("fingerprint", "fingerprint.json")) as f:
            got = json.load(f)
        self.assertEqual(got["schema"], "ildiff.baseline/v1")
        self.assertEqual(len(got["tensors"]), len([x for x in files(self.path("tensors")) if x.endswith(".pt")]))
        if not BIN:
            self.skipTest("IL_BIN names no ildiff")
        r = subprocess.run([os.path.join(BIN, "ildiff"), "baseline", "save", self.path("tensors"), "-o", self.path("baseline")], capture_output=True, text=True)
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(self.path("baseline")) as f:
            want = json.load(f)
        self.assertEqual(len(want["tensors"]), len(got["tensors"]))
        for w, g in zip(want["tensors"], got["tensors"]):
            self.assertEqual(w, g)
        r = subprocess.run([os.path.join(BIN, "ildiff"), "baseline", "check", self.path("fingerprint", "fingerprint.json"), self.path("tensors")], capture_output=True, text=True)
        self.assertIn("No divergence: 93 tensors compared, all equal to the bit", r.stdout)

    def test_not_a_number(self):
        f = il_capture.fingerprint(torch.tensor([[1.0, float("nan"), -2.0, -float("inf")]]))
        self.assertEqual((f["nan"], f["inf"], f["min"], f["max"], f["mean"]), (1, 1, -2, 1, -0.5))
        self.assertEqual(f["non_finite"], hashlib.sha256(b"\x01" + bytes(7) + b"n\x03" + bytes(7) + b"-").hexdigest())

    def test_large(self):
        """Beyond one block of signs."""
        if not BIN:
            self.skipTest("IL_BIN names no ildiff")
        model = torch.nn.Sequential(torch.nn.Linear(700, 300))
        x = torch.randn(70, 700)
        for mode in ("tensors", "fingerprint"):
            with torch.no_grad(), capture(model, mode=mode, session=self.path(mode)):
                model(x)
        subprocess.run([os.path.join(BIN, "ildiff"), "baseline", "save", self.path("tensors"), "-o", self.path("baseline")], check=True, capture_output=True)
        with open(self.path("baseline")) as f, open(self.path("fingerprint", "fingerprint.json")) as g:
            self.assertEqual(json.load(f)["tensors"], json.load(g)["tensors"])


class Config(Case):
    def test_errors(self):
        for config, message in [
            ({"log_step_id": [0]}, "unknown key 'log_step_id'; did you mean 'log_step_ids'?"),
            ({"zzz": 1}, "unknown key 'zzz'; keys are output_dir"),
            ({"log_step_ids": 0}, "log_step_ids is 0, want a list of step numbers"),
            ({"module_call_match": "norm"}, "module_call_match is 'norm', want a list of regexes, or null"),
            ({"module_call_match": ["("]}, "module_call_match: '(' is no regex"),
            ({"reload_input_dir": "x"}, "reload_input_dir would change the run"),
            ({"dedupe": "yes"}, "dedupe is 'yes', want none or link"),
            ({"label": "../x"}, "label is '../x', want a device such as cuda:0"),
            ({"max_session_bytes": "1GB"}, "max_session_bytes is '1GB', want a number of bytes, or null"),
            ("{", "il config: no JSON"), ("[]", "[]: No such file or directory; give a JSON object"),
        ]:
            with self.assertRaises(CaptureError) as e:
                read_config(config)
            self.assertIn(message, str(e.exception))
        path = self.path("c.json")
        with open(path, "w") as f:
            f.write('{"log_step_ids": [2]}')
        self.assertEqual(read_config(path, mode="shapes")["log_step_ids"], [2])

    def test_no_such_module(self):
        with self.assertRaises(CaptureError) as e, capture(Model(), module_call_match=[r"layers\.0\.atten"], session=self.path("s")):
            pass
        self.assertIn(r"module_call_match 'layers\\.0\\.atten' selects no module of this model; nearest: model.layers.0", str(e.exception))
        self.assertFalse(os.path.exists(self.path("s")))
        self.record(module_call_match=["norm", "zzzz"])
        self.assertIn("'zzzz' selects no module", self.said.getvalue())

    def test_off(self):
        with capture(Model(), enabled=False, session=self.path("s")) as s:
            self.assertIsNone(s)
        self.assertFalse(os.path.exists(self.path("s")))

    def test_import_does_nothing(self):
        code = "import il_capture, threading, sys; assert threading.active_count() == 1 and 'vllm' not in sys.modules and 'transformers' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True, env={k: v for k, v in os.environ.items() if not k.startswith("IL_CAPTURE")})


class Failures(Case):
    """The model runs on, with the same bits; the session says what happened."""

    def spoiled(self, status, reason, patches, **config):
        want, model = run(Model()), Model()
        with contextlib.ExitStack() as stack:
            with capture(model, session=self.path("s"), log_step_ids=[], **config) as s:
                for p in patches:
                    stack.enter_context(p)
                got = run(model)
                for c in list(il_capture._LIVE):
                    c.wait(5)
                stack.close()
        self.assertTrue(same(want, got))
        self.assertTrue(all(not m._forward_hooks and not m._forward_pre_hooks for m in model.modules()))
        got = session(s)
        self.assertEqual(got["status"], status)
        self.assertIn(reason, got["reason"])
        self.assertFalse([x for x in files(s) if x.endswith(".tmp")])
        return s

    def fails_after(self, n, error, of=os.replace):
        left = [n]

        def f(*args, **kwargs):
            left[0] -= not str(args[-1]).endswith("session.json")
            if left[0] < 0 and not str(args[-1]).endswith("session.json"):
                raise error
            return of(*args, **kwargs)
        return f

    def test_disk_full(self):
        full = OSError(errno.ENOSPC, "No space left on device")
        s = self.spoiled("stopped", "No space left on device", [mock.patch("os.replace", self.fails_after(20, full))])
        self.lint(s, 1)
        self.assertFalse(os.path.exists(os.path.join(s, ".reserve")))

    def test_disk_fails_in_other_ways(self):
        for e, status, reason in [(OSError(errno.EACCES, "Permission denied"), "failed", "Permission denied"), (RuntimeError("PytorchStreamWriter failed"), "failed", "PytorchStreamWriter"),
                                  (OSError(errno.EROFS, "Read-only file system"), "stopped", "Read-only")]:
            self.spoiled(status, reason, [mock.patch("torch.save", self.fails_after(5, e, torch.save))])
            shutil.rmtree(self.path("s"))

    def test_a_real_full_disk(self):
        at = self.path("small")
        os.mkdir(at)
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", at], capture_output=True).returncode:
            self.skipTest("needs root and mount")
        self.addCleanup(subprocess.run, ["umount", at])
        want, model = run(Model(n=512)), Model(n=512)
        with capture(model, output_dir=at, log_step_ids=[], min_free_bytes=0) as s:
            self.assertTrue(same(run(model), want))
        self.assertEqual(session(s)["status"], "stopped")
        self.assertIn("cannot write", session(s)["reason"])

    def test_no_room_to_begin_with(self):
        self.spoiled("stopped", "min_free_bytes", [], min_free_bytes=1 << 60)
        self.assertFalse(files(self.path("s")))

    def test_budget(self):
        s = self.spoiled("stopped", "max_session_bytes", [], max_session_bytes=12_000)
        self.assertLess(sum(x.numel() * x.element_size() for x in files(s).values() if isinstance(x, torch.Tensor)), 12_001)
        self.assertEqual([x for x in os.listdir(s) if x.startswith("step")], ["step_0"])
        self.assertEqual(session(s)["incomplete"]["steps_cut"], 1)
        self.lint(s)

    def test_a_hook_raises(self):
        s = self.spoiled("failed", "KeyError: 'planted'", [mock.patch.object(il_capture, "describe", self.fails_after(10, KeyError("planted"), il_capture.describe))])
        self.assertIn("the model goes on", self.said.getvalue())
        self.assertEqual(self.said.getvalue().count("Traceback"), 1)
        self.assertEqual(session(s)["first_error"], "KeyError: 'planted'")

    def test_no_memory(self):
        """The first time a stub, the second the end."""
        error = RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")
        real, n = il_capture.to_cpu, [0]

        def to_cpu(t):
            n[0] += 1
            if n[0] in (10, 40):
                raise error
            return real(t)
        s = self.spoiled("failed", "allocate memory", [mock.patch.object(il_capture, "to_cpu", to_cpu)])
        self.assertEqual(session(s)["incomplete"]["stubs"], {"memory": 1})

    def test_slow_disk(self):
        """Back-pressure first, then stubs, and no other step."""
        real = il_capture.write_whole

        def slow(path, write, sync=False):
            if path.endswith(".pt"):
                time.sleep(0.05)
            real(path, write, sync)
        start = time.monotonic()
        s = self.spoiled("stopped", "time", [mock.patch.object(il_capture, "write_whole", slow)], max_step_seconds=0.3, queue_bytes=2000)
        self.assertLess(time.monotonic() - start, 20)
        self.assertGreater(session(s)["incomplete"]["stubs"]["time"], 0)
        self.assertEqual([x for x in os.listdir(s) if x.startswith("step")], ["step_0"])
        self.assertEqual(len([x for x in files(s) if x.endswith("/inputs.json")]), len(lines(s, "step_0/module_calls.txt")))

    def test_killed(self):
        code = f"""
import sys; sys.path[:0] = [{HERE!r}]
import test_il_capture as t, il_capture, os, signal, torch
model = t.Model()
with il_capture.capture(model, session={self.path('s')!r}, log_step_ids=[]):
    t.run(model, 2)
    for c in il_capture._LIVE: c.wait(10)
    model.model.norm.register_forward_hook(lambda *a: os.kill(os.getpid(), signal.SIGKILL))
    t.run(model, 1)
"""
        r = subprocess.run([sys.executable, "-c", code], capture_output=True)
        self.assertEqual(r.returncode, -signal.SIGKILL, r.stderr)
        self.assertEqual(session(self.path("s"))["status"], "recording")
        self.assertGreater(len(files(self.path("s"))), 50)  # all of them load
        if BIN:
            self.assertIn("2 steps", subprocess.run([os.path.join(BIN, "ildiff"), "lint", self.path("s")], capture_output=True, text=True).stdout.replace("3 steps", "2 steps"))

    def test_the_model_raises(self):
        model = Model()
        with capture(model, session=self.path("s"), log_step_ids=[]) as s:
            with self.assertRaises(IndexError):
                model(torch.tensor([999]), torch.tensor([0]))
            run(model, 1)
        self.assertEqual(session(s)["status"], "complete")
        self.assertEqual(lines(s, "step_1/module_calls.txt")[:2], ["model", "model.embed_tokens"])

    def test_nothing_captured(self):
        model = Model()
        with capture(model, session=self.path("a")):
            pass
        self.assertIn("no forward of the model ran in the block", session(self.path("a"))["reason"])
        with capture(model, session=self.path("b"), log_step_ids=[7]):
            run(model)
        self.assertIn("3 forwards ran, none of log_step_ids [7]", session(self.path("b"))["reason"])
        with capture(model, session=self.path("c"), module_call_match=["lm_head"]):
            run(model)
        self.assertEqual(session(self.path("c"))["status"], "failed")
        self.assertIn("nothing captured: a forward called none of 1 modules with hooks (lm_head", session(self.path("c"))["reason"])
        self.assertEqual(il_capture.main(["check", self.path("c")]), 1)

    def test_compiled(self):
        inner = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
        model = torch.nn.Sequential(torch.compile(inner, backend="eager"))
        x = torch.randn(2, 4)
        with torch.no_grad():
            want = model(x)
            with capture(model, session=self.path("s"), module_call_match=[r"_orig_mod\."]):
                got = model(x)
        self.assertTrue(torch.equal(got, want))
        self.assertIn("is compiled (torch.compile)", session(self.path("s"))["reason"])

    def test_fork(self):
        """A forked child leaves the session to its parent."""
        model = Model()
        with capture(model, session=self.path("s"), log_step_ids=[]) as s:
            run(model, 1)
            pid = os.fork()
            if pid == 0:
                jobs = [len(c.writer.jobs) for c in il_capture._LIVE]
                run(model, 1)
                os._exit(jobs != [len(c.writer.jobs) for c in il_capture._LIVE] or not all(c.wait() for c in il_capture._LIVE))
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(session(s)["status"], "complete")
        self.assertEqual(len(session(s)["steps"]), 1)

    def test_link_not_followed(self):
        os.makedirs(self.path("elsewhere"))
        os.symlink(self.path("elsewhere"), self.path("s"))
        with self.assertRaises(CaptureError), capture(Model(), session=self.path("s")):
            pass
        self.assertEqual(os.listdir(self.path("elsewhere")), [])

    def test_permissions(self):
        s = self.record()
        for at, _, names in os.walk(s):
            self.assertEqual(os.stat(at).st_mode & 0o777, 0o700)
            for n in names:
                self.assertEqual(os.stat(os.path.join(at, n)).st_mode & 0o777, 0o600)

    def test_other_threads(self):
        """A thread beside the one that runs the window is not recorded."""
        model = Model()
        cap = Capture({"log_step_ids": []}, session=self.path("s"))
        cap.attach(model)
        cap.start()
        with cap.window(), torch.no_grad():
            t = threading.Thread(target=lambda: model.model.norm(torch.ones(1, 16)))
            t.start()
            t.join()
            model.model.layers[0].mlp(torch.ones(1, 16))
            cap.end_step()
        cap.close()
        cap.wait()
        self.assertEqual(lines(self.path("s"), "step_0/module_calls.txt"), ["model.layers.0.mlp"])


class Ranks(Case):
    def test_two_processes(self):
        code = f"""
import sys; sys.path[:0] = [{HERE!r}]
import test_il_capture as t, il_capture, torch
rank = int(sys.argv[1])
model = t.Model()
cap = il_capture.Capture({{"log_step_ids": []}}, place=il_capture.Place(rank, 2), label=f"cuda:{{rank}}", session={self.path('s')!r}, engine={{"name": "vllm"}}, lag=1)
cap.attach(model); cap.attach_root(model); cap.start()
with torch.no_grad():
    for i in range(4):
        with cap.window():
            hidden = model(torch.tensor([1, 5, 9]), torch.arange(3))
            model.compute_logits(hidden)
cap.close(); cap.wait()
"""
        ps = [subprocess.Popen([sys.executable, "-c", code, str(r)], stderr=subprocess.PIPE) for r in (0, 1)]
        for p in ps:
            self.assertEqual(p.wait(), 0, p.stderr.read())
            p.stderr.close()
        s = self.path("s")
        at = os.listdir(os.path.join(s, "step_2", "model.norm"))
        self.assertEqual(sorted(at), ["inputs.json", "inputs_0_cuda_0.pt", "inputs_0_cuda_1.pt", "inputs_1_cuda_0.pt", "inputs_1_cuda_1.pt", "outputs.json",
                                      "outputs_0_cuda_0.pt", "outputs_0_cuda_1.pt", "outputs_1_cuda_0.pt", "outputs_1_cuda_1.pt"])
        calls = lines(s, "step_2/module_calls.txt")
        self.assertEqual(len(calls), len(set(calls)))
        got = session(s)
        self.assertEqual([r["label"] for r in got["parallel"]["ranks"]] if "parallel" in got else ["cuda:0", "cuda:1"], ["cuda:0", "cuda:1"])
        self.assertEqual((got["status"], got["run"]["label"]), ("complete", "rank"))
        self.lint(s)

    def test_stages(self):
        """Each stage writes its own lines; the second ends where the first has stopped."""
        caps = []
        for rank in (0, 1):
            model = Model()
            cap = Capture({"log_step_ids": [], "module_call_match": [f"layers\\.{rank}\\."]}, place=Place(rank, 1, 2), label=f"cuda:{rank}", session=self.path("s"), engine={"name": "vllm"})
            cap.attach(model)
            cap.attach_root(model)
            cap.start()
            caps.append((cap, model))
        for cap, model in caps:
            with cap.window():
                run(model, 1)
        caps[0][0].close("stopped", "planted")
        with caps[1][0].window():
            run(caps[1][1], 1)
        for cap, _ in caps:
            cap.wait()
        self.assertEqual(caps[1][0].reason, "another rank has stopped")
        self.assertEqual(session(self.path("s"))["incomplete"]["ranks_stopped"], ["cuda:0"])
        self.assertEqual({x.split(".")[2] for x in lines(self.path("s"), "step_0/module_calls.txt") if "layers" in x}, {"0", "1"})

    def test_ranks_chosen(self):
        model = Model()
        cap = Capture({"ranks": [1]}, place=Place(0, 2), session=self.path("s")).attach(model)
        cap.attach_root(model)
        cap.start()
        with cap.window():
            run(model, 1)
        self.assertFalse(os.path.exists(self.path("s")))
        self.assertTrue(Capture({"ranks": [1]}, place=Place(1, 2), session=self.path("s")).writes_text)


@unittest.skipUnless(transformers, "needs transformers")
class Transformers(Case):
    def golden(self, name):
        with tarfile.open(os.path.join(ROOT, "testdata", "sessions", name + ".tar.gz")) as t:
            t.extractall(self.dir, filter="data") if sys.version_info >= (3, 12) else t.extractall(self.dir)
        return self.path(name)

    def load(self, name, dtype, attn="eager"):
        return transformers.AutoModelForCausalLM.from_pretrained(os.path.join(ROOT, "testdata", name), dtype=dtype, attn_implementation=attn).eval()

    def test_equal_to_the_recorded_sessions(self):
        """Of transformers, by another program: names, side files and values. Values are those of another machine: close."""
        for golden, checkpoint, dtype, new, ids in [
            ("llama3-gqa-hf-bf16", "checkpoints/llama3-gqa", torch.bfloat16, 3, [1, 5, 9, 200, 33, 7, 80, 11, 12, 13, 60]),
            ("llama3-gqa-hf-fp32", "checkpoints/llama3-gqa", torch.float32, 3, [1, 5, 9, 200, 33, 7, 80, 11, 12, 13, 60]),
            ("olmo2-hf-fp32", "architectures/olmo2", torch.float32, 2, [1, 5, 9, 20, 33, 7]),
            ("qwen3-hf-fp32", "architectures/qwen3", torch.float32, 2, [1, 5, 9, 20, 33, 7]),
        ]:
            want, model = files(self.golden(golden)), self.load(checkpoint, dtype)
            with torch.inference_mode(), capture(model, log_step_ids=[], kwargs=False, session=self.path(golden + "-captured")) as s:
                model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), max_new_tokens=new, do_sample=False)
            got = files(s)
            self.assertEqual(sorted(got), sorted(want))
            exact = 0
            for name, w in want.items():
                g = got[name]
                if name.endswith("/model/outputs.json"):  # str() of the cache there, its class here
                    w = json.dumps({**json.loads(w), "items": {**json.loads(w)["items"], "past_key_values": {"type": "DynamicCache", "string_repr": "DynamicCache()"}}}, indent=2).encode()
                if isinstance(w, torch.Tensor):
                    self.assertEqual((g.dtype, g.shape), (w.dtype, w.shape), name)
                    gap = (g.double() - w.double()).norm() / max(w.double().norm(), 1e-30)
                    self.assertLess(gap, 1e-5 if dtype is torch.float32 else 0.02, name)
                    exact += torch.equal(g, w)
                else:
                    self.assertEqual(g, w, name)
            self.assertGreater(exact, 0)

    def test_positions_and_batches(self):
        model = self.load("checkpoints/llama3-gqa", torch.float32, "sdpa")
        ids = torch.tensor([[1, 5, 9], [1, 7, 8]])

        def go():
            with torch.inference_mode():
                return model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False, output_logits=True, return_dict_in_generate=True).logits
        want = go()
        with capture(model, log_step_ids=[], session=self.path("s")) as s:
            got = go()
        self.assertTrue(same(want, got))
        self.assertEqual([json.loads(x) for x in lines(s, "batches.jsonl")][:2], [
            {"step": 0, "forward": 0, "req_ids": ["0", "1"], "num_tokens": [3, 3], "num_computed": [0, 0], "padded_tokens": 6, "kind": "prefill"},
            {"step": 1, "forward": 1, "req_ids": ["0", "1"], "num_tokens": [1, 1], "num_computed": [3, 3], "padded_tokens": 2, "kind": "decode"}])
        self.assertEqual(files(s)["step_1/model.rotary_emb/inputs_position_ids_cpu.pt"].tolist()[0], [3])
        self.assertFalse([x for x in files(s) if "inputs_position_ids" in x and "rotary" not in x])
        got = session(s)
        self.assertEqual((got["engine"]["runner"], got["run"]["logits_lag"], got["model"]["dtype"], got["kernels"]["attention"]),
                         ("transformers", 0, "float32", {"sdpa": {"impl": "LlamaAttention", "layers": 3}}))
        self.assertEqual(len(got["weights"]), 8)
        self.lint(s)

    def test_padding_tells_no_batch(self):
        model = self.load("checkpoints/llama3-gqa", torch.float32)
        ids = torch.tensor([[0, 1, 5], [1, 7, 8]])
        with torch.inference_mode(), capture(model, session=self.path("s")) as s:
            model(ids, attention_mask=torch.tensor([[0, 1, 1], [1, 1, 1]]))
        self.assertFalse(os.path.exists(os.path.join(s, "batches.jsonl")))

    def test_generate_in_a_thread(self):
        model, x = self.load("checkpoints/llama3-gqa", torch.float32), torch.tensor([[1, 5]])
        with capture(model, session=self.path("s")) as s:
            t = threading.Thread(target=lambda: model.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=1))
            t.start()
            t.join()
        self.assertIn("step_0/lm_head/outputs_cpu.pt", files(s))

    def test_command(self):
        def command(*args):
            return subprocess.run([sys.executable, os.path.join(HERE, "il_capture.py"), *args], capture_output=True, text=True)
        model = os.path.join(ROOT, "testdata", "checkpoints", "llama3-gqa")
        r = command("run", "--model", model, "--ids", "1,5,9", "--max-tokens", "2", "--dtype", "float32", "-o", self.path("s"))
        self.assertEqual((r.returncode, r.stdout), (0, self.path("s") + "\n"), r.stderr)
        r = command("check", self.path("s"))
        self.assertEqual(r.returncode, 0)
        self.assertIn("2 steps, 88 calls", r.stdout)
        self.assertIn("transformers", r.stdout)
        for args, message in [(("run", "--model", model), "give --prompt TEXT or --ids 1,5,9"), (("run", "--model", model, "--ids", "a"), "--ids 'a': want token ids"),
                              (("run", "--model", self.dir, "--ids", "1"), "--model"), (("run", "--model", model, "--ids", "1", "-o", self.path("s")), "is not empty"),
                              (("run", "--model", model, "--prompt", "x"), "has no tokenizer"), (("check", self.path("no")), "is no folder"),
                              (("run", "--model", model, "--ids", "1", "--config", '{"x": 1}'), "unknown key 'x'")]:
            r = command(*args)
            self.assertEqual(r.returncode, 2, r.stderr)
            self.assertIn(message, r.stderr)
            self.assertNotIn("Traceback", r.stderr)

    @unittest.skipUnless(BIN, "IL_BIN names no ilref")
    def test_every_architecture_against_ilref(self):
        """float32 within 1e-5, bfloat16 by the default rule, all mapped modules paired; a planted fault is found."""
        folder = os.path.join(ROOT, "testdata", "architectures")
        ids = list(range(3, 20))
        for name in sorted(d for d in os.listdir(folder) if os.path.isdir(os.path.join(folder, d))):
            for dtype in ("float32", "bfloat16"):
                for attn in ("eager", "sdpa") if dtype == "bfloat16" else ("sdpa",):
                    model = self.load("architectures/" + name, getattr(torch, dtype), attn)
                    s = self.path("-".join((name, dtype, attn)))
                    x = torch.tensor([ids])
                    with torch.inference_mode(), capture(model, log_step_ids=[], session=s):
                        model.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=3, min_new_tokens=3, do_sample=False)
                    self.lint(s)
                    rule = ("--dynamic-rope", "transformers") if "dynamic" in name or "longrope" in name else ()
                    r = subprocess.run([os.path.join(BIN, "ilref"), "run", "--model", os.path.join(folder, name), "--diff", s, "--dtype", dtype,
                                        "--output-dir", self.path("ilref"), *rule], capture_output=True, text=True)
                    with self.subTest(name=name, dtype=dtype, attn=attn):
                        self.assertEqual(r.returncode, 0, (r.stdout + r.stderr)[-1500:])
                        self.assertRegex(r.stdout, r"Coverage: 100 %")
                        if dtype == "float32":
                            gaps = [float(w) for w in re.findall(r"rel_l2 (\d\.\de-\d+)", r.stdout)]
                            self.assertLess(max(gaps, default=0), 1e-5, r.stdout[-600:])


if __name__ == "__main__":
    unittest.main()
