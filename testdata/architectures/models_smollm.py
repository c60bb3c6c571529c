"""SmolLM 3, and vLLM's transformers backend."""
import torch

from make import rope
from models_olmo import Olmo
from trace import A, Trace

MODELS = {
    "smollm3": ("SmolLM3", dict(rope_parameters=rope("default"), no_rope_layers=[1, 0, 1])),
    "smollm3-biases": ("SmolLM3", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32), no_rope_layer_interval=2, num_hidden_layers=2, attention_bias=True, mlp_bias=True,
                                       tie_word_embeddings=False, use_sliding_window=True, sliding_window=7, num_key_value_heads=1)),
}


class Backend(Olmo):
    """vLLM's transformers backend: transformers' modules with vLLM's linears and norms, and a batch dimension of 1
    before that of the tokens. What SmolLM-3 and OLMo-2 have of it, each in its eras."""

    def bare(self, name, x, *parts):
        w = torch.cat([self.weights[p + ".weight"] for p in parts]).float()
        bias = [self.weights[p + ".bias"] for p in parts if p + ".bias" in self.weights]
        b = torch.cat(bias).float() if bias else 0
        return self.call(name, lambda x: (x.float() @ w.T + b).to(A), x)

    def turns(self, positions, hidden, dtype):  # transformers' RotaryEmbedding
        d = self.config.hidden_size // self.config.num_attention_heads
        inv = 1.0 / self.config.rope_parameters["rope_theta"] ** (torch.arange(0, d, 2).float() / d)
        angles = positions.float()[..., None] * inv
        angles = torch.cat([angles, angles], dim=-1)
        self.tensors["model.rotary_emb.inputs.1"] = positions.clone()
        return self.call("model.rotary_emb", lambda h: (angles.cos().to(dtype), angles.sin().to(dtype)), hidden)

    def turned(self, x, cos, sin):  # apply_rotary_pos_emb, in the type of the cosines
        x = x.view(1, x.shape[1], -1, cos.shape[-1])
        half = torch.cat([-x[..., x.shape[-1] // 2:], x[..., :x.shape[-1] // 2]], dim=-1)
        return ((x * cos[:, :, None]) + (half * sin[:, :, None])).to(A).flatten(2)

    def backend(self, ids):
        self.acts = 0
        olmo = self.config.model_type == "olmo2"
        positions = torch.arange(len(ids))[None]
        hidden = self.call("model.embed_tokens", lambda ids: self.weights["model.embed_tokens.weight"][ids.long()], ids[None])
        cos, sin = self.turns(positions, hidden, torch.float32 if olmo else A)
        for i in range(self.config.num_hidden_layers):
            n = f"model.layers.{i}"
            if olmo:
                hidden = hidden + self.norm(n + ".post_attention_layernorm", self.attention(i, hidden, cos, sin, True))
                hidden = hidden + self.norm(n + ".post_feedforward_layernorm", self.backend_mlp(n + ".mlp", hidden))
            else:
                hidden = hidden + self.attention(i, self.norm(n + ".input_layernorm", hidden), cos, sin, False)
                hidden = hidden + self.backend_mlp(n + ".mlp", self.norm(n + ".post_attention_layernorm", hidden))
        hidden = self.norm("model.norm", hidden)[0]
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        logits = (hidden.float() @ head.float().T).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors

    def attention(self, i, hidden, cos, sin, full):  # which hooks see no arguments of
        return self.call(f"model.layers.{i}.self_attn", lambda h, c, s: self.backend_attention(i, h, c, s, full), hidden, cos, sin)

    def backend_attention(self, i, hidden, cos, sin, full):
        n = f"model.layers.{i}.self_attn"
        parts = [f"{n}.{p}_proj" for p in "qkv"]
        if self.era == "vllm-2025":
            q, k, v = (self.bare(p, hidden, p) for p in parts)
        else:
            qkv = self.bare(n + ".qkv_proj", hidden, *parts)
            q, k, v = qkv.split([len(self.weights[p + ".weight"]) for p in parts], dim=-1)
        if full:
            q, k = self.norm(n + ".q_norm", q), self.norm(n + ".k_norm", k)
        if full or self.config.no_rope_layers[i]:
            q, k = self.turned(q, cos, sin), self.turned(k, cos, sin)
        kept, self.tensors = self.tensors, {}
        out = Trace.attend(self, n + ".attn", q[0], k[0], v[0])[None]
        self.tensors = kept  # attention is no module of the backend
        return self.bare(n + ".o_proj", out, n + ".o_proj")

    def backend_mlp(self, n, x):
        if self.era == "vllm-2025":
            gate = self.bare(n + ".gate_proj", x, n + ".gate_proj")
            gate = self.call(n + ".act_fn", lambda g: torch.nn.functional.silu(g.float()).to(A), gate)
            x = gate * self.bare(n + ".up_proj", x, n + ".up_proj")
        else:  # one object for all layers
            x = self.bare(n + ".gate_up_proj", x, n + ".gate_proj", n + ".up_proj")
            x = self.silu_and_mul("model.layers.0.mlp.act_fn" + (f"_{self.acts}" if self.acts else ""), x)
            self.acts += 1
        return self.bare(n + ".down_proj", x, n + ".down_proj")


BF16 = {"smollm3": (Backend, Backend.backend, ["vllm-2025", "vllm-2026"])}
