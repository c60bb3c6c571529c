"""Runs the writers themselves on a small model with SGLang's call conventions, on torch's CPU build, so that what they
leave can be compared: ildiff OUT/dumper OUT/msprobe, OUT/pass OUT/msprobe, OUT/dumper OUT/pass must be equal at 100 %.

    python real.py SGLANG MSPROBE OUT       checkouts of sgl-project/sglang and Ascend/msprobe; what they import and is not there is stubbed

Run with sglang of 2026-04-25 (dumper.py), 2026-03-29 (tensor_dump_forward_hook.py) and msprobe 8ff00da3.
"""

import dataclasses
import importlib.machinery
import json
import os
import shutil
import sys
import types
from unittest.mock import MagicMock

import torch
import torch._dynamo
from torch import nn

H, I, V, L = 32, 48, 100, 3


@dataclasses.dataclass
class ForwardBatch:
    forward_mode: int
    input_ids: torch.Tensor
    positions: torch.Tensor
    seq_lens: torch.Tensor
    req_pool_indices: torch.Tensor
    rids: list


@dataclasses.dataclass
class LogitsProcessorOutput:
    next_token_logits: torch.Tensor
    hidden_states: object = None


class PPProxyTensors:
    pass


def weight(*shape):
    return nn.Parameter(torch.randn(*shape) * 0.1, requires_grad=False)


