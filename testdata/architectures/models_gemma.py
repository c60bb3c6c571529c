"""Gemma."""
import torch

from make import rope
from models_dense import Dense
from models_moe import ERAS
from trace import A

MODELS = {
    "gemma2": ("Gemma2", dict(rope_parameters=rope("default"), head_dim=12, query_pre_attn_scalar=20, attn_logit_softcapping=3.0, final_logit_softcapping=5.0,
                              sliding_window=9, hidden_activation="gelu_pytorch_tanh")),
    "gemma2-uncapped": ("Gemma2", dict(rope_parameters=rope("default"), head_dim=8, query_pre_attn_scalar=8, attn_logit_softcapping=None, attention_bias=True,
                                       final_logit_softcapping=None, sliding_window=6, layer_types=["full_attention", "full_attention", "sliding_attention"])),
    "gemma3": ("Gemma3Text", dict(rope_parameters={"full_attention": dict(rope_type="linear", factor=8.0, rope_theta=100000.0),
                                               "sliding_attention": dict(rope_type="default", rope_theta=10000.0)},
                              head_dim=12, query_pre_attn_scalar=20, sliding_window=9,
                              layer_types=["sliding_attention", "full_attention", "sliding_attention"], final_logit_softcapping=None)),
    "gemma3-six": ("Gemma3Text", dict(rope_parameters={"full_attention": dict(rope_type="default", rope_theta=1000000.0),
                                                   "sliding_attention": dict(rope_type="default", rope_theta=10000.0)},
                                  head_dim=8, query_pre_attn_scalar=8, sliding_window=5, num_hidden_layers=7, intermediate_size=20, final_logit_softcapping=4.0)),
}


class Gemma(Dense):
    """vLLM v0.10.2 and of August 2026: models/gemma2.py, gemma3.py."""

    def __init__(self, config, weights, era):
        super().__init__(config, weights, era)
        self.seen = {}  # calls of each rope

    def one_plus(self, z, n):
        z = z.float()
        z = z * torch.rsqrt(z.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
        return (z * (1 + self.weights[n + ".weight"].float())).to(A)

    def norm(self, name, x):
        return self.call(name, lambda x: self.one_plus(x, name), x)

    def add_norm(self, name, x, residual):
        def f(x, residual):
            z = x.float() + residual.float()
            return self.one_plus(z.to(A) if self.era == "vllm-2025" else z, name), z.to(A)
        return self.call(name, f, x, residual)

    def gelu_and_mul(self, name, x):
        def f(x):
            gate, up = x.chunk(2, dim=-1)
            return torch.nn.functional.gelu(gate.float(), approximate="tanh").to(A) * up
        return self.call(name, f, x)

    def rope_of(self, i):
        r = self.config.rope_parameters
        if "full_attention" not in r:
            return 0, r["rope_theta"], 1.0
        kind = self.config.layer_types[i]
        return self.config.layer_types.index(kind), r[kind]["rope_theta"], r[kind].get("factor", 1.0)

    def turn(self, i, positions, q, k, d):
        first, theta, factor = self.rope_of(i)
        inv = 1.0 / theta ** (torch.arange(0, d, 2).float() / d)
        angles = positions.float()[:, None] / factor * inv
        cos, sin = angles.cos().to(A)[:, None], angles.sin().to(A)[:, None]
        if self.era != "vllm-2025":
            cos, sin = cos.float(), sin.float()

        def f(positions, q, k):
            out = []
            for x in (q, k):
                a, b = x.view(len(positions), -1, d).to(cos.dtype).chunk(2, dim=-1)
                out.append(torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(A).flatten(1))
            return tuple(out)
        n = self.seen.get(first, 0)
        self.seen[first] = n + 1
        return self.call(f"model.layers.{first}.self_attn.rotary_emb" + (f"_{n}" if n else ""), f, positions, q, k)

    def capped(self, name, q, k, v, d, window):  # flash_api.cpp: scores tanh(s * scale/c), exponents times c
        c, scale = getattr(self.config, "attn_logit_softcapping", None), self.config.query_pre_attn_scalar ** -0.5

        def f(q, k, v):
            q, k, v = (x.view(len(q), -1, d).transpose(0, 1).float() for x in (q, k, v))
            k, v = (x.repeat_interleave(len(q) // len(x), dim=0) for x in (k, v))
            i = torch.arange(q.shape[1])
            s = q @ k.transpose(1, 2)
            s = torch.tanh(s * (scale / c)) * c if c else s * scale
            s = s.masked_fill((i[None] > i[:, None]) | (i[None] <= i[:, None] - window), -torch.inf)
            p = (s - s.amax(-1, keepdim=True)).exp()
            return ((p.to(A).float() @ v) / p.sum(-1, keepdim=True)).to(A).transpose(0, 1).flatten(1)
        return self.call(name, f, q, k, v)

    def gemma(self, ids):
        c, positions = self.config, torch.arange(len(ids))
        hidden = self.embed(ids)
        hidden = (hidden.float() * torch.tensor(c.hidden_size ** 0.5).to(A).float()).to(A)
        residual, d = None, c.head_dim
        for i in range(c.num_hidden_layers):
            n = f"model.layers.{i}"
            if residual is None:
                residual, hidden = hidden, self.norm(n + ".input_layernorm", hidden)
            else:
                hidden, residual = self.add_norm(n + ".input_layernorm", hidden, residual)
            a = n + ".self_attn"
            q, k, v = self.linear(a + ".qkv_proj", hidden, a + ".q_proj", a + ".k_proj", a + ".v_proj").split(
                [c.num_attention_heads * d] + 2 * [c.num_key_value_heads * d], dim=-1)
            if a + ".q_norm.weight" in self.weights:
                q, k = (self.norm(f"{a}.{m}_norm", x.view(len(x), -1, d)).flatten(1) for m, x in (("q", q), ("k", k)))
            q, k = self.turn(i, positions, q, k, d)
            window = c.sliding_window if c.layer_types[i] == "sliding_attention" else len(q)
            hidden = self.linear(a + ".o_proj", self.capped(a + ".attn", q, k, v, d, window), a + ".o_proj")
            hidden = self.norm(n + ".post_attention_layernorm", hidden)
            hidden, residual = self.add_norm(n + ".pre_feedforward_layernorm", hidden, residual)
            shared = c.model_type == "gemma3_text" and self.era == "vllm-2026"  # one act_fn of all layers
            act = "model.layers.0.mlp.act_fn" + (f"_{i}" if i else "") if shared else n + ".mlp.act_fn"
            x = self.gelu_and_mul(act, self.linear(n + ".mlp.gate_up_proj", hidden, n + ".mlp.gate_proj", n + ".mlp.up_proj"))
            hidden = self.norm(n + ".post_feedforward_layernorm", self.linear(n + ".mlp.down_proj", x, n + ".mlp.down_proj"))
        hidden = self.add_norm("model.norm", hidden, residual)[0]
        logits = (hidden.float() @ self.weights["model.embed_tokens.weight"].float().T).to(A)
        if c.final_logit_softcapping:
            logits = (logits.float() * torch.tensor(1 / c.final_logit_softcapping)).to(A)
            logits = (torch.tanh(logits.float()).to(A).float() * c.final_logit_softcapping).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors


BF16 = {
    "gemma2": (Gemma, Gemma.gemma, ERAS),
    "gemma3": (Gemma, Gemma.gemma, ERAS),
}
