"""vLLM's modules in plain PyTorch on a CPU, written from vLLM's sources.

What several families of models share stands here; a family's own modules stand in its models_*.py.
"""
import torch

A = torch.bfloat16


class Trace:
    """Modules in bfloat16 with the rounding points of vLLM's kernels in an era, "vllm-2025"
    or "vllm-2026". Each call keeps copies of its arguments and results."""

    def __init__(self, config, weights, era):
        self.config, self.weights, self.era, self.tensors = config, weights, era, {}

    def call(self, name, f, *args):
        for i, x in enumerate(args):
            if x is not None:
                self.tensors[f"{name}.inputs.{i}"] = x.clone()
        out = f(*args)
        for i, x in enumerate(out if isinstance(out, tuple) else (out,)):
            if x is not None:
                self.tensors[f"{name}.outputs.{i}"] = x.clone()
        return out

    def linear(self, name, x, *parts):
        w = torch.cat([self.weights[p + ".weight"] for p in parts])
        return self.call(name, lambda x: (x.float() @ w.float().T).to(A), x)

    def norm(self, name, x):  # csrc/layernorm_kernels.cu: one rounding before the weight, one after
        def f(x):
            x = x.float()
            x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
            return x.to(A) * self.weights[name + ".weight"]
        return self.call(name, f, x)

    def rotate(self, name, positions, q, k):  # csrc/pos_encoding_kernels.cu: products and sums in bfloat16
        d = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        inv = 1.0 / 10000.0 ** (torch.arange(0, d, 2).float() / d)
        angles = positions.float()[:, None] * inv
        cos, sin = angles.cos().to(A)[:, None], angles.sin().to(A)[:, None]

        def f(positions, q, k):
            out = []
            for x in (q, k):
                x, y = x.view(len(positions), -1, d).chunk(2, dim=-1)
                out.append(torch.cat([x * cos - y * sin, y * cos + x * sin], dim=-1).flatten(1))
            return tuple(out)
        return self.call(name, f, positions, q, k)

    def attend(self, name, q, k, v):  # FlashAttention: scores in float32, weights rounded where they meet the values
        n = self.config.num_attention_heads

        def f(q, k, v):
            d = q.shape[1] // n
            q, k, v = (x.view(len(q), -1, d).transpose(0, 1).float() for x in (q, k, v))
            k, v = (x.repeat_interleave(n // len(x), dim=0) for x in (k, v))
            s = (q @ k.transpose(1, 2)).masked_fill(torch.ones(q.shape[1], q.shape[1]).triu(1).bool(), -torch.inf)
            p = ((s - s.amax(-1, keepdim=True)) * d ** -0.5).exp()
            out = (p.to(A).float() @ v) / p.sum(-1, keepdim=True)
            return out.to(A).transpose(0, 1).flatten(1)
        return self.call(name, f, q, k, v)

    def silu_and_mul(self, name, x):  # csrc/activation_kernels.cu
        def f(x):
            gate, up = x.chunk(2, dim=-1)
            return torch.nn.functional.silu(gate.float()).to(A) * up
        return self.call(name, f, x)

    def mlp(self, n, x):
        x = self.silu_and_mul(n + ".act_fn", self.linear(n + ".gate_up_proj", x, n + ".gate_proj", n + ".up_proj"))
        return self.linear(n + ".down_proj", x, n + ".down_proj")