class ParallelLinear(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.weight = weight(o, i)

    def forward(self, x):
        return x @ self.weight.T, None


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = weight(H)

    def forward(self, x, residual=None):
        s = x if residual is None else x + residual
        y = s * torch.rsqrt(s.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight
        return y if residual is None else (y, s)


class RotaryEmbedding(nn.Module):
    def forward(self, positions, q, k):
        return q * positions[:, None].cos(), k * positions[:, None].cos()


class RadixAttention(nn.Module):
    def forward(self, q, k, v, forward_batch):
        return q + v.mean(0)


class SiluAndMul(nn.Module):
    def forward(self, x):
        gate, up = x.chunk(2, -1)
        return nn.functional.silu(gate) * up


class LlamaAttention(nn.Module):
    def __init__(self, rope):
        super().__init__()
        self.qkv_proj, self.o_proj, self.rotary_emb, self.attn = ParallelLinear(H, 3 * H), ParallelLinear(H, H), rope, RadixAttention()

    def forward(self, positions, hidden_states, forward_batch):
        q, k, v = self.qkv_proj(hidden_states)[0].split(H, -1)
        q, k = self.rotary_emb(positions, q, k)
        return self.o_proj(self.attn(q, k, v, forward_batch))[0]


class LlamaMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_up_proj, self.down_proj, self.act_fn = ParallelLinear(H, 2 * I), ParallelLinear(I, H), SiluAndMul()

    def forward(self, x, forward_batch=None):
        return self.down_proj(self.act_fn(self.gate_up_proj(x)[0]))[0]


class LlamaDecoderLayer(nn.Module):
    def __init__(self, i, rope):
        super().__init__()
        self.layer_id, self.self_attn, self.mlp, self.input_layernorm, self.post_attention_layernorm = i, LlamaAttention(rope), LlamaMLP(), RMSNorm(), RMSNorm()

    def forward(self, positions, hidden_states, forward_batch, residual):
        if residual is None:
            residual, hidden_states = hidden_states, self.input_layernorm(hidden_states)
        else:
            hidden_states, residual = self.input_layernorm(hidden_states, residual)
        hidden_states = self.self_attn(positions=positions, hidden_states=hidden_states, forward_batch=forward_batch)
        hidden_states, residual = self.post_attention_layernorm(hidden_states, residual)
        return self.mlp(hidden_states, forward_batch), residual


class LlamaModel(nn.Module):
    def __init__(self):
        super().__init__()
        rope = RotaryEmbedding()
        self.embed_tokens, self.layers, self.norm = nn.Embedding(V, H), nn.ModuleList(LlamaDecoderLayer(i, rope) for i in range(L)), RMSNorm()

    def forward(self, input_ids, positions, forward_batch):
        hidden_states, residual = self.embed_tokens(input_ids), None
        for layer in self.layers:
            hidden_states, residual = layer(positions, hidden_states, forward_batch, residual)
        return self.norm(hidden_states, residual)[0]


class LogitsProcessor(nn.Module):
    def forward(self, input_ids, hidden_states, lm_head, forward_batch):
        return LogitsProcessorOutput(hidden_states[-1:] @ lm_head.weight.T)


class LlamaForCausalLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.model, self.lm_head, self.logits_processor = LlamaModel(), ParallelLinear(H, V), LogitsProcessor()

    @torch.no_grad()
    def forward(self, input_ids, positions, forward_batch):
        return self.logits_processor(input_ids, self.model(input_ids, positions, forward_batch), self.lm_head, forward_batch)


def model():
    torch.manual_seed(0)
    return LlamaForCausalLM()


def batches():
    """A prefill and two decodes of one request."""
    seen = 0
    for n in (5, 1, 1):
        positions = torch.arange(seen, seen + n)
        seen += n
        ids = positions * 7 % V
        yield ids, positions, ForwardBatch(1, ids, positions, torch.tensor([seen]), torch.zeros(1, dtype=torch.int64), ["a-request"])


def stub(name, **members):
    """A module that is not there."""
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        n = ".".join(parts[:i])
        if n not in sys.modules:
            sys.modules[n] = types.ModuleType(n)
            if i > 1:
                setattr(sys.modules[".".join(parts[: i - 1])], parts[i - 1], sys.modules[n])
    for k, v in members.items():
        setattr(sys.modules[name], k, v)


def sglang(checkout, out):
    stub("sglang.srt.layers.logits_processor", LogitsProcessorOutput=LogitsProcessorOutput)
    stub("sglang.srt.model_executor.forward_batch_info", ForwardBatch=ForwardBatch, PPProxyTensors=PPProxyTensors)
    stub("sglang.srt.distributed")
    stub("sglang.srt.layers.dp_attention")
    stub("sglang.srt.managers.io_struct", sock_recv=None, sock_send=None)
    try:
        import zmq  # noqa: F401
    except ImportError:
        sys.modules["zmq"] = MagicMock()
    os.environ.update(DUMPER_ENABLE="1", DUMPER_DIR=os.path.join(out, "dumper"), DUMPER_NON_INTRUSIVE_MODE="all", DUMPER_ENABLE_OUTPUT_CONSOLE="0")
    sys.path.insert(0, os.path.join(checkout, "python", "sglang", "srt", "debug_utils"))
    import tensor_dump_forward_hook
    from dumper import dumper

    m = model()
    dumper.register_non_intrusive_dumper(m)
    for b in batches():
        m.forward(*b)
        dumper.step()
    m = model()
    tensor_dump_forward_hook.register_forward_hook_for_model(m, os.path.join(out, "pass"), None, 1, 0, 0)
    for b in batches():
        m(*b)


def msprobe(checkout, out):
    sys.modules["torch.utils.tensorboard"] = types.ModuleType("torch.utils.tensorboard")
    sys.modules["torch.utils.tensorboard"].SummaryWriter = type("SummaryWriter", (), {})
    sys.path.insert(0, os.path.join(checkout, "python"))
    while True:
        try:
            from msprobe.pytorch import PrecisionDebugger
            break
        except ModuleNotFoundError as e:
            m = MagicMock()
            m.__spec__, m.__path__ = importlib.machinery.ModuleSpec(e.name, None), []
            sys.modules[e.name] = m
    config = os.path.join(out, "msprobe.json")
    with open(config, "w") as f:
        json.dump({"task": "tensor", "dump_path": os.path.join(out, "msprobe"), "rank": [], "step": [], "level": "mix", "tensor": {"scope": [], "list": [], "data_mode": ["all"]}}, f)
    m, debugger = model(), PrecisionDebugger(config_path=config)
    for b in batches():
        debugger.start(model=m)
        m(*b)
        debugger.stop()
        debugger.step()


if __name__ == "__main__":
    shutil.rmtree(sys.argv[3], True)
    os.makedirs(sys.argv[3])
    sglang(sys.argv[1], sys.argv[3])
    msprobe(sys.argv[2], sys.argv[3])
