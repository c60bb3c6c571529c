"""GPT-OSS."""
import math

import torch

from make import rope
from trace import A, Trace

YARN = dict(factor=4.0, original_max_position_embeddings=32, beta_fast=32.0, beta_slow=1.0)

MODELS = {
    "gptoss": ("GptOss", dict(rope_parameters={**rope("yarn", **YARN, truncate=False), "rope_theta": 150000.0}, intermediate_size=24, num_local_experts=6,
                              num_experts_per_tok=4, head_dim=16, sliding_window=7)),
    "gptoss-two": ("GptOss", dict(rope_parameters={**rope("yarn", factor=8.0, original_max_position_embeddings=16, beta_fast=8.0, beta_slow=1.0, truncate=True), "rope_theta": 5000.0},
                                  intermediate_size=12, num_local_experts=5, num_experts_per_tok=2, head_dim=12, sliding_window=16, num_hidden_layers=4,
                                  num_attention_heads=6, num_key_value_heads=3)),
}


def yarn(config, truncate):
    """The frequencies (layers/rotary_embedding/yarn_scaling_rope.py) and the factor on cosines and sines."""
    p, d = config.rope_parameters, config.head_dim
    theta, factor, length = p["rope_theta"], p["factor"], p["original_max_position_embeddings"]
    pos = theta ** (torch.arange(0, d, 2).float() / d)
    bound = lambda turns: d * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(theta))
    low, high = bound(p["beta_fast"]), bound(p["beta_slow"])
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, d - 1)
    if low == high:
        high += 0.001
    mask = 1 - ((torch.arange(d // 2).float() - low) / (high - low)).clamp(0, 1)
    return 1 / (factor * pos) * (1 - mask) + 1 / pos * mask, 0.1 * math.log(factor) + 1


class GptOss(Trace):
    def gptoss(self, ids):  # vLLM models/gpt_oss.py
        positions, residual = torch.arange(len(ids)), None
        hidden = self.call("model.embedding", lambda ids: self.weights["model.embed_tokens.weight"][ids.long()], ids)
        for i in range(self.config.num_hidden_layers):
            hidden, residual = self.layer(i, hidden, positions, residual)
        hidden, _ = self.normed("model.norm", hidden, residual)
        logits = (hidden.float() @ self.weights["lm_head.weight"].float().T).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors

    def layer(self, i, hidden, positions, residual):
        n = f"model.layers.{i}"
        if residual is None:
            residual, hidden = hidden, self.normed(n + ".input_layernorm", hidden)
        else:
            hidden, residual = self.normed(n + ".input_layernorm", hidden, residual)
        hidden, residual = self.normed(n + ".post_attention_layernorm", self.attention(i, hidden, positions), residual)
        return self.mixture(n + ".mlp", hidden), residual

    def normed(self, name, x, residual=None):  # csrc/layernorm_kernels.cu; eps is 1e-5 in the model's code
        def f(x, residual=None):
            z = x if residual is None else (x.float() + residual.float()).to(A)
            y = z.float() * torch.rsqrt(z.float().pow(2).mean(-1, keepdim=True) + 1e-5)
            if self.era == "vllm-2025":
                y = y.to(A).float()
            y = (y * self.weights[name + ".weight"].float()).to(A)
            return y if residual is None else (y, z)
        return self.call(name, f, *([x] if residual is None else [x, residual]))

    def biased(self, name, x, *parts):  # the bias is added to the sum in float32
        w, b = (torch.cat([self.weights[p + s] for p in parts]).float() for s in (".weight", ".bias"))
        return self.call(name, lambda x: (x.float() @ w.T + b).to(A), x)

    def attention(self, i, hidden, positions):
        n, at = f"model.layers.{i}.attn", f"model.layers.{i}.self_attn"
        d, nkv = self.config.head_dim, self.config.num_key_value_heads
        qkv = self.biased(n + (".qkv" if self.era == "vllm-2025" else ".qkv_proj"), hidden, at + ".q_proj", at + ".k_proj", at + ".v_proj")
        q, k, v = qkv.split([qkv.shape[1] - 2 * nkv * d, nkv * d, nkv * d], dim=-1)
        q, k = self.turned("model.layers.0.attn.rotary_emb" + (f"_{i}" if i else ""), positions, q, k)
        return self.biased(n + ".o_proj", self.sunk(n + ".attn", i, q, k, v, self.weights[at + ".sinks"].float()), at + ".o_proj")

    def turned(self, name, positions, q, k):  # 2025 has no truncate; the table is in the type of the queries
        d = self.config.head_dim
        inv, mscale = yarn(self.config, self.era == "vllm-2025" or self.config.rope_parameters["truncate"])
        angles = positions.float()[:, None] * inv
        cos, sin = (angles.cos() * mscale).to(A)[:, None], (angles.sin() * mscale).to(A)[:, None]

        def f(positions, q, k):
            out = []
            for x in (q, k):
                x, y = x.reshape(len(positions), -1, d).chunk(2, dim=-1)
                c, s = cos, sin
                if self.era != "vllm-2025":  # one rounding
                    x, y, c, s = x.float(), y.float(), c.float(), s.float()
                out.append(torch.cat([x * c - y * s, y * c + x * s], dim=-1).to(A).flatten(1))
            return tuple(out)
        return self.call(name, f, positions, q, k)

    def sunk(self, name, layer, q, k, v, sinks):  # FlashAttention 3 with s_aux: the sink joins the sum, unscaled and without a value
        nh, d = self.config.num_attention_heads, self.config.head_dim

        def f(q, k, v):
            t = len(q)
            q, k, v = (x.reshape(t, -1, d).transpose(0, 1).float() for x in (q, k, v))
            k, v = (x.repeat_interleave(nh // len(x), dim=0) for x in (k, v))
            seen = torch.ones(t, t).tril().bool()
            if layer % 2 == 0:
                seen &= torch.ones(t, t).triu(1 - self.config.sliding_window).bool()
            s = (q @ k.transpose(1, 2)).masked_fill(~seen, -torch.inf)
            m = s.amax(-1, keepdim=True)
            p = ((s - m) * d ** -0.5).exp()
            total = p.sum(-1, keepdim=True) + (sinks[:, None, None] - m * d ** -0.5).exp()
            return ((p.to(A).float() @ v) / total).to(A).transpose(0, 1).flatten(1)
        return self.call(name, f, q, k, v)

    def mixture(self, n, hidden):
        logits = self.biased(n + ".router", hidden, n + ".router")
        return self.call(n + ".experts", lambda x, logits: self.experts(n + ".experts.", x, logits), hidden, logits)

    def experts(self, n, x, logits):  # fused_topk, fused_experts
        k = self.config.num_experts_per_tok
        up, up_bias, down, down_bias = (self.weights[n + w].float() for w in ("gate_up_proj", "gate_up_proj_bias", "down_proj", "down_proj_bias"))
        p = (logits.float() - logits.float().amax(-1, keepdim=True)).exp()
        p = p * (1 / p.sum(-1, keepdim=True))
        out = torch.zeros_like(x)
        for t in range(len(x)):
            ids = p[t].sort(descending=True, stable=True).indices[:k]
            w = p[t][ids]
            w = w / w.sum() if self.era == "vllm-2025" else w * (1 / w.sum())
            total = torch.zeros(x.shape[1])
            for e, weight in zip(ids.tolist(), w):
                h = (x[t].float() @ up[e] + up_bias[e]).to(A).float()
                gate, u = h[::2].clamp(max=7.0), h[1::2].clamp(-7.0, 7.0)  # csrc/activation_kernels.cu swigluoai_and_mul
                a = ((u + 1) * (gate * (1 / (1 + (-1.702 * gate).exp())))).to(A).float()
                total = total + ((a @ down[e] + down_bias[e]) * weight).to(A).float()
                if self.era == "vllm-2025":  # moe_sum_kernel adds two to four in bfloat16
                    total = total.to(A).float()
            out[t] = total.to(A)
        return out


BF16 = {"gptoss": (GptOss, GptOss.gptoss, ["vllm-2025", "vllm-2026"])}
