"""EXAONE 4."""
import torch

from make import rope
from models_olmo import Olmo
from trace import A

MODELS = {
    "exaone4": ("Exaone4", dict(rope_parameters=rope("default"), rms_norm_eps=1e-5, sliding_window=6, head_dim=16,
                                layer_types=["full_attention", "sliding_attention", "full_attention"])),
    "exaone4-global": ("Exaone4", dict(rope_parameters=rope("llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32),
                                       rms_norm_eps=1e-6, sliding_window=None, layer_types=["full_attention"] * 3, tie_word_embeddings=True, num_key_value_heads=4)),
}


class Exaone4(Olmo):
    def exaone4(self, ids):  # vLLM models/exaone4.py
        positions, self.ropes = torch.arange(len(ids)), 0
        hidden, residual = self.call("model.embed_tokens", lambda ids: self.weights["model.embed_tokens.weight"][ids.long()], ids), None
        for i in range(self.config.num_hidden_layers):
            hidden, residual = self.call(f"model.layers.{i}", lambda p, h, r: self.exaone4_layer(i, p, h), positions, hidden, residual)
        hidden = self.norm("model.norm", hidden)
        logits = (hidden.float() @ self.weights["lm_head.weight"].float().T).to(A)
        self.tensors["logits_processor.inputs.1"], self.tensors["logits_processor.outputs.0"] = hidden, logits
        return self.tensors

    def exaone4_layer(self, i, positions, hidden):
        n = f"model.layers.{i}"
        x = self.exaone4_attention(i, n + ".self_attn", positions, hidden)
        residual = hidden + self.norm(n + ".post_attention_layernorm", x)
        x = self.call(n + ".mlp", lambda h: self.mlp(n + ".mlp", h), residual)
        return residual + self.norm(n + ".post_feedforward_layernorm", x), residual

    def exaone4_attention(self, i, n, positions, hidden):
        qkv = self.linear(n + ".qkv_proj", hidden, n + ".q_proj", n + ".k_proj", n + ".v_proj")
        d, kv = self.config.head_dim, len(self.weights[n + ".k_proj.weight"])
        q, k, v = qkv.split([qkv.shape[1] - 2 * kv, kv, kv], dim=-1)
        q = self.norm(n + ".q_norm", q.view(len(q), -1, d)).flatten(1)
        k = self.norm(n + ".k_norm", k.view(len(k), -1, d)).flatten(1)
        if self.config.layer_types[i] == "sliding_attention":
            q, k = self.rotate("model.layers.0.self_attn.rotary_emb" + (f"_{self.ropes}" if self.ropes else ""), positions, q, k)
            self.ropes += 1
        return self.linear(n + ".o_proj", self.attend(n + ".attn", q, k, v), n + ".o_proj")


BF16 = {"exaone4": (Exaone4, Exaone4.exaone4, ["vllm-2025", "vllm-2026"])}
