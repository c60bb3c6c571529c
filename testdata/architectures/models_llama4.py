"""Llama 4, the text part."""
import math

import torch

from make import rope
from trace import A, Trace

LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
TEMPERED = dict(attn_temperature_tuning=True, floor_scale=6, attn_scale=0.3)

MODELS = {
    "llama4": ("Llama4Text", dict(rope_parameters={**rope("llama3", **LLAMA3), "rope_theta": 20000.5}, head_dim=16, intermediate_size=24, intermediate_size_mlp=40,
                                  num_local_experts=4, interleave_moe_layer_step=2, no_rope_layers=[1, 0, 1], attention_chunk_size=7,
                                  max_position_embeddings=65536, **TEMPERED)),
    "llama4-plain": ("Llama4Text", dict(rope_parameters=rope("default"), head_dim=12, intermediate_size=20, intermediate_size_mlp=28, num_local_experts=3,
                                        num_hidden_layers=4, no_rope_layer_interval=2, attention_chunk_size=13, use_qk_norm=False,
                                        num_attention_heads=6, num_key_value_heads=3, attn_temperature_tuning=False, tie_word_embeddings=True)),
}


class Llama4(Trace):
    def llama4(self, ids):  # vLLM models/llama4.py
        positions, residual = torch.arange(len(ids)), None
        hidden = self.call("model.embed_tokens", lambda ids: self.weights["model.embed_tokens.weight"][ids.long()], ids)
        self.rotations = 0
        for i in range(self.config.num_hidden_layers):
            n = f"model.layers.{i}"
            if residual is None:
                residual, hidden = hidden, self.normed(n + ".input_layernorm", hidden)
            else:
                hidden, residual = self.normed(n + ".input_layernorm", hidden, residual)
            hidden, residual = self.normed(n + ".post_attention_layernorm", self.attention(i, positions, hidden), residual)
            hidden = self.mixture(n + ".feed_forward", hidden) if i in self.config.moe_layers else self.mlp(n + ".feed_forward", hidden)
        hidden, _ = self.normed("model.norm", hidden, residual)
        logits = (hidden.float() @ self.weights["lm_head.weight"].float().T).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors

    def normed(self, name, x, residual=None):  # csrc/layernorm_kernels.cu
        def f(x, residual=None):
            z = x if residual is None else (x.float() + residual.float()).to(A)
            y = z.float() * torch.rsqrt(z.float().pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
            if self.era == "vllm-2025":
                y = y.to(A).float()
            y = (y * self.weights[name + ".weight"].float()).to(A)
            return y if residual is None else (y, z)
        return self.call(name, f, *([x] if residual is None else [x, residual]))

    def attention(self, i, positions, hidden):
        n, c = f"model.layers.{i}.self_attn", self.config
        d, nh, nkv = c.head_dim, c.num_attention_heads, c.num_key_value_heads

        def halves(w):  # permute_qk_weight_for_rotary
            return w.view(-1, d // 2, 2, w.shape[1]).transpose(1, 2).reshape(w.shape)
        w = torch.cat([halves(self.weights[n + ".q_proj.weight"]), halves(self.weights[n + ".k_proj.weight"]), self.weights[n + ".v_proj.weight"]]).float()
        qkv = self.call(n + ".qkv_proj", lambda x: (x.float() @ w.T).to(A), hidden)
        q, k, v = qkv.split([nh * d, nkv * d, nkv * d], dim=-1)
        if c.no_rope_layers[i]:
            name = "model.layers.0.self_attn.rotary_emb" + (f"_{self.rotations}" if self.rotations else "")
            self.rotations += 1
            q, k = self.turned(name, positions, q, k)
            if c.use_qk_norm:
                unit = lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + c.rms_norm_eps)
                q = self.call(n + ".qk_norm", unit, q.reshape(-1, d).float()).reshape(q.shape).to(A)
                k = self.call(n + ".qk_norm_1", unit, k.reshape(-1, d).float()).reshape(k.shape).to(A)
        elif c.max_position_embeddings > 32768:  # as vLLM decides it, whatever the config says
            scale = torch.log(torch.floor((positions.float() + 1) / c.floor_scale) + 1) * c.attn_scale + 1
            q = (q.float() * scale[:, None]).to(A)
        return self.linear(n + ".o_proj", self.seen(n + ".attn", q, k, v, c.attention_chunk_size if c.no_rope_layers[i] else len(q)), n + ".o_proj")

    def turned(self, name, positions, q, k):  # rotary_embedding/llama3_rope.py
        p, d = self.config.rope_parameters, self.config.head_dim
        theta = int(p["rope_theta"]) if self.era == "vllm-2025" else p["rope_theta"]
        inv = 1 / theta ** (torch.arange(0, d, 2).float() / d)
        length, factor, low, high = (p[x] for x in ("original_max_position_embeddings", "factor", "low_freq_factor", "high_freq_factor"))
        wave = 2 * math.pi / inv
        smooth = (length / wave - low) / (high - low)
        inv = torch.where(wave < length / high, inv, torch.where(wave > length / low, inv / factor, (1 - smooth) * inv / factor + smooth * inv))
        angles = positions.float()[:, None] * inv
        cos, sin = angles.cos().to(A)[:, None], angles.sin().to(A)[:, None]

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

    def seen(self, name, q, k, v, chunk):  # FlashAttention, within chunks
        nh, d = self.config.num_attention_heads, self.config.head_dim

        def f(q, k, v):
            t = len(q)
            q, k, v = (x.reshape(t, -1, d).transpose(0, 1).float() for x in (q, k, v))
            k, v = (x.repeat_interleave(nh // len(x), dim=0) for x in (k, v))
            at = torch.arange(t)
            see = (at[:, None] >= at) & (at[:, None] // chunk == at // chunk)
            s = (q @ k.transpose(1, 2)).masked_fill(~see, -torch.inf)
            p = ((s - s.amax(-1, keepdim=True)) * d ** -0.5).exp()
            return ((p.to(A).float() @ v) / p.sum(-1, keepdim=True)).to(A).transpose(0, 1).flatten(1)
        return self.call(name, f, q, k, v)

    def mixture(self, n, hidden):
        logits = self.linear(n + ".router", hidden, n + ".router")
        shared = self.mlp(n + ".shared_expert", hidden)
        if self.era == "vllm-2025":
            _, routed = self.call(n + ".experts", lambda x, logits, shared: (shared, self.experts(n + ".experts.", x, logits)), hidden, logits, shared)
            return (routed.float() + shared.float()).to(A)
        return self.call(n + ".experts", lambda x, logits, shared: (self.experts(n + ".experts.", x, logits).float() + shared.float()).to(A), hidden, logits, shared)

    def experts(self, n, x, logits):  # top 1, then the sigmoid; apply_router_weight_on_input
        up, down = self.weights[n + "gate_up_proj"].float(), self.weights[n + "down_proj"].float()
        out = torch.zeros_like(x)
        for t in range(len(x)):
            e = int(logits[t].float().argmax())
            w = torch.sigmoid(logits[t, e].float())
            if self.era == "vllm-2025":  # fused_moe_kernel multiplies the sum
                h = (x[t].float() @ up[e] * w).to(A)
            else:  # prepare_finalize multiplies what it is given
                h = ((x[t].float() * w.to(A).float()).to(A).float() @ up[e]).to(A)
            gate, u = h.chunk(2)
            a = torch.nn.functional.silu(gate.float()).to(A) * u
            out[t] = (a.float() @ down[e]).to(A)
        return out


BF16 = {"llama4": (Llama4, Llama4.llama4, ["vllm-2025", "vllm-2026"])}
