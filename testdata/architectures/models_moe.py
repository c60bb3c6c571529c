"""Mixtures of experts."""
import torch

from make import rope
from trace import A, Trace

MODELS = {
    "mixtral": ("Mixtral", dict(rope_parameters=rope("default", ), intermediate_size=24, num_local_experts=5, num_experts_per_tok=2, sliding_window=11)),
    "mixtral-three": ("Mixtral", dict(rope_parameters=rope("default"), intermediate_size=20, num_local_experts=6, num_experts_per_tok=3, head_dim=12,
                                      rms_norm_eps=1e-6, tie_word_embeddings=True)),
    "qwen2moe": ("Qwen2Moe", dict(rope_parameters=rope("default"), moe_intermediate_size=24, shared_expert_intermediate_size=28, num_experts=6,
                                  num_experts_per_tok=3, mlp_only_layers=[1])),
    "qwen2moe-renormalised": ("Qwen2Moe", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32), num_experts=4,
                                               moe_intermediate_size=20, shared_expert_intermediate_size=8, num_experts_per_tok=2,
                                               norm_topk_prob=True, decoder_sparse_step=2, num_hidden_layers=4, tie_word_embeddings=True)),
    "qwen3moe": ("Qwen3Moe", dict(rope_parameters=rope("default"), head_dim=16, moe_intermediate_size=8, num_experts=10, num_experts_per_tok=5,
                                  norm_topk_prob=True, mlp_only_layers=[0])),
    "qwen3moe-plain": ("Qwen3Moe", dict(rope_parameters=rope("linear", factor=2.0), head_dim=8, moe_intermediate_size=16, num_experts=5,
                                        num_experts_per_tok=4, decoder_sparse_step=1)),
    "granitemoe": ("GraniteMoe", dict(rope_parameters=rope("default"), intermediate_size=24, num_local_experts=5, num_experts_per_tok=3,
                                      embedding_multiplier=3.3, residual_multiplier=0.22, attention_multiplier=0.11, logits_scaling=6.0)),
    "granitemoe-tied": ("GraniteMoe", dict(rope_parameters=rope("linear", factor=4.0), intermediate_size=20, num_local_experts=7, num_experts_per_tok=6,
                                           tie_word_embeddings=True, rms_norm_eps=1e-5, attention_multiplier=0.5)),
}


