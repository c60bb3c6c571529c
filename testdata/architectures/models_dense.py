"""Granite, GLM-4, Cohere, Seed-OSS, ERNIE 4.5 and Phi-4: dense models."""
import math

import torch

from make import rope
from models_moe import ERAS, Mixture
from trace import A

SHORT, LONG = [1.0, 1.1, 1.2], [1.5, 3.0, 7.0]

MODELS = {
    "granite": ("Granite", dict(rope_parameters=rope("default"), embedding_multiplier=3.3, residual_multiplier=0.22, attention_multiplier=0.11,
                                logits_scaling=6.0, attention_bias=True, mlp_bias=True)),
    "granite-tied": ("Granite", dict(rope_parameters=rope("linear", factor=4.0), rms_norm_eps=1e-5, attention_multiplier=0.5, tie_word_embeddings=True)),
    "seedoss": ("SeedOss", dict(rope_parameters=rope("default"), head_dim=12, attention_bias=True, attention_out_bias=False)),
    "seedoss-tied": ("SeedOss", dict(rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32),
                                     head_dim=8, num_key_value_heads=4, attention_bias=True, tie_word_embeddings=True)),
    "glm4": ("Glm4", dict(rope_parameters=rope("default", partial_rotary_factor=0.5), head_dim=16, attention_bias=True)),
    "glm4-tied": ("Glm4", dict(rope_parameters=rope("default", partial_rotary_factor=0.25), partial_rotary_factor=0.25, head_dim=24, attention_bias=False, num_key_value_heads=1,
                               rms_norm_eps=1e-5, tie_word_embeddings=True)),
    "glm": ("Glm", dict(rope_parameters=rope("default", partial_rotary_factor=0.5), head_dim=12, attention_bias=True)),
    "cohere2": ("Cohere2", dict(rope_parameters=rope("default"), sliding_window=9, num_hidden_layers=4, logit_scale=0.3)),
    "cohere2-types": ("Cohere2", dict(rope_parameters=rope("linear", factor=2.0), sliding_window=6, num_key_value_heads=4, layer_norm_eps=1e-6,
                                      layer_types=["full_attention", "sliding_attention", "full_attention"])),
    "cohere": ("Cohere", dict(rope_parameters=rope("default"), logit_scale=0.0625)),
    "cohere-qknorm": ("Cohere", dict(rope_parameters=rope("default"), use_qk_norm=True, logit_scale=1.0, layer_norm_eps=1e-4)),
    "ernie45": ("Ernie4_5", dict(rope_parameters=rope("default"), head_dim=16, use_bias=False)),
    "ernie45-untied": ("Ernie4_5", dict(rope_parameters=rope("linear", factor=2.0), head_dim=8, num_key_value_heads=4, tie_word_embeddings=False)),
    "phi4-mini": ("Phi3", dict(max_position_embeddings=256, original_max_position_embeddings=64, tie_word_embeddings=True, rope_parameters=rope(
        "longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=64, partial_rotary_factor=0.75))),
    "phi4-mini-long": ("Phi3", dict(max_position_embeddings=256, original_max_position_embeddings=16, tie_word_embeddings=True, sliding_window=13, rope_parameters=rope(
        "longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=16, partial_rotary_factor=0.75))),
}


class Dense(Mixture):
    """vLLM v0.10.2 and of August 2026: models/granite.py, glm4.py, commandr.py, seed_oss.py, ernie45.py."""

    def __init__(self, config, weights, era):
        super().__init__(config, weights, era)
        self.neighbours = config.model_type in ("glm4", "glm", "cohere", "cohere2", "ernie4_5")
        self.calls = 0  # of the one rope

    def rotate(self, name, positions, q, k, d):
        rot = int(d * self.config.rope_parameters.get("partial_rotary_factor", 1))
        inv = 1.0 / 10000.0 ** (torch.arange(0, rot, 2).float() / rot)
        angles = positions.float()[:, None] * inv
        cos, sin = angles.cos().to(A)[:, None], angles.sin().to(A)[:, None]
        if self.era != "vllm-2025":  # products and sums in float32
            cos, sin = cos.float(), sin.float()

        def f(positions, q, k):
            out = []
            for x in (q, k):
                x = x.view(len(positions), -1, d)
                turn, rest = x[..., :rot].to(cos.dtype), x[..., rot:]
                a, b = (turn[..., 0::2], turn[..., 1::2]) if self.neighbours else turn.chunk(2, dim=-1)
                a, b = a * cos - b * sin, b * cos + a * sin
                turn = torch.stack([a, b], dim=-1).flatten(-2) if self.neighbours else torch.cat([a, b], dim=-1)
                out.append(torch.cat([turn.to(A), rest], dim=-1).flatten(1))
            return tuple(out)
        name = "model.layers.0.self_attn.rotary_emb" + (f"_{self.calls}" if self.calls else "")
        self.calls += 1
        return self.call(name, f, positions, q, k)

    def plain_mlp(self, n, x):
        n += ".mlp"
        if n + ".gate_up_proj.weight" in self.weights:
            x = self.silu_and_mul(n + ".act_fn", self.linear(n + ".gate_up_proj", x, n + ".gate_up_proj"))
            return self.linear(n + ".down_proj", x, n + ".down_proj")
        return self.mlp(n, x)

    granite_moe = plain_mlp

    def like_llama(self, ids):
        return self.llama(ids, self.plain_mlp)

    def glm4(self, ids):
        positions, hidden, residual = torch.arange(len(ids)), self.embed(ids), None
        for i in range(self.config.num_hidden_layers):
            n = f"model.layers.{i}"
            if residual is None:
                residual, hidden = hidden, self.norm(n + ".input_layernorm", hidden)
            else:
                hidden, residual = self.add_norm(n + ".input_layernorm", hidden, residual)
            hidden = self.norm(n + ".post_self_attn_layernorm", self.attention(n + ".self_attn", i, positions, hidden))
            hidden, residual = self.add_norm(n + ".post_attention_layernorm", hidden, residual)
            hidden = self.norm(n + ".post_mlp_layernorm", self.plain_mlp(n, hidden))
        return self.logits(self.add_norm("model.norm", hidden, residual)[0])

    def layer_norm(self, name, x, *residual):
        def f(x, *residual):
            y = x.float()
            y = (y - y.mean(-1, keepdim=True)) * torch.rsqrt((y - y.mean(-1, keepdim=True)).pow(2).mean(-1, keepdim=True) + self.config.layer_norm_eps)
            return ((self.weights[name + ".weight"].float() * y).to(A), *residual)
        return self.call(name, f, x, *residual)[0]

    def cohere(self, ids):
        c, positions, hidden = self.config, torch.arange(len(ids)), self.embed(ids)
        d = c.hidden_size // c.num_attention_heads
        before = None
        for i in range(c.num_hidden_layers):
            n = f"model.layers.{i}"
            residual, before = hidden, hidden
            normed = self.layer_norm(n + ".input_layernorm", residual, residual)
            a = n + ".self_attn"
            q, k, v = self.linear(a + ".qkv_proj", normed, a + ".q_proj", a + ".k_proj", a + ".v_proj").split(
                [c.num_attention_heads * d] + 2 * [c.num_key_value_heads * d], dim=-1)
            if a + ".q_norm.weight" in self.weights:
                q, k = (self.layer_norm(f"{a}.{m}_norm", x.reshape(len(x), -1, d)).flatten(1) for m, x in (("q", q), ("k", k)))
            sliding = getattr(c, "layer_types", None) and c.layer_types[i] == "sliding_attention"
            if sliding or c.model_type == "cohere":
                q, k = self.rotate("", positions, q, k, d)
            attn = self.attend(a + ".attn", q, k, v, d, d ** -0.5, c.sliding_window if sliding else len(q))
            attn = self.linear(a + ".o_proj", attn, a + ".o_proj")
            hidden = (residual + attn) + self.plain_mlp(n, normed)
        hidden = self.layer_norm("model.norm", hidden, before)
        return self.scaled(hidden, c.logit_scale)

    def scaled(self, hidden, by):
        logits = (hidden.float() @ self.weights["model.embed_tokens.weight"].float().T).to(A)
        if by != 1:
            logits = (logits.float() * torch.tensor(by, dtype=torch.float32)).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors


class Phi(Dense):
    """models/phi3.py and rotary_embedding/phi3_long_rope_scaled_rope.py, which has no kernel: torch's operations round in all
    eras. The table is the long one where max_model_len is above the original positions (from v0.11.1 on)."""

    def attention(self, n, i, positions, hidden):
        c = self.config
        d = c.hidden_size // c.num_attention_heads
        qkv = self.linear(n + ".qkv_proj", hidden, n + ".qkv_proj")
        q, k, v = qkv.split([c.num_attention_heads * d] + 2 * [c.num_key_value_heads * d], dim=-1)
        q, k = self.rotate("model.layers.0.self_attn.rotary_emb" + (f"_{i}" if i else ""), positions, q, k, d)
        return self.linear(n + ".o_proj", self.attend(n + ".attn", q, k, v, d, d ** -0.5, c.sliding_window or len(q)), n + ".o_proj")

    def rotate(self, name, positions, q, k, d):
        c = self.config
        rot, original = int(d * c.rope_parameters["partial_rotary_factor"]), c.original_max_position_embeddings
        inv = 1.0 / (torch.tensor(c.rope_parameters["long_factor"]) * 10000.0 ** (torch.arange(0, rot, 2).float() / rot))
        angles = positions.float()[:, None] * inv
        mscale = math.sqrt(1 + math.log(c.max_position_embeddings / original) / math.log(original))
        cos, sin = ((f(angles) * mscale).to(A).repeat(1, 2)[:, None] for f in (torch.cos, torch.sin))

        def f(positions, q, k):
            out = []
            for x in (q, k):
                turn, rest = x.view(len(positions), -1, d).split([rot, d - rot], dim=-1)
                a, b = turn.chunk(2, dim=-1)
                out.append(torch.cat([turn * cos + torch.cat([-b, a], dim=-1) * sin, rest], dim=-1).flatten(1))
            return tuple(out)
        return self.call(name, f, positions, q, k)


BF16 = {
    "granite": (Dense, Dense.granite, ERAS),
    "seedoss": (Dense, Dense.like_llama, ERAS),
    "glm4": (Dense, Dense.glm4, ERAS),
    "glm": (Dense, Dense.like_llama, ["vllm-2026"]),
    "cohere2": (Dense, Dense.cohere, ERAS),
    "cohere-qknorm": (Dense, Dense.cohere, ERAS),
    "ernie45": (Dense, Dense.like_llama, ERAS),
    "phi4-mini-long": (Phi, Phi.like_llama, ERAS),
}
