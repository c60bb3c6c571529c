"""il_capture.py in vLLM and SGLang, on a CPU: python3 test_engines.py [-v], with torch and numpy.

Without variables, small classes stand for the engines, with their calls in their order. VLLM_SRC and SGLANG_SRC
name source trees (lists of them, with colons between; of vLLM the folder that holds vllm/, of SGLang the one that
holds sglang/): then the engines' own WorkerWrapperBase, Worker, GPUModelRunner (both), warm-up, plugin loader,
HookRegistry, ModelRunner.forward and hook manager run, from their files, with all that they import stubbed. Nothing
of the trees is kept. What must hold: real forwards alone are recorded, with their logits, and nothing changes.
"""
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
import types
import unittest
from unittest import mock

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import il_capture  # noqa: E402
import test_il_capture as base  # noqa: E402


# ---- what stands for all that an engine imports --------------------------------------------------------------

class Anything:
    """False, empty, callable, a context, a decorator that changes nothing, a base class without members; what it is
    asked for is more of it."""

    def __init__(self, *a, **k):
        pass

    def __call__(self, *a, **k):
        return a[0] if len(a) == 1 and not k and (isinstance(a[0], type) or isinstance(a[0], types.FunctionType)) else Anything()

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Anything()

    def __mro_entries__(self, bases):
        return ()

    def __instancecheck__(self, x):
        return x is None or type(x) in (Made, Anything)

    def __subclasscheck__(self, x):
        return False

    def __enter__(self):
        return Anything()

    def __exit__(self, *a):
        return False

    def __iter__(self):
        return iter(())

    def __bool__(self):
        return False

    def __len__(self):
        return 0

    def __getitem__(self, k):
        return Anything()

    def __setitem__(self, k, v):
        pass

    def __contains__(self, k):
        return False

    def __int__(self):
        return 0

    __index__ = __int__

    def __or__(self, x):
        return Anything()

    __ror__ = __and__ = __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __mod__ = __or__

    def __lt__(self, x):
        return False

    __gt__ = __le__ = __ge__ = __lt__
    __hash__ = object.__hash__


class NoAsserts(importlib.machinery.SourceFileLoader):
    """Reads a file without its assertions: they are of what the stubs do not know."""

    def get_code(self, fullname):
        return compile(self.get_data(self.path), self.path, "exec", dont_inherit=True, optimize=1)


