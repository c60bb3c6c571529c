"""OLMo."""
import torch

from make import rope
from trace import A, Trace

MODELS = {
    "olmo2": ("Olmo2", dict(rope_parameters=rope("default"), rms_norm_eps=1e-5)),
    "olmo2-tied": ("Olmo2", dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32), num_key_value_heads=4,
                                 tie_word_embeddings=True)),
}


class Olmo(Trace):
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


BF16 = {"olmo2": (Olmo, Olmo.olmo2, ["vllm-2025"])}
