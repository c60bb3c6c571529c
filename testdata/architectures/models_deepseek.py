"""DeepSeek-V2, DeepSeek-V3, Kimi K2 and GLM-4 MoE."""
import math

import torch
from transformers.models.deepseek_v2 import modeling_deepseek_v2

from make import rope
from models_moe import Mixture
from trace import A

# transformers 5.12 reads an attribute there that it never sets, where topk_method is group_limited_greedy.
modeling_deepseek_v2.DeepseekV2Moe.num_experts = property(lambda self: self.config.n_routed_experts)

LATENT = dict(num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=14, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=9,
              intermediate_size=28, moe_intermediate_size=8)

MODELS = {
    "deepseek2": ("DeepseekV2", dict(LATENT, q_lora_rank=None, first_k_dense_replace=1, n_routed_experts=6, num_experts_per_tok=4, n_shared_experts=2,
                                     rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32, beta_fast=32, beta_slow=1))),
    "deepseek2-groups": ("DeepseekV2", dict(LATENT, q_lora_rank=11, v_head_dim=16, first_k_dense_replace=0, num_hidden_layers=2, n_routed_experts=9,
                                            num_experts_per_tok=5, n_shared_experts=1, topk_method="group_limited_greedy", n_group=3, topk_group=2,
                                            routed_scaling_factor=16.0, rms_norm_eps=1e-6, rope_parameters=rope("default"))),
    "deepseek3": ("DeepseekV3", dict(LATENT, q_lora_rank=20, first_k_dense_replace=1, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
                                     n_group=4, topk_group=2, rope_parameters=rope(
                                         "yarn", factor=4.0, original_max_position_embeddings=32, mscale=0.9, mscale_all_dim=0.7, beta_fast=32, beta_slow=1))),
    "deepseek3-kimi": ("DeepseekV3", dict(LATENT, q_lora_rank=17, kv_lora_rank=10, qk_nope_head_dim=7, qk_rope_head_dim=4, v_head_dim=8, first_k_dense_replace=2,
                                          n_routed_experts=11, num_experts_per_tok=6, n_shared_experts=2, n_group=1, topk_group=1, norm_topk_prob=False,
                                          routed_scaling_factor=2.827, rope_parameters=rope("default"))),
    "glm4moe": ("Glm4Moe", dict(head_dim=12, attention_bias=True, use_qk_norm=True, intermediate_size=28, moe_intermediate_size=8, n_routed_experts=7,
                                num_experts_per_tok=4, n_shared_experts=1, first_k_dense_replace=1, routed_scaling_factor=2.2, rope_parameters=rope("default"))),
    "glm4moe-groups": ("Glm4Moe", dict(head_dim=16, intermediate_size=28, moe_intermediate_size=12, n_routed_experts=8, num_experts_per_tok=2,
                                       n_shared_experts=2, first_k_dense_replace=0, num_hidden_layers=2, n_group=4, topk_group=2, norm_topk_prob=False,
                                       partial_rotary_factor=0.25,
                                       rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32))),
}