class Tree(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports some modules of a package from a source tree, and stubs for all others of it."""

    THIRD = ("regex", "cloudpickle", "psutil", "tqdm", "PIL", "msgspec", "zmq", "triton", "pydantic", "cachetools", "pybase64", "requests", "fastapi", "orjson", "setproctitle", "einops", "sgl_kernel", "flashinfer", "huggingface_hub", "transformers")

    def __init__(self, root, package, real, names):
        self.root, self.package, self.real, self.names = root, package, set(real), names

    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top != self.package and top not in self.THIRD:
            return None
        if name in self.real:
            for file, folder in ((os.path.join(self.root, *name.split(".")) + ".py", None), (os.path.join(self.root, *name.split("."), "__init__.py"), [])):
                if os.path.isfile(file):
                    return importlib.util.spec_from_file_location(name, file, loader=NoAsserts(name, file), submodule_search_locations=folder)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        m = types.ModuleType(spec.name)
        m.__path__ = []
        m.__getattr__ = self.attribute
        return m

    def attribute(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.names[name] if name in self.names else Anything()

    def exec_module(self, module):
        pass

    def __enter__(self):
        self.before = {n: m for n, m in sys.modules.items() if n.split(".")[0] in (self.package, *self.THIRD)}
        for n in self.before:
            del sys.modules[n]
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *a):
        sys.meta_path.remove(self)
        for n in [n for n in sys.modules if n.split(".")[0] in (self.package, *self.THIRD)]:
            del sys.modules[n]
        sys.modules.update(self.before)


def lenient(cls, **members):
    """A subclass whose missing members are Anything."""
    return type(cls.__name__, (cls,), {"__init__": lambda self: None, "__getattr__": lambda self, name: Anything.__getattr__(Anything(), name), "__module__": cls.__module__, **members})


# ---- a model that is called as vLLM calls one ------------------------------------------------------------------

class Model(base.Model):
    def forward(self, input_ids, positions, intermediate_tensors=None, inputs_embeds=None, **kwargs):
        return self.model(input_ids.long(), positions)

    def compute_logits(self, hidden_states, *rest):
        return self.logits_processor(self.lm_head, hidden_states)


class Output(types.SimpleNamespace):
    """vLLM's SchedulerOutput, as far as it is read."""

    def __init__(self, tokens=None):
        super().__init__(num_scheduled_tokens=dict(tokens or {}), total_num_scheduled_tokens=sum((tokens or {}).values()), scheduled_new_reqs=[], scheduled_cached_reqs=Anything(),
                         scheduled_spec_decode_tokens={}, scheduled_encoder_inputs={}, finished_req_ids=set(), grammar_bitmask=None, num_common_prefix_blocks=[],
                         structured_output_request_ids={}, kv_connector_metadata=None, free_encoder_mm_hashes=[], new_block_ids_to_zero=None, preempted_req_ids=set())

    make_empty = classmethod(lambda cls: cls())


class Lenient(types.SimpleNamespace):
    def __getattr__(self, name):
        return Anything().__getattr__(name)


def vllm_config(eager=True, ns=types.SimpleNamespace, **parallel):
    return ns(
        parallel_config=ns(**{**dict(tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=1, data_parallel_rank=0, enable_dbo=False, worker_cls="test.Worker",
                                     worker_extension_cls="il_capture.WorkerExtension", use_ubatching=False, num_ubatches=1, distributed_executor_backend="mp", enable_expert_parallel=False), **parallel}),
        model_config=ns(enforce_eager=eager, model="/models/tiny", dtype=torch.float32, hf_config=None, quantization=None, trust_remote_code=False, revision=None, seed=0, is_encoder_decoder=False,
                        multimodal_config=None, uses_mrope=False, get_vocab_size=lambda: 50),
        compilation_config=ns(mode=ns(value=0 if eager else 3, name="NONE" if eager else "VLLM_COMPILE"), cudagraph_mode=ns(name="NONE" if eager else "FULL_AND_PIECEWISE"), level=0,
                              pass_config=ns(enable_sp=False, enable_sequence_parallelism=False), compilation_time=0.0, encoder_compilation_time=0.0, static_forward_context={},
                              compile_sizes=[], cudagraph_capture_sizes=[], backend="", cudagraph_num_of_warmups=0, encoder_compile_time=0.0),
        scheduler_config=ns(max_num_batched_tokens=64, max_num_seqs=2, async_scheduling=False, enable_chunked_prefill=True), cache_config=ns(
            enable_prefix_caching=False, cache_dtype="auto", kv_cache_memory_bytes=0, kv_sharing_fast_prefill=False, mamba_cache_mode="none"),
        speculative_config=None, lora_config=None, instance_id="abc12", kernel_config=Anything(), observability_config=Anything(), weight_transfer_config=None,
        enable_trace_function_call_for_thread=lambda: None)


class Requests:
    """The request states and buffers that the runners' prepare steps would fill, for two requests."""

    def __init__(self):
        self.done = {}

    def rows(self, output):
        ids, positions, order = [], [], []
        for r, n in output.num_scheduled_tokens.items():
            at = self.done.get(r, 0)
            order.append((r, n, at))
            positions += range(at, at + n)
            ids += [(3 * p + len(r)) % 50 for p in range(at, at + n)]
            self.done[r] = at + n
        return torch.tensor(ids, dtype=torch.int32), torch.tensor(positions), order


# ---- classes that stand for vLLM ------------------------------------------------------------------------------

class StandInV1:
    """MRV1: dummy runs call the model; logits are computed in execute_model."""
    split = False

    def __init__(self):
        self.requests, self.model, self.input_batch = Requests(), None, None

    def load_model(self, *a, **k):
        self.model = Model()

    def get_model(self):
        return self.model

    def _dummy_run(self, n, **k):
        hidden = self.model(input_ids=torch.zeros(n, dtype=torch.int32), positions=torch.arange(n))
        return hidden, self.model.compute_logits(hidden[-1:])

    def execute_model(self, scheduler_output, intermediate_tensors=None):
        if not scheduler_output.total_num_scheduled_tokens:
            self._dummy_run(1)  # the external launcher with data parallelism
            return "empty"
        ids, positions, order = self.requests.rows(scheduler_output)
        self.input_batch = types.SimpleNamespace(req_ids=[r for r, _, _ in order] + [None], num_reqs=len(order), num_computed_tokens_cpu=[c for _, _, c in order] + [0])
        hidden = self.model(input_ids=ids, positions=positions, intermediate_tensors=None, inputs_embeds=None)
        ends = torch.tensor([n for _, n, _ in order]).cumsum(0) - 1
        self.state = self.model.compute_logits(hidden[ends])
        return None if self.split else self.state


class StandInV1Split(StandInV1):
    """MRV1 since 2025-11: sampling is a call of its own."""
    split = True

    def sample_tokens(self, grammar_output):
        return self.state


class StandInV2(StandInV1):
    """MRV2: dummy runs go through execute_model; logits are computed in sample_tokens."""

    def _dummy_run(self, n, **k):
        self.execute_model(Output({"_dummy_req_0": n}), dummy_run=True)
        return self.hidden, self.hidden[-1:]

    def prepare_inputs(self, output, desc):
        self.ids, self.positions, order = self.requests.rows(output)
        return types.SimpleNamespace(req_ids=[r for r, _, _ in order], num_scheduled_tokens=[n for _, n, _ in order], num_computed_tokens_np=[c for _, _, c in order], num_tokens_after_padding=len(self.ids))

    def execute_model(self, scheduler_output, intermediate_tensors=None, dummy_run=False, **k):
        if not dummy_run:
            if not scheduler_output.total_num_scheduled_tokens:
                return "empty"
            self.batch = self.prepare_inputs(scheduler_output, None)
        else:
            n = scheduler_output.total_num_scheduled_tokens
            self.ids, self.positions = torch.zeros(n, dtype=torch.int32), torch.arange(n)
        self.hidden = self.model(input_ids=self.ids, positions=self.positions, inputs_embeds=None, intermediate_tensors=None)
        return None

    def sample_tokens(self, grammar_output):
        ends = torch.tensor(self.batch.num_scheduled_tokens).cumsum(0) - 1
        return self.model.compute_logits(self.hidden[ends])


class StandInWorker:
    def __init__(self, runner):
        self.vllm_config, self.rank, self.model_runner = vllm_config(), 0, None
        self.make = runner

    def init_device(self):
        self.model_runner = self.make()

    def load_model(self):
        self.model_runner.load_model()

    def get_model(self):
        return self.model_runner.get_model()

    def execute_model(self, output):
        return self.model_runner.execute_model(output, None)

    def sample_tokens(self, grammar_output):
        return self.model_runner.sample_tokens(grammar_output)

    def execute_dummy_batch(self):
        self.model_runner._dummy_run(1)

    def determine_available_memory(self):
        self.model_runner._dummy_run(8, is_profile=True)

    def compile_or_warm_up_model(self):
        self.model_runner._dummy_run(2)
        if isinstance(self.model_runner, StandInV2):
            for tokens in ({"_warmup_0_": 3, "_warmup_1_": 3}, {"looks_real": 2}, {}):
                self.execute_model(Output(tokens))
                if tokens:
                    self.sample_tokens(None)

    def shutdown(self):
        pass


class StandInWrapper:
    def __init__(self, make):
        self.make = make

    def init_worker(self):
        il_capture.vllm_plugin()
        self.worker = StandInWorker(self.make)

    def init_device(self):
        self.worker.init_device()

    def __getattr__(self, name):
        return getattr(self.worker, name)


@contextlib.contextmanager
def stand_in(make):
    """A package vllm that holds the stand-ins."""
    module = types.ModuleType("vllm.v1.worker.worker_base")
    module.WorkerWrapperBase = type("WorkerWrapperBase", (StandInWrapper,), {"init_device": StandInWrapper.init_device})
    args = types.ModuleType("vllm.engine.arg_utils")
    args.EngineArgs = type("EngineArgs", (), {"enforce_eager": False, "create_engine_config": lambda self: self.enforce_eager})
    modules = {"vllm": types.ModuleType("vllm"), "vllm.v1.worker.worker_base": module, "vllm.engine.arg_utils": args}
    for p in ("vllm.v1", "vllm.v1.worker", "vllm.engine"):
        modules[p] = types.ModuleType(p)
    with mock.patch.dict(sys.modules, modules):
        yield module.WorkerWrapperBase(make)


# ---- what must hold -------------------------------------------------------------------------------------------

REAL = [{"a": 4, "b": 2}, {"a": 1, "b": 1}, {"a": 1}]


class Case(base.Case):
    def setUp(self):
        super().setUp()
        il_capture._vllm_patched = False
        env = {k: v for k, v in os.environ.items() if not k.startswith("IL_CAPTURE")}
        patch = mock.patch.dict(os.environ, {**env, "IL_CAPTURE_RUN_ID": "run", "IL_CAPTURE_DIR": self.dir}, clear=True)
        patch.start()
        self.addCleanup(patch.stop)

    def configure(self, **config):
        os.environ["IL_CAPTURE_CONFIG"] = json.dumps(config)

    def serve(self, w, between=lambda: None, start=lambda: None):
        """A server's life: start-up, three real steps with dummy and empty ones between them. Returns what it gives."""
        out = []
        if "worker" not in w.__dict__:
            w.init_worker()
        w.init_device()
        w.load_model()
        with torch.inference_mode():
            w.determine_available_memory()
            w.compile_or_warm_up_model()
            start()
            for tokens in REAL:
                between()
                w.execute_dummy_batch()
                r = w.execute_model(Output(tokens))
                if r is None:
                    r = w.sample_tokens(None)
                out.append(r)
                w.execute_model(Output())
        w.shutdown()
        return out

    def held(self, s, steps=(0, 1, 2), runner="v1", order=("a", "b"), rows=((6,), (2,), (1,))):
        """The session has these steps, their logits in the next, and nothing else."""
        got = base.session(s)
        self.assertEqual(got["status"], "complete", got)
        self.assertEqual([x["step"] for x in got["steps"]], list(steps))
        self.assertEqual((got["engine"]["name"], got["engine"]["runner"], got["run"]["logits_lag"], got["run"]["label"]), ("vllm", runner, 1, "rank"))
        f = base.files(s)
        for n in steps:
            self.assertEqual(tuple(f[f"step_{n}/model.embed_tokens/inputs_0_cpu.pt"].shape), rows[n])
            self.assertEqual(f[f"step_{n + 1}/logits_processor/outputs_cpu.pt"].shape[0], len(REAL[n]))
            calls = base.lines(s, f"step_{n}/module_calls.txt")
            self.assertEqual(len(calls), len(set(calls)))
            self.assertNotIn("model.embed_tokens_1", calls)
            self.assertEqual("logits_processor" in calls, n > 0 and n - 1 in steps)
        last = base.lines(s, f"step_{steps[-1] + 1}/module_calls.txt")
        self.assertEqual(last, ["logits_processor"])
        batches = [json.loads(x) for x in base.lines(s, "batches.jsonl")]
        self.assertEqual([(b["step"], b["kind"], sum(b["num_tokens"]), b["padded_tokens"]) for b in batches],
                         [(n, "prefill" if n == 0 else "decode", sum(REAL[n].values()), rows[n][0]) for n in steps])
        for n, b in zip(steps, batches):
            self.assertEqual(sorted(b["req_ids"]), sorted(REAL[n]))
            self.assertEqual(dict(zip(b["req_ids"], b["num_tokens"])), REAL[n])
            self.assertEqual(dict(zip(b["req_ids"], b["num_computed"])), {r: sum(x.get(r, 0) for x in REAL[:n]) for r in REAL[n]})
        self.lint(s)
        return f


class StandIns(Case):
    """The classes that stand for vLLM: every path."""

    def test_runners(self):
        for make, runner in ((StandInV1, "v1"), (StandInV1Split, "v1"), (StandInV2, "v1")):
            with self.subTest(make.__name__), stand_in(make) as plain:
                want = self.serve(plain)
            il_capture._vllm_patched = False
            os.environ["IL_CAPTURE_RUN_ID"] = make.__name__
            self.configure(log_step_ids=[])
            with self.subTest(make.__name__), stand_in(make) as w:
                got = self.serve(w)
                self.assertTrue(base.same(got, want))
                self.held(self.path(make.__name__), runner=runner)
            del os.environ["IL_CAPTURE_CONFIG"]

    def test_chosen_steps_and_their_logits(self):
        for make in (StandInV1, StandInV1Split, StandInV2):
            il_capture._vllm_patched = False
            os.environ["IL_CAPTURE_RUN_ID"] = make.__name__
            self.configure()
            with stand_in(make) as w:
                self.serve(w, between=lambda: None)
                self.held(self.path(make.__name__), steps=(0,))
                self.assertEqual(w.worker.__dict__["_il_capture"].capture.handles, [])

    def test_the_end_comes_with_the_last_step(self):
        """A server that goes idle after it has a whole session."""
        self.configure()
        with stand_in(StandInV2) as w:
            w.init_worker()
            w.init_device()
            w.load_model()
            with torch.inference_mode():
                w.compile_or_warm_up_model()
                w.execute_model(Output(REAL[0]))
                w.sample_tokens(None)
            w.worker.__dict__["_il_capture"].capture.wait(5)
            self.held(self.path("run"), steps=(0,))

    def test_warm_up_outside_of_start_up(self):
        """A safety net, which tells."""
        self.configure(log_step_ids=[])
        with stand_in(StandInV2) as w:
            def warm():
                w.execute_model(Output({"_v2_mixed_warmup_decode_": 2}))
                w.sample_tokens(None)
            self.serve(w, between=warm)
            self.held(self.path("run"))
        self.assertIn("_v2_mixed_warmup_decode_ is taken for a warm-up", self.said.getvalue())

    def test_refused(self):
        for change, env, message in [
            (lambda c: setattr(c, "model_config", vllm_config(eager=False).model_config) or setattr(c, "compilation_config", vllm_config(eager=False).compilation_config), {}, "start with --enforce-eager"),
            (lambda c: setattr(c.parallel_config, "enable_dbo", True), {}, "start without --enable-dbo"),
            (lambda c: None, {"VLLM_GPU_SYNC_CHECK": "error"}, "VLLM_GPU_SYNC_CHECK=error"),
        ]:
            il_capture._vllm_patched = False
            self.configure(log_step_ids=[])
            with mock.patch.dict(os.environ, env), stand_in(StandInV1) as w:
                w.init_worker()
                change(w.worker.vllm_config)
                self.assertEqual(len(self.serve(w)), 3)
            self.assertIn(message, self.said.getvalue())
            self.assertIn("NOTHING WILL BE CAPTURED", self.said.getvalue())
        self.assertEqual(os.listdir(self.dir), [])

    def test_wrong_config(self):
        """A typo stops no server."""
        os.environ["IL_CAPTURE_CONFIG"] = '{"log_step_id": []}'
        with stand_in(StandInV1) as w:
            self.assertEqual(len(self.serve(w)), 3)
        self.assertIn("unknown key 'log_step_id'", self.said.getvalue())

    def test_dummy_runs_in_a_window(self):
        """Each of the tests that tell a dummy run, alone."""
        self.configure(log_step_ids=[])
        with stand_in(StandInV2) as w:
            self.serve(w, between=lambda: w.worker.model_runner.execute_model(Output({"q": 1}), dummy_run=True))
            self.held(self.path("run"))
        il_capture._vllm_patched = False
        os.environ["IL_CAPTURE_RUN_ID"] = "inside"

        class Inside(StandInV1):
            def execute_model(self, scheduler_output, intermediate_tensors=None):
                if scheduler_output.total_num_scheduled_tokens:
                    self._dummy_run(1)
                return super().execute_model(scheduler_output)
        with stand_in(Inside) as w:
            self.serve(w)
            self.held(self.path("inside"))

    def test_a_full_disk(self):
        with stand_in(StandInV2) as plain:
            want = self.serve(plain)
        self.configure(log_step_ids=[], min_free_bytes=1 << 60)
        with stand_in(StandInV2) as w:
            self.assertTrue(base.same(self.serve(w), want))
        self.assertEqual(base.session(self.path("run"))["status"], "stopped")

    def test_a_hook_raises(self):
        with stand_in(StandInV2) as plain:
            want = self.serve(plain)
        self.configure(log_step_ids=[])
        with mock.patch.object(il_capture, "leaves", side_effect=KeyError("planted")), stand_in(StandInV2) as w:
            self.assertTrue(base.same(self.serve(w), want))
        self.assertEqual(base.session(self.path("run"))["status"], "failed")

    def test_the_engine_raises(self):
        """Its exception passes, and the next forward is recorded."""
        self.configure(log_step_ids=[])
        with stand_in(StandInV2) as w:
            def fail():
                with self.assertRaises(RuntimeError), mock.patch.object(w.worker.model_runner.model.model.norm, "forward", side_effect=RuntimeError("planted")):
                    w.execute_model(Output({"c": 2}))
            self.serve(w, start=fail)
        got = base.session(self.path("run"))
        self.assertEqual(([x["step"] for x in got["steps"]], got["incomplete"]["steps_cut"]), ([1, 2, 3], 1))

    def test_front_end(self):
        """EngineArgs are made eager; the run id is new for every engine unless it was given."""
        del os.environ["IL_CAPTURE_RUN_ID"]
        self.configure()
        with stand_in(StandInV1):
            il_capture.vllm_plugin()
            args = sys.modules["vllm.engine.arg_utils"].EngineArgs
            self.assertTrue(args().create_engine_config())
            first = os.environ["IL_CAPTURE_RUN_ID"]
            args().create_engine_config()
            self.assertNotEqual(first, os.environ["IL_CAPTURE_RUN_ID"])
        il_capture._vllm_patched = False
        os.environ["IL_CAPTURE_EAGER"] = "0"
        with stand_in(StandInV1):
            il_capture.vllm_plugin()
            self.assertFalse(sys.modules["vllm.engine.arg_utils"].EngineArgs().create_engine_config())

    def test_ray_without_the_variable(self):
        del os.environ["IL_CAPTURE_RUN_ID"]
        self.configure()
        names = []
        for _ in range(2):
            il_capture._vllm_patched = False
            with stand_in(StandInV1) as w:
                w.init_worker()
                w.init_device()
                w.load_model()
                names.append(w.worker.__dict__["_il_capture"].capture.dir)
        self.assertEqual(*names)

    def test_extension(self):
        """il_start and il_stop on a worker that was not hooked at its start, and waiting for il_start."""
        with stand_in(StandInV2) as w:
            w.init_worker()
            w.worker.__class__ = type("Worker", (StandInWorker, il_capture.WorkerExtension), {})
            said = []

            def start():
                self.assertEqual(json.loads(w.il_status())["status"], "idle")
                self.assertIn("unknown key", json.loads(w.il_start('{"x": 1}'))["error"])
                said.append(json.loads(w.il_start('{"log_step_ids": [], "run_id": "mine"}')))
                self.assertIn("is going on", json.loads(w.il_start())["error"])
            self.serve(w, start=start)
            got = json.loads(w.il_stop())
            self.assertEqual((got["status"], got["steps_recorded"], got["session"]), ("complete", 3, self.path("mine")))
            self.held(self.path("mine"))
            again = json.loads(w.il_start())
            self.assertEqual(again["session"], self.path("run-2"))
            w.il_stop()
        il_capture._vllm_patched = False
        self.configure(log_step_ids=[])
        with mock.patch.dict(os.environ, {"IL_CAPTURE_START": "rpc", "IL_CAPTURE_RUN_ID": "rpc"}), stand_in(StandInV1) as w:
            w.init_worker()
            w.worker.__class__ = type("Worker", (StandInWorker, il_capture.WorkerExtension), {})
            self.serve(w, start=lambda: self.assertFalse(os.path.exists(self.path("rpc"))))
            self.assertFalse(os.path.exists(self.path("rpc")))

    def test_entry_points(self):
        """The folder serves both engines without pip."""
        code = "from importlib.metadata import entry_points as e; print(sorted((p.group, p.value, callable(p.load())) for g in ('vllm.general_plugins', 'sglang.srt.plugins') for p in e(group=g)))"
        r = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": HERE}, capture_output=True, text=True, cwd=self.dir)
        self.assertEqual(r.stdout.strip(), "[('sglang.srt.plugins', 'il_capture:sglang_plugin', True), ('vllm.general_plugins', 'il_capture:vllm_plugin', True)]", r.stderr)


# ---- vLLM's own classes ---------------------------------------------------------------------------------------

class Buffer:
    """A buffer of the runner's, with a row a token."""

    def __init__(self, get):
        self.get = get

    gpu = cpu = property(lambda self: self)

    def __getitem__(self, k):
        return self.get(k.stop if isinstance(k, slice) else k)


class Sampler(Anything):
    def __init__(self, sample):
        self.sample = sample

    def __call__(self, logits=None, *a, **k):
        return self.sample(logits)


class RealVLLM:
    """WorkerWrapperBase, Worker and a runner of a source tree, with the state that a CPU can give them."""

    def __init__(self, second):
        self.second = second
        one = types.SimpleNamespace(is_first_rank=True, is_last_rank=True, world_size=1, rank_in_group=0, ranks=[0])
        self.names = {
            "VLLM_PLUGINS": None, "get_pp_group": lambda: one, "get_tp_group": lambda: one, "TYPE_CHECKING": False, "SchedulerOutput": Output, "EMPTY_MODEL_RUNNER_OUTPUT": Made(),
            "IntermediateTensors": type("IntermediateTensors", (), {}), "resolve_obj_by_qualname": self.resolve, "cdiv": lambda a, b: -(-a // b), "has_kv_transfer_group": lambda: False,
            "MultiModalKwargs": types.SimpleNamespace(as_kwargs=lambda k, **_: dict(k)), "dispatch_cg_and_sync_dp": self.dispatch, "GiB_bytes": 1 << 30,
            "ModelRunnerOutput": Made, "AsyncOutput": lambda **k: Anything(), "AsyncGPUModelRunnerOutput": lambda **k: Anything(), "InputBatch": types.SimpleNamespace(make_dummy=self.dummy_batch),
            "NewRequestData": type("NewRequestData", (Made,), {"from_request": classmethod(lambda cls, r, **k: cls(req_id=r.request_id))}), "Request": lambda i, *a, **k: types.SimpleNamespace(request_id=i),
            "CachedRequestData": type("CachedRequestData", (Made,), {"make_empty": classmethod(lambda cls: cls())}), "GrammarOutput": Made, "maybe_create_ubatch_slices": lambda *a: (None, None),
            "round_up": lambda a, b: -(-a // b) * b, "record_function_or_nullcontext": lambda *a: contextlib.nullcontext(), "build_slot_mappings_by_layer": lambda *a: {},
            "get_cudagraph_and_dp_padding": lambda n, *a: (n, None, 0), "supports_dynamo": lambda: True, "init_logger": lambda name: Anything(), "plugins_loaded": False, "set_forward_context": lambda *a, **k: contextlib.nullcontext(),
            "pcp_manager": Lenient(maybe_restore_pcp_for_sampling=lambda m, h, b: (h, b)), "get_num_sampled_and_rejected": lambda *a: (torch.ones(1), torch.zeros(1))}

    def resolve(self, name):
        return il_capture.WorkerExtension if name.startswith("il_capture") else self.worker_class()

    def dispatch(self, *a, **k):
        n = next(x for x in a[2:] if isinstance(x, int))
        desc = Lenient(num_tokens=n, num_reqs=None, cg_mode=types.SimpleNamespace(name="NONE"))
        return desc, None

    def dummy_batch(self, num_reqs, num_tokens, buffers, *a):
        return types.SimpleNamespace(req_ids=["_dummy"], num_reqs=num_reqs, num_tokens=num_tokens, num_tokens_after_padding=num_tokens, input_ids=torch.zeros(num_tokens, dtype=torch.int32),
                                     positions=torch.arange(num_tokens), logits_indices=torch.tensor([num_tokens - 1]), is_padding=None, num_scheduled_tokens=[num_tokens])

    def worker_class(self):
        runner = self.runner_class()
        worker = importlib.import_module("vllm.v1.worker.gpu_worker").Worker

        def init(w, vllm_config=None, **k):
            w.vllm_config, w.rank, w.local_rank, w.device, w._pp_send_work, w.profiler = vllm_config, 0, 0, torch.device("cpu"), [], None
            for n in ("model_config", "parallel_config", "scheduler_config", "cache_config", "compilation_config", "lora_config", "speculative_config", "observability_config"):
                setattr(w, n, getattr(vllm_config, n))
            w.use_v2_model_runner = self.second

        def init_device(w):
            w.model_runner = runner()
            r = w.model_runner
            r.vllm_config = w.vllm_config
            for n in ("model_config", "parallel_config", "scheduler_config", "cache_config", "compilation_config", "lora_config", "speculative_config"):
                setattr(r, n, getattr(w.vllm_config, n))
            self.fill(r)
        return lenient(worker, __init__=init, init_device=init_device, determine_available_memory=lambda w: w.model_runner.profile_run(), shutdown=lambda w: None)

    def runner_class(self):
        name = "vllm.v1.worker.gpu.model_runner" if self.second else "vllm.v1.worker.gpu_model_runner"
        return lenient(importlib.import_module(name).GPUModelRunner, load_model=lambda r, *a, **k: setattr(r, "model", Model()))

    def fill(self, r):
        """The runner's state."""
        q = self.requests = Requests()
        ns, cpu = types.SimpleNamespace, torch.device("cpu")
        r.device, r.dtype, r.max_num_tokens, r.max_num_reqs, r.max_model_len = cpu, torch.float32, 8, 2, 128
        r.dp_size, r.dp_rank, r.is_last_pp_rank, r.is_first_pp_rank = 1, 0, True, True
        r.execute_model_state = r.kv_connector_output = r.intermediate_tensors = None
        r.uniform_decode_query_len = r.decode_query_len = 1
        r.requests, r.num_prompt_logprobs, r.attn_groups, r.num_speculative_steps = {}, {}, [], 0
        r.kv_cache_config = ns(kv_cache_groups=[], num_blocks=100)
        r.maybe_dummy_run_with_lora = lambda *a, **k: contextlib.nullcontext()
        r.maybe_randomize_inputs = r.synchronize_input_prep = lambda *a, **k: contextlib.nullcontext()
        r._dummy_sampler_run = lambda hidden_states=None, *a, **k: r.model.compute_logits(hidden_states)
        sampled = lambda logits, *a, **k: ns(logits=logits, sampled_token_ids=logits.argmax(-1, keepdim=True), logprobs_tensors=None, num_sampled=torch.ones(1), num_rejected=torch.zeros(1))  # noqa: E731
        r.sampler = Sampler(lambda logits: r.__dict__.__setitem__("logits", logits) or sampled(logits))
        if self.second:
            r.is_encoder_only = r.is_encoder_decoder = r.supports_mm_inputs = r.is_pooling_model = False
            r.pooling_runner = r.speculator = r.pp_handler = r.rejection_sampler = r.kv_block_zeroer = r.routed_experts_capturer = r.pcp_manager = None
            r.use_aux_hidden_state_outputs = r.do_spec_decode = False
            r.model_state = Lenient(prepare_inputs=lambda *a: {}, prepare_attn=lambda *a, **k: {"layer": 1}, preprocess_state=lambda *a: None, postprocess_state=lambda *a: None, max_encoder_len=0)
            r.prepare_attn = r.prepare_dummy_attn = lambda b: ((), torch.zeros(1))
            r.cudagraph_manager = ns(get_cudagraph_runtime_mode=lambda num_reqs, num_tokens, max_query_len: (ns(value=0), num_tokens))
            r.capture_model = lambda: 0
            for n in ("finish_requests", "free_states", "add_requests", "update_requests", "postprocess", "postprocess_sampled"):  # the states of requests, which Requests keeps
                setattr(r, n, lambda *a, **k: None)

            def prepare_inputs(output, *a):
                ids, positions, order = q.rows(output)
                ends = torch.tensor([n for _, n, _ in order]).cumsum(0) - 1
                return Lenient(req_ids=[x for x, _, _ in order], num_scheduled_tokens=[n for _, n, _ in order], num_computed_tokens_np=[c for _, _, c in order], num_tokens=len(ids), num_reqs=len(order),
                          num_tokens_after_padding=len(ids), input_ids=ids, positions=positions, logits_indices=ends, num_draft_tokens=0, is_padding=None, idx_mapping=None, idx_mapping_np=None, query_start_loc=None,
                          has_structured_output_reqs=False)
            r.prepare_inputs = prepare_inputs
            r.prompt_logprobs_worker = Lenient(compute_prompt_logprobs=lambda *a, **k: {})
            return
        state = {}

        def update_states(output):
            ids, positions, order = q.rows(output) if output.total_num_scheduled_tokens else (torch.zeros(0), torch.zeros(0), [])
            state.update(ids=ids, positions=positions, order=order)
            r.input_batch = ns(req_ids=[x for x, _, _ in order], num_reqs=len(order), num_computed_tokens_cpu=[c for _, _, c in order], pooling_params={}, sampling_metadata=Anything(), generators={},
                               req_id_to_index={}, num_tokens_no_spec=[0] * 9, num_tokens=[0] * 9, token_ids_cpu=Anything(), vocab_size=50, prev_sampled_token_ids=None)
            r.requests = {x: ns(num_computed_tokens=c, num_tokens=c + n, output_token_ids=[]) for x, n, c in order}
        r._update_states = update_states
        ends = lambda: torch.tensor([n for _, n, _ in state["order"]]).cumsum(0) - 1  # noqa: E731
        r.state, r.ends = state, ends
        dummy = lambda n: torch.zeros(n, dtype=torch.int32)  # noqa: E731
        r.input_ids = Buffer(lambda n: state["ids"][:n] if len(state.get("ids", ())) == n else dummy(n))
        r.positions = Buffer(lambda n: state["positions"][:n] if len(state.get("positions", ())) == n else torch.arange(n))
        r._get_prompt_logprobs_dict = lambda *a, **k: {}
        r.get_dp_padding = lambda n, *a: (0, None)
        r.use_cuda_graph = r.is_multimodal_model = r.uses_mrope = r.full_cuda_graph = r.use_aux_hidden_state_outputs = r.broadcast_pp_output = r.is_pooling_model = False
        r.supports_mm_inputs = r.cascade_attn_enabled = r.uses_xdrope_dim = r.uses_custom_attention_masks = r.model_config.is_encoder_decoder
        r.enable_prompt_embeds = r.use_async_scheduling = False
        r.eplb_state = r.drafter = None
        r.get_finished_kv_transfers = lambda *a: (None, None)


class Made:
    """A record of what it is given."""

    def __init__(self, *a, **k):
        self.__dict__.update(k)

    def __getattr__(self, name):
        return Anything().__getattr__(name)

    @classmethod
    def with_kv_conn_output_only(cls, x):
        return cls()


def trees(variable):
    return [t for t in os.environ.get(variable, "").split(":") if t]


@contextlib.contextmanager
def no_device():
    """Waiting for a device that is not there is nothing."""
    with contextlib.ExitStack() as stack:
        for name in ("torch.cuda.synchronize", "torch.cuda.empty_cache", "torch.accelerator.synchronize", "torch.accelerator.empty_cache", "torch.cuda.current_stream"):
            with contextlib.suppress(AttributeError):
                stack.enter_context(mock.patch(name, lambda *a: None))
        yield


VLLM_REAL = ("vllm.plugins", "vllm.v1.worker.worker_base", "vllm.worker.worker_base", "vllm.v1.worker.gpu_worker", "vllm.v1.worker.gpu_model_runner", "vllm.v1.worker.gpu.model_runner", "vllm.v1.worker.gpu.warmup")


@unittest.skipUnless(trees("VLLM_SRC"), "VLLM_SRC names no source tree of vLLM")
class OwnVLLM(Case):
    def test_runners(self):
        for tree in trees("VLLM_SRC"):
            for second in (False, True):
                if second and not os.path.isfile(os.path.join(tree, "vllm", "v1", "worker", "gpu", "warmup.py")) and not os.path.isfile(os.path.join(tree, "vllm", "v1", "worker", "gpu", "model_runner.py")):
                    continue
                name = f"{os.path.basename(tree.rstrip('/'))}-{'v2' if second else 'v1'}"
                with self.subTest(name):
                    os.environ.pop("IL_CAPTURE_CONFIG", None)
                    want = self.life(tree, second)
                    os.environ["IL_CAPTURE_RUN_ID"] = name
                    self.configure(log_step_ids=[])
                    got = self.life(tree, second)
                    self.assertEqual(len(got), 3)
                    self.assertTrue(base.same(got, want))
                    self.held(self.path(name), runner="v2" if second else "v1")
                    print(f"  {name}: real forwards alone, {len(base.files(self.path(name)))} files", file=sys.stderr)

    def life(self, tree, second):
        """Start-up and three real steps in the tree's own classes; the logits of each."""
        il_capture._vllm_patched = False
        real = RealVLLM(second)
        with no_device(), Tree(tree, "vllm", VLLM_REAL, real.names):
            wrapper = il_capture.wrapper_class()
            config = vllm_config(ns=Lenient)
            w = wrapper(config, 0) if "vllm_config" in wrapper.__init__.__code__.co_varnames else wrapper()
            w.init_worker([{"vllm_config": config, "shared_worker_lock": None}])  # loads the plugins itself
            self.assertIn(wrapper.__name__, "WorkerWrapperBase")
            out, worker = [], w.worker
            w.init_device()
            w.worker.load_model()
            runner = worker.model_runner
            if not second:
                self.prepare_first(runner)
            with torch.inference_mode():
                worker.determine_available_memory()
                worker.compile_or_warm_up_model()
                for tokens in REAL:
                    with contextlib.suppress(AttributeError):
                        worker.execute_dummy_batch()
                    r = worker.execute_model(Output(tokens))
                    if r is None and hasattr(type(worker), "sample_tokens"):
                        worker.sample_tokens(None)
                    out.append(runner.__dict__["logits"])
                    worker.execute_model(Output())
            worker.shutdown()
            return out

    def prepare_first(self, r):
        """What differs between versions of the first runner."""
        ns = types.SimpleNamespace
        code = type(r).execute_model.__wrapped__.__code__ if hasattr(type(r).execute_model, "__wrapped__") else type(r).execute_model.__code__
        names = set(code.co_names)
        desc = lambda n: ns(num_tokens=n, num_reqs=None, uniform=False, has_lora=False, num_active_loras=0)  # noqa: E731
        mode = ns(name="NONE")
        r._determine_batch_execution_and_padding = lambda num_tokens=0, **k: (mode, desc(num_tokens), False, None, None)
        r._get_slot_mappings = lambda *a, **k: ({}, {})
        r._build_attention_metadata = lambda *a, **k: ({}, None)
        r._preprocess = lambda s, n, *a, **k: (r.state["ids"], None, r.state["positions"], None, {}, None) if "_determine_batch_execution_and_padding" in names else None
        r._prepare_inputs = lambda s, *a: (r.ends(), None)
        r._sample = lambda logits, *a: r.sampler(logits)
        if hasattr(type(r), "_bookkeeping_sync"):
            results = len(inspect.signature(type(r)._bookkeeping_sync).return_annotation.__args__)
            r._bookkeeping_sync = lambda *a, **k: tuple([] for _ in range(results))
        if "attention_cuda_graphs" in code.co_varnames:  # v0.10.0
            r._prepare_inputs = lambda s: ({}, True, r.ends(), None, None, None)
        elif "_determine_batch_execution_and_padding" not in names:  # v0.11.0
            r._prepare_inputs = lambda s: ({}, r.ends(), None, None, None, 1, None, None)
            r._preprocess = lambda s, *a: (s.total_num_scheduled_tokens, s.total_num_scheduled_tokens, None, r.state["ids"], None, r.state["positions"], None, {})
            r.cudagraph_dispatcher = ns(dispatch=lambda *a: (mode, desc(1)))
            r.maybe_get_kv_connector_output = lambda *a, **k: contextlib.nullcontext()


# ---- SGLang ---------------------------------------------------------------------------------------------------

class Mode:
    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        return lambda *a, **k: name == f"is_{self.name}"


class ForwardBatch:
    def __init__(self, mode, requests):
        """requests: (id, tokens, computed) of each."""
        self.forward_mode, self.rids = Mode(mode), [r for r, _, _ in requests]
        self.seq_lens = self.seq_lens_cpu = torch.tensor([n + c for _, n, c in requests])
        self.extend_seq_lens_cpu = [n for _, n, _ in requests] if mode == "extend" else None
        self.positions = torch.cat([torch.arange(c, c + n) for _, n, c in requests]) if requests else torch.zeros(1, dtype=torch.int64)
        self.input_ids = (self.positions * 3) % 50
        self.global_num_tokens_cpu = None

    def __repr__(self):
        raise RuntimeError("an engine's object was printed")

    apply_deprecated_skip_attn_backend_init = prepare_attn_tp_scatter_input = lambda self, x: None
    num_token_non_padded = global_num_tokens_gpu = None


class SGLayer(torch.nn.Module):
    def __init__(self, n):
        super().__init__()
        self.norm, self.mlp = base.Norm(n), base.Packed(n, n)

    def forward(self, positions, hidden_states, forward_batch, residual):
        if residual is None:
            residual, hidden_states = hidden_states.clone(), self.norm(hidden_states)
        else:
            hidden_states, residual = self.norm(hidden_states, residual)
        return self.mlp(hidden_states)[0], residual


class LlamaModel(torch.nn.Module):
    def __init__(self, n=16):
        super().__init__()
        self.embed_tokens, self.layers = torch.nn.Embedding(50, n), torch.nn.ModuleList(SGLayer(n) for _ in range(2))

    def forward(self, input_ids, positions, forward_batch, input_embeds=None):
        hidden_states, residual = self.embed_tokens(input_ids), None
        for layer in self.layers:
            hidden_states, residual = layer(positions, hidden_states, forward_batch, residual)
        return hidden_states + residual


LogitsOutput = __import__("dataclasses").make_dataclass("LogitsProcessorOutput", [("next_token_logits", object), ("hidden_states", object, None)])


class LogitsProcessor(torch.nn.Module):
    def forward(self, input_ids, hidden_states, lm_head, forward_batch):
        return LogitsOutput(hidden_states[-1:] @ lm_head.weight.T)


class SGModel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.model, self.lm_head, self.logits_processor = LlamaModel(), torch.nn.Linear(16, 50, bias=False), LogitsProcessor()

    @torch.no_grad()
    def forward(self, input_ids, positions, forward_batch):
        return self.logits_processor(input_ids, self.model(input_ids, positions, forward_batch), self.lm_head, forward_batch)


BATCHES = [ForwardBatch("extend", [("x", 3, 0), ("y", 2, 0)]), ForwardBatch("idle", []), ForwardBatch("decode", [("x", 1, 3), ("y", 1, 2)])]


class StandInRunner:
    """ModelRunner: it calls the model's forward, not the model."""
    is_draft_worker, tp_rank, tp_size, pp_rank, pp_size = False, 0, 1, 0, 1
    server_args = types.SimpleNamespace(disable_cuda_graph=True, model_path="/models/tiny", dp_size=1)

    def load_model(self):
        self.model = SGModel()

    def forward(self, forward_batch, *args):
        return self.model.forward(forward_batch.input_ids, forward_batch.positions, forward_batch).next_token_logits


class SGLang(Case):
    def held(self, s):
        got = base.session(s)
        self.assertEqual((got["status"], got["engine"]["runner"], got["run"]["logits_lag"], got["run"]["args_removed"]), ("complete", "sglang", 0, ["ForwardBatch"]))
        f = base.files(s)
        self.assertEqual(sorted({x.split("/")[0] for x in f}), ["step_0", "step_1"])
        self.assertEqual(f["step_0/logits_processor/outputs_cpu.pt"].shape, (1, 50))
        self.assertIn("step_0/logits_processor/inputs_1_cpu.pt", f)
        self.assertNotIn("step_0/logits_processor/inputs_0_cpu.pt", f)
        self.assertIn("step_1/model.layers.1/inputs_2_cpu.pt", f)  # the residual, as in vLLM
        self.assertEqual([json.loads(x)["num_tokens"] for x in base.lines(s, "batches.jsonl")], [[3, 2], [1, 1]])
        self.assertEqual([json.loads(x)["num_computed"] for x in base.lines(s, "batches.jsonl")], [[0, 0], [3, 2]])
        self.lint(s)

    def test_stand_in(self):
        def life(runner):
            load, forward = StandInRunner.load_model, StandInRunner.forward
            il_capture.sglang_load_model(load, runner)
            out = [il_capture.sglang_forward(forward, runner, b) for b in BATCHES]
            cap = runner.__dict__.get("_il_capture")
            if cap:
                cap.close()
                cap.wait()
            return out
        self.configure(enabled=False)
        want = life(StandInRunner())
        self.configure(log_step_ids=[])
        self.assertTrue(base.same(life(StandInRunner()), want))
        self.held(self.path("run"))
        draft = StandInRunner()
        draft.is_draft_worker = True
        il_capture.sglang_load_model(StandInRunner.load_model, draft)
        self.assertIsNone(draft.__dict__.get("_il_capture"))

    @unittest.skipUnless(trees("SGLANG_SRC"), "SGLANG_SRC names no source tree of SGLang")
    def test_own_classes(self):
        for tree in trees("SGLANG_SRC"):
            name = os.path.basename(os.path.dirname(tree.rstrip("/")) if tree.rstrip("/").endswith("python") else tree.rstrip("/"))
            plugins = os.path.isdir(os.path.join(tree, "sglang", "srt", "plugins"))
            with self.subTest(name):
                for how in (["plugin"] if plugins else []) + ["forward-hooks"]:
                    os.environ["IL_CAPTURE_RUN_ID"] = f"{name}-{how}"
                    os.environ.pop("IL_CAPTURE_CONFIG", None)
                    want = self.life(tree, None)
                    got = self.life(tree, how)
                    self.assertTrue(base.same(got, want))
                    s = self.path(f"{name}-{how}")
                    if how == "plugin":
                        self.held(s)
                    else:  # a hook behind the forward: the first is lost
                        f = base.files(s)
                        self.assertEqual(sorted({x.split("/")[0] for x in f}), ["step_0"])
                        self.assertEqual(f["step_0/model.embed_tokens/inputs_0_cpu.pt"].shape, (2,))
                        self.assertEqual(f["step_0/logits_processor/outputs_cpu.pt"].shape, (1, 50))
                    print(f"  {name}, {how}: real forwards alone, {len(base.files(s))} files", file=sys.stderr)

    def life(self, tree, how):
        real = ("sglang.srt.plugins", "sglang.srt.plugins.hook_registry", "sglang.srt.model_executor.model_runner", "sglang.srt.model_executor.hook_manager", "sglang.srt.environ")[:4]
        names = {"envs": types.SimpleNamespace(SGLANG_PLUGINS=types.SimpleNamespace(get=lambda: ""), SGLANG_PLATFORM=types.SimpleNamespace(get=lambda: "")),
                 "has_forward_context": lambda: False, "get_global_expert_distribution_recorder": lambda: types.SimpleNamespace(with_forward_pass=lambda *a: contextlib.nullcontext({})),
                 "get_schedule": lambda: types.SimpleNamespace(disable_overlap_schedule=False), "get_global_experts_capturer": lambda: None, "get_global_indexer_capturer": lambda: None,
                 "get_exec": lambda: types.SimpleNamespace(moe=types.SimpleNamespace(elastic_ep_backend=None)), "profile_range": lambda *a: contextlib.nullcontext(), "get_global_dwdp_manager": lambda: None,
                 "forward_context": lambda *a: contextlib.nullcontext(), "ForwardContext": Anything(), "dumper": types.SimpleNamespace(may_enable=False), "EagerRunner": type("EagerRunner", (), {})}
        with Tree(tree, "sglang", real, names):
            if how == "plugin":
                self.configure(log_step_ids=[])
                plugins = importlib.import_module("sglang.srt.plugins")
                module = importlib.import_module("sglang.srt.model_executor.model_runner")
                plugins.load_plugins()  # finds our entry point by itself
            module = importlib.import_module("sglang.srt.model_executor.model_runner")
            cls = module.ModelRunner
            if not hasattr(cls.load_model, "__wrapped__"):
                pass
            runner = lenient(cls)()
            run = lambda b, **k: runner.model.forward(b.input_ids, b.positions, b)  # noqa: E731
            runner.is_draft_worker, runner.device, runner.forward_pass_id, runner.graph_runner = False, "cuda", 0, None
            for n in ("msprobe_debugger", "canary_manager", "eplb_manager", "decode_cuda_graph_runner", "prefill_cuda_graph_runner", "hisparse_coordinator", "piecewise_cuda_graph_runner"):
                setattr(runner, n, None)
            runner.tp_rank = runner.pp_rank = 0
            runner.tp_size = runner.pp_size = 1
            runner.server_args = types.SimpleNamespace(disable_cuda_graph=True, dp_size=1, model_path="/models/tiny", attention_backend="torch_native")
            runner.eager_runner = types.SimpleNamespace(execute=run)
            runner.forward_decode = runner.forward_extend = runner.forward_idle = run
            runner.pp_group = types.SimpleNamespace(is_last_rank=True)
            runner._prepare_eager_forward_batch = runner._maybe_execute_deferred_mamba_cow_and_clear = lambda *a: None
            self.load(cls, runner)
            if how == "forward-hooks":
                manager = importlib.import_module("sglang.srt.model_executor.hook_manager")
                il_capture._FACTORIES.clear()
                manager.register_forward_hooks(runner.model, [{"name": "il", "target_modules": ["model", "logits_processor"], "hook_factory": "il_capture:sglang_factory",
                                                               "config": {"log_step_ids": []}, "hook_type": "forward", "with_kwargs": True}])
            out = []
            for b in BATCHES:
                r = runner.forward(b)
                r = getattr(r, "logits_output", r[0] if isinstance(r, tuple) else r)
                out.append(getattr(r, "next_token_logits", r))
            for cap in list(il_capture._LIVE):
                cap.close()
                cap.wait()
            return out

    def load(self, cls, runner):
        """load_model through SGLang's own wrapper of it, where there is one; its body needs a checkpoint."""
        wrapper = cls.__dict__["load_model"]
        runner.model = SGModel()
        if hasattr(wrapper, "__wrapped__") and wrapper.__closure__:
            original = next(c for c, n in zip(wrapper.__closure__, wrapper.__code__.co_freevars) if n == "original_fn")
            real, original.cell_contents = original.cell_contents, lambda self: None
            try:
                runner.load_model()
            finally:
                original.cell_contents = real


if __name__ == "__main__":
    unittest.main()
