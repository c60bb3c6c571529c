"""OLMo."""
import torch

from make import rope
from trace import A, Trace

MODELS = {
    "olmo2": ("Olmo2", dict(rope_parameters=rope("default"), rms_norm_eps=1e-5)),
    "olmo2-tied": ("Olmo2", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32), num_key_value_heads=4,
                                 tie_word_embeddings=True)),
    "olmo3": ("Olmo3", dict(rope_parameters=rope("default"), rms_norm_eps=1e-5, num_hidden_layers=4, num_key_value_heads=2, sliding_window=6)),
    # Layers with a window take yarn's scaling in transformers 5.12, and in vLLM of 2026.
    "olmo3-yarn": ("Olmo3", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32), layer_types=["full_attention", "sliding_attention", "full_attention"],
                                 sliding_window=9, tie_word_embeddings=True, head_dim=8, hidden_size=40, num_attention_heads=5, num_key_value_heads=1)),
}


class Olmo(Trace):
    def norm(self, name, x):  # since 2026: csrc/libtorch_stable/layernorm_kernels.cu, one rounding
        if self.era == "vllm-2025":
            return super().norm(name, x)
        def f(x):
            x = x.float()
            x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
            return (x * self.weights[name + ".weight"].float()).to(A)
        return self.call(name, f, x)

    def rotate(self, name, positions, q, k):  # since 2026: csrc/libtorch_stable/pos_encoding_kernels.cu, float32 and one rounding
        if self.era == "vllm-2025":
            return super().rotate(name, positions, q, k)
        d = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        inv = 1.0 / 10000.0 ** (torch.arange(0, d, 2).float() / d)
        angles = positions.float()[:, None] * inv
        cos, sin = angles.cos().to(A).float()[:, None], angles.sin().to(A).float()[:, None]

        def f(positions, q, k):
            out = []
            for x in (q, k):
                x, y = x.float().view(len(positions), -1, d).chunk(2, dim=-1)
                out.append(torch.cat([x * cos - y * sin, y * cos + x * sin], dim=-1).to(A).flatten(1))
            return tuple(out)
        return self.call(name, f, positions, q, k)

    def attend(self, name, q, k, v):  # with the window of the layer: key j is seen by position p if p - W < j <= p
        types = getattr(self.config, "layer_types", None)
        if not types or types[int(name.split(".")[2])] == "full_attention":
            return super().attend(name, q, k, v)
        n, w = self.config.num_attention_heads, self.config.sliding_window

        def f(q, k, v):
            d = q.shape[1] // n
            q, k, v = (x.view(len(q), -1, d).transpose(0, 1).float() for x in (q, k, v))
            k, v = (x.repeat_interleave(n // len(x), dim=0) for x in (k, v))
            seen = torch.ones(q.shape[1], q.shape[1]).tril().triu(1 - w).bool()
            s = (q @ k.transpose(1, 2)).masked_fill(~seen, -torch.inf)
            p = ((s - s.amax(-1, keepdim=True)) * d ** -0.5).exp()
            out = (p.to(A).float() @ v) / p.sum(-1, keepdim=True)
            return out.to(A).transpose(0, 1).flatten(1)
        return self.call(name, f, q, k, v)

    def olmo2(self, ids):  # vLLM v0.10.2 models/olmo2.py
        positions = torch.arange(len(ids))
        hidden = self.call("model.embed_tokens", lambda ids: self.weights["model.embed_tokens.weight"][ids.long()], ids)
        for i in range(self.config.num_hidden_layers):
            hidden = self.call(f"model.layers.{i}", lambda p, h: self.olmo2_layer(f"model.layers.{i}", p, h), positions, hidden)
        hidden = self.norm("model.norm", hidden)
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        logits = (hidden.float() @ head.float().T).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors

    def olmo2_layer(self, n, positions, hidden):
        x = self.call(n + ".self_attn", lambda p, h: self.olmo2_attention(n + ".self_attn", p, h), positions, hidden)
        hidden = self.norm(n + ".post_attention_layernorm", x) + hidden
        x = self.call(n + ".mlp", lambda h: self.mlp(n + ".mlp", h), hidden)
        return hidden + self.norm(n + ".post_feedforward_layernorm", x)

    def olmo2_attention(self, n, positions, hidden):
        qkv = self.linear(n + ".qkv_proj", hidden, n + ".q_proj", n + ".k_proj", n + ".v_proj")
        kv = len(self.weights[n + ".k_proj.weight"])
        q, k, v = qkv.split([qkv.shape[1] - 2 * kv, kv, kv], dim=-1)
        q, k = self.norm(n + ".q_norm", q), self.norm(n + ".k_norm", k)
        q, k = self.rotate("model.layers.0.self_attn.rotary_emb" + (f"_{n.split('.')[2]}" if ".0." not in n else ""), positions, q, k)
        return self.linear(n + ".o_proj", self.attend(n + ".attn", q, k, v), n + ".o_proj")


def backend(trace, ids):  # vLLM of 2026 runs OLMo-2 in its transformers backend
    from models_smollm import Backend
    return Backend(trace.config, trace.weights, trace.era).backend(ids)


BF16 = {
    "olmo2": (Olmo, lambda trace, ids: trace.olmo2(ids) if trace.era == "vllm-2025" else backend(trace, ids), ["vllm-2025", "vllm-2026"]),
    "olmo3": (Olmo, Olmo.olmo2, ["vllm-2025", "vllm-2026"]),
}