class Shared(Mixture):
    """Mixtures with shared experts: models/deepseek_v2.py, models/glm4_moe.py, csrc/moe/grouped_topk_kernels.cu."""

    def kept(self, choice, scores, dropped=-math.inf):  # the experts of the groups with the largest scores
        groups = self.config.topk_group or 1
        ids = scores.sort(dim=-1, descending=True, stable=True)[1][:, :groups]
        mask = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, ids, True)
        return choice.masked_fill(~mask.repeat_interleave(choice.shape[1] // scores.shape[1], dim=1), dropped)

    def sigmoid_route(self, logits, bias):
        c, half, x = self.config, logits.dtype == A and self.era == "vllm-2025", logits.float()
        r = (lambda t: t.to(A).float()) if half else (lambda t: t)
        s = torch.sigmoid(x) if self.era == "vllm-2025" else 0.5 * torch.tanh(0.5 * x) + 0.5
        choice = r(s + bias)
        n = c.n_group or 1
        ids = self.kept(choice, r(choice.view(len(x), n, -1).topk(2)[0].sum(-1))).sort(dim=-1, descending=True, stable=True)[1][:, :c.num_experts_per_tok]
        w = r(s).gather(1, ids) if self.era == "vllm-2025" or n > 1 else choice.gather(1, ids) - bias[ids]
        if c.norm_topk_prob:
            w = w / (w.sum(-1, keepdim=True) + 1e-20)
        return r(w), ids

    def softmax_route(self, logits):  # fused_moe.py grouped_topk
        c, n = self.config, self.config.n_group or 1
        if self.era != "vllm-2025" and n == 1:
            return self.route(logits, c.num_experts_per_tok, c.norm_topk_prob)
        p = torch.softmax(logits, dim=-1)
        choice = self.kept(p, p.view(len(p), n, -1).max(-1)[0])
        ids = []
        for row in choice.float():
            least = row.sort(descending=True)[0][c.num_experts_per_tok - 1]
            above, equal = (row > least).nonzero()[:, 0], (row == least).nonzero()[:, 0]
            ids.append(torch.cat([above, equal])[:c.num_experts_per_tok])
        ids = torch.stack(ids)
        w = p.gather(1, ids)
        if c.norm_topk_prob:
            w = w / w.sum(-1, keepdim=True)
        return w.float(), ids

    def shared_moe(self, n, x):
        n += ".mlp"
        if n + ".gate.weight" not in self.weights:
            return self.mlp(n, x)
        c = self.config
        bias = self.weights.get(n + ".gate.e_score_correction_bias")
        shared = self.mlp(n + ".shared_experts", x)
        if c.model_type == "glm4_moe":  # torch.nn.Linear in float32
            logits = self.call(n + ".gate", lambda x: x @ self.weights[n + ".gate.weight"].float().T, x.float())
        else:
            logits = self.linear(n + ".gate", x, n + ".gate")
        weights = self.stacked(n + ".experts", "gate_proj", "up_proj", "down_proj", c.n_routed_experts)
        scaled = lambda y: (y.float() * torch.tensor(c.routed_scaling_factor, dtype=torch.float32)).to(A)

        def routed(x, logits):
            return self.mix(x, *(self.softmax_route(logits) if bias is None else self.sigmoid_route(logits, bias)), *weights)
        if self.era != "vllm-2025":
            return self.call(n + ".experts", lambda x, logits, shared: shared + scaled(routed(x, logits)), x, logits, shared)
        if c.model_type == "glm4_moe":
            return scaled(self.call(n + ".experts", routed, x, logits)) + shared
        shared, y = self.call(n + ".experts", lambda x, logits, shared: (shared, routed(x, logits)), x, logits, shared)
        return scaled(y) + shared

    def run(self, ids):
        return self.llama(ids, self.shared_moe)


class Latent(Shared):
    """Latent attention: layers/mla.py, rotary_embedding/deepseek_scaling_rope.py, v1/attention/backends/mla/common.py."""

    def table(self, positions, d):  # cosines and sines of deepseek_yarn, rounded
        r = self.config.rope_parameters
        inv = 1.0 / r["rope_theta"] ** (torch.arange(0, d, 2).float() / d)
        m = 1.0
        if r["rope_type"] == "yarn":
            turns = lambda n: d * math.log(r["original_max_position_embeddings"] / (n * 2 * math.pi)) / (2 * math.log(r["rope_theta"]))
            low, high = max(math.floor(turns(r["beta_fast"])), 0), min(math.ceil(turns(r["beta_slow"])), d - 1)
            ramp = ((torch.arange(d // 2).float() - low) / (high - low if high != low else 0.001)).clamp(0, 1)
            inv = inv / r["factor"] * ramp + inv * (1 - ramp)
            m = self.mscale(r.get("mscale", 1)) / self.mscale(r.get("mscale_all_dim", 0))
        angles = positions.float()[:, None] * inv
        return (angles.cos() * m).to(A)[:, None], (angles.sin() * m).to(A)[:, None]

    def mscale(self, mscale):
        factor = self.config.rope_parameters["factor"]
        return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0

    def turn(self, name, positions, q, k):
        cos, sin = self.table(positions, q.shape[-1])
        if self.era != "vllm-2025" and self.config.rope_parameters["rope_type"] == "default":  # the kernel, in float32
            cos, sin = cos.float(), sin.float()

        def f(positions, q, k):
            out = []
            for t in (q, k):
                x, y = t[..., 0::2].to(cos.dtype), t[..., 1::2].to(cos.dtype)
                out.append(torch.stack([x * cos - y * sin, y * cos + x * sin], dim=-1).flatten(-2).to(A))
            return tuple(out)
        return self.call(name, f, positions, q, k)

    def attention(self, n, i, positions, hidden):
        c = self.config
        heads, p, r, lat, v = c.num_attention_heads, c.qk_nope_head_dim, c.qk_rope_head_dim, c.kv_lora_rank, c.v_head_dim
        if c.q_lora_rank:
            x = self.linear(n + ".fused_qkv_a_proj", hidden, n + ".q_a_proj", n + ".kv_a_proj_with_mqa")
            x, kv = x.split([c.q_lora_rank, lat + r], dim=-1)
            q = self.linear(n + ".q_b_proj", self.norm(n + ".q_a_layernorm", x), n + ".q_b_proj")
        else:
            kv = self.linear(n + ".kv_a_proj_with_mqa", hidden, n + ".kv_a_proj_with_mqa")
            q = self.linear(n + ".q_proj", hidden, n + ".q_proj")
        latent, k_pe = self.norm(n + ".kv_a_layernorm", kv[:, :lat]), kv[:, None, lat:]
        q = q.view(len(q), heads, p + r)
        q_pe, k_pe = self.turn("model.layers.0.self_attn.rotary_emb" + (f"_{i}" if i else ""), positions, q[..., p:], k_pe)
        q = torch.cat([q[..., :p], q_pe], dim=-1)
        expanded = self.linear(n + ".kv_b_proj", latent, n + ".kv_b_proj")  # in 2026 so few tokens do not call it
        m = self.mscale(c.rope_parameters.get("mscale_all_dim", 0)) if c.rope_parameters["rope_type"] == "yarn" else 1.0
        scale = (p + r) ** -0.5 * m * m
        w = self.weights[n + ".kv_b_proj.weight"].view(heads, p + v, lat).float()

        def f(q, latent, k_pe):
            unseen = torch.ones(len(q), len(q)).triu(1).bool()
            q, rows = q.float().transpose(0, 1), torch.cat([latent, k_pe[:, 0]], dim=-1).float()
            if self.era == "vllm-2025":  # a prompt: keys and values of all heads
                kv = expanded.view(-1, heads, p + v).float().transpose(0, 1)
                keys, values = torch.cat([kv[..., :p], rows[:, lat:].expand(heads, -1, -1)], dim=-1), kv[..., p:]
            else:  # in the space of the latents
                q = torch.cat([(q[..., :p] @ w[:, :p]).to(A).float(), q[..., p:]], dim=-1)
                keys, values = rows.expand(heads, -1, -1), rows[:, :lat].expand(heads, -1, -1)
            s = (q @ keys.transpose(1, 2)).masked_fill(unseen, -torch.inf)
            e = ((s - s.amax(-1, keepdim=True)) * scale).exp()
            o = ((e.to(A).float() @ values) / e.sum(-1, keepdim=True)).to(A)
            if self.era != "vllm-2025":
                o = (o.float() @ w[:, p:].transpose(1, 2)).to(A)
            return o.transpose(0, 1).flatten(1)
        return self.linear(n + ".o_proj", self.call(n + ".mla_attn.mla_attn", f, q, latent, k_pe), n + ".o_proj")


class Glm(Shared):
    def rotate(self, name, positions, q, k, d):  # half of each head
        parts = [x.view(len(x), -1, d) for x in (q, k)]
        half = [x[..., :d // 2] for x in parts]
        tensors = dict(self.tensors)
        turned = super().rotate(name, positions, *(x.flatten(1) for x in half), d // 2)
        self.tensors = tensors  # but for the whole heads
        out = tuple(torch.cat([t.view(x.shape), y[..., d // 2:]], dim=-1).flatten(1) for t, x, y in zip(turned, half, parts))
        return self.call(name, lambda *_: out, positions, q, k)


ERAS = ["vllm-2025", "vllm-2026"]
BF16 = {
    "deepseek2": (Latent, Latent.run, ERAS),
    "deepseek2-groups": (Latent, Latent.run, ERAS[:1]),
    "deepseek3": (Latent, Latent.run, ERAS),
    "deepseek3-kimi": (Latent, Latent.run, ERAS[1:]),
    "glm4moe": (Glm, Glm.run, ERAS),
}