class Mixture(Trace):
    """vLLM v0.10.2 and of August 2026: models/mixtral.py, qwen2_moe.py, qwen3_moe.py, granitemoe.py, layers/fused_moe."""

    def linear(self, name, x, *parts):
        w = torch.cat([self.weights[p + ".weight"] for p in parts])
        b = torch.cat([self.weights[p + ".bias"] for p in parts]).float() if parts[0] + ".bias" in self.weights else 0
        return self.call(name, lambda x: (x.float() @ w.float().T + b).to(A), x)

    def normed(self, x, w):
        x = x.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
        if self.era == "vllm-2025":
            return x.to(A) * w
        return (x * w.float()).to(A)  # since June 2026: one rounding

    def norm(self, name, x):
        return self.call(name, lambda x: self.normed(x, self.weights[name + ".weight"]), x)

    def add_norm(self, name, x, residual):
        def f(x, residual):
            z = (x.float() + residual.float()).to(A)
            return self.normed(z, self.weights[name + ".weight"]), z
        return self.call(name, f, x, residual)

    def rotate(self, name, positions, q, k, d):
        inv = 1.0 / 10000.0 ** (torch.arange(0, d, 2).float() / d)
        angles = positions.float()[:, None] * inv
        cos, sin = angles.cos().to(A)[:, None], angles.sin().to(A)[:, None]
        if self.era != "vllm-2025":  # products and sums in float32
            cos, sin = cos.float(), sin.float()

        def f(positions, q, k):
            out = []
            for x in (q, k):
                x, y = x.view(len(positions), -1, d).to(cos.dtype).chunk(2, dim=-1)
                out.append(torch.cat([x * cos - y * sin, y * cos + x * sin], dim=-1).flatten(1).to(A))
            return tuple(out)
        return self.call(name, f, positions, q, k)

    def attend(self, name, q, k, v, d, scale, window):
        def f(q, k, v):
            q, k, v = (x.view(len(q), -1, d).transpose(0, 1).float() for x in (q, k, v))
            k, v = (x.repeat_interleave(len(q) // len(x), dim=0) for x in (k, v))
            i = torch.arange(q.shape[1])
            unseen = (i[None] > i[:, None]) | (i[None] <= i[:, None] - window)
            s = (q @ k.transpose(1, 2)).masked_fill(unseen, -torch.inf)
            p = ((s - s.amax(-1, keepdim=True)) * scale).exp()
            out = (p.to(A).float() @ v) / p.sum(-1, keepdim=True)
            return out.to(A).transpose(0, 1).flatten(1)
        return self.call(name, f, q, k, v)

    def attention(self, n, i, positions, hidden):
        c = self.config
        qkv = self.linear(n + ".qkv_proj", hidden, n + ".q_proj", n + ".k_proj", n + ".v_proj")
        d = len(self.weights[n + ".q_proj.weight"]) // c.num_attention_heads
        q, k, v = qkv.split([c.num_attention_heads * d] + 2 * [c.num_key_value_heads * d], dim=-1)
        if n + ".q_norm.weight" in self.weights:
            q, k = (self.norm(f"{n}.{m}_norm", x.view(len(x), -1, d)).flatten(1) for m, x in (("q", q), ("k", k)))
        q, k = self.rotate("model.layers.0.self_attn.rotary_emb" + (f"_{i}" if i else ""), positions, q, k, d)
        scale = getattr(c, "attention_multiplier", d ** -0.5)
        return self.linear(n + ".o_proj", self.attend(n + ".attn", q, k, v, d, scale, getattr(c, "sliding_window", 0) or len(q)), n + ".o_proj")

    def route(self, logits, k, renormalise):  # csrc/moe/topk_softmax_kernels.cu
        x = logits.float()
        p = (x - x.amax(-1, keepdim=True)).exp()
        p = p * (1 / p.sum(-1, keepdim=True))
        w, ids = p.sort(dim=-1, descending=True, stable=True)
        w, ids = w[:, :k], ids[:, :k]
        if renormalise and self.era == "vllm-2025":
            w = w / w.sum(-1, keepdim=True)
        elif renormalise:
            w = w * (1 / w.sum(-1, keepdim=True))
        return w, ids

    def mix(self, x, w, ids, w13, w2):  # fused_moe.py, csrc/moe/moe_align_sum_kernels.cu
        k = ids.shape[1]
        out = []
        for t in range(len(x)):
            parts = []
            for j in range(k):
                gate, up = (x[t].float() @ w13[ids[t, j]].float().T).to(A).chunk(2)
                a = torch.nn.functional.silu(gate.float()).to(A) * up
                parts.append(((a.float() @ w2[ids[t, j]].float().T) * w[t, j]).to(A))
            if self.era == "vllm-2025" and k in (2, 3, 4):
                y = torch.zeros_like(parts[0])
                for part in parts:
                    y = y + part
            else:
                y = sum(part.float() for part in parts).to(A)
            out.append(y)
        return torch.stack(out)

    def experts(self, n, k, renormalise, w13, w2, x, logits, shared=None):
        def f(x, logits, shared=None):
            y = self.mix(x, *self.route(logits, k, renormalise), w13, w2)
            return y if shared is None else shared + y
        return self.call(n, f, x, logits, *([] if shared is None else [shared]))

    def stacked(self, n, gate, up, down, count):
        one = lambda e, name: self.weights[f"{n}.{e}.{name}.weight"]
        return (torch.stack([torch.cat([one(e, gate), one(e, up)]) for e in range(count)]), torch.stack([one(e, down) for e in range(count)]))

    def mixtral_moe(self, n, x):
        c, n = self.config, n + ".block_sparse_moe"
        return self.experts(n + ".experts", c.num_experts_per_tok, True, *self.stacked(n + ".experts", "w1", "w3", "w2", c.num_local_experts),
                            x, self.linear(n + ".gate", x, n + ".gate"))

    def granite_moe(self, n, x):
        c, n = self.config, n + ".block_sparse_moe"
        return self.experts(n + ".experts", c.num_experts_per_tok, True, self.weights[n + ".input_linear.weight"], self.weights[n + ".output_linear.weight"],
                            x, self.linear(n + ".gate", x, n + ".router.layer"))

    def qwen_moe(self, n, x):
        c, n = self.config, n + ".mlp"
        if n + ".gate.weight" not in self.weights:
            return self.mlp(n, x)
        shared = None
        if n + ".shared_expert.up_proj.weight" in self.weights:
            gate = self.linear(n + ".shared_expert_gate", x, n + ".shared_expert_gate")
            shared = torch.sigmoid(gate.float()).to(A) * self.mlp(n + ".shared_expert", x)
        weights = self.stacked(n + ".experts", "gate_proj", "up_proj", "down_proj", c.num_experts)
        args = (n + ".experts", c.num_experts_per_tok, c.norm_topk_prob, *weights, x, self.linear(n + ".gate", x, n + ".gate"))
        if shared is None:
            return self.experts(*args)
        if self.era == "vllm-2025":  # the block adds
            return self.experts(*args) + shared
        return self.experts(*args, shared)

    def logits(self, hidden, divisor=1):
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        logits = (hidden.float() @ head.float().T).to(A)
        if divisor != 1:
            logits = (logits.float() * torch.tensor(1 / divisor, dtype=torch.float32)).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors

    def embed(self, ids):
        return self.call("model.embed_tokens", lambda ids: self.weights["model.embed_tokens.weight"][ids.long()], ids)

    def llama(self, ids, moe):
        positions, hidden, residual = torch.arange(len(ids)), self.embed(ids), None
        for i in range(self.config.num_hidden_layers):
            n = f"model.layers.{i}"
            if residual is None:
                residual, hidden = hidden, self.norm(n + ".input_layernorm", hidden)
            else:
                hidden, residual = self.add_norm(n + ".input_layernorm", hidden, residual)
            hidden = self.attention(n + ".self_attn", i, positions, hidden)
            hidden, residual = self.add_norm(n + ".post_attention_layernorm", hidden, residual)
            hidden = moe(n, hidden)
        return self.logits(self.add_norm("model.norm", hidden, residual)[0])

    def mixtral(self, ids):
        return self.llama(ids, self.mixtral_moe)

    def qwen(self, ids):
        return self.llama(ids, self.qwen_moe)

    def granite(self, ids):
        c = self.config
        times = lambda x, m: (x.float() * torch.tensor(m, dtype=torch.float32)).to(A)
        positions, hidden = torch.arange(len(ids)), times(self.embed(ids), c.embedding_multiplier)
        for i in range(c.num_hidden_layers):
            n = f"model.layers.{i}"
            x = self.attention(n + ".self_attn", i, positions, self.norm(n + ".input_layernorm", hidden))
            hidden = hidden + times(x, c.residual_multiplier)
            x = self.granite_moe(n, self.norm(n + ".post_attention_layernorm", hidden))
            hidden = hidden + times(x, c.residual_multiplier)
        return self.logits(self.norm("model.norm", hidden), c.logits_scaling)


ERAS = ["vllm-2025", "vllm-2026"]
BF16 = {
    "mixtral": (Mixture, Mixture.mixtral, ERAS),
    "qwen2moe": (Mixture, Mixture.qwen, ERAS),
    "qwen3moe": (Mixture, Mixture.qwen, ERAS),
    "granitemoe": (Mixture, Mixture.granite, ERAS),
}
