"""A random-weight checkpoint of Llama-3.2-1B's geometry, in safetensors and GGUF."""
import json
import os
import struct

H, L, I, V, NH, NKV, D = 2048, 16, 8192, 128256, 32, 8, 64
CONFIG = dict(architectures=["LlamaForCausalLM"], attention_bias=False, bos_token_id=128000, dtype="bfloat16", eos_token_id=128001,
              head_dim=D, hidden_act="silu", hidden_size=H, intermediate_size=I, max_position_embeddings=8192, mlp_bias=False,
              model_type="llama", num_attention_heads=NH, num_hidden_layers=L, num_key_value_heads=NKV, rms_norm_eps=1e-5,
              rope_parameters=dict(rope_theta=500000.0, rope_type="default"), tie_word_embeddings=True, vocab_size=V)


def weights():
    import torch
    g = torch.Generator().manual_seed(1)
    rand = lambda *s: (torch.randn(*s, generator=g) * 0.02).to(torch.bfloat16)
    yield "model.embed_tokens.weight", "token_embd.weight", rand(V, H)
    for i in range(L):
        for hf, gguf, shape in (("self_attn.q_proj", "attn_q", (NH * D, H)), ("self_attn.k_proj", "attn_k", (NKV * D, H)),
                                ("self_attn.v_proj", "attn_v", (NKV * D, H)), ("self_attn.o_proj", "attn_output", (H, NH * D)),
                                ("mlp.gate_proj", "ffn_gate", (I, H)), ("mlp.up_proj", "ffn_up", (I, H)), ("mlp.down_proj", "ffn_down", (H, I))):
            yield f"model.layers.{i}.{hf}.weight", f"blk.{i}.{gguf}.weight", rand(*shape)
        for hf, gguf in (("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm")):
            yield f"model.layers.{i}.{hf}.weight", f"blk.{i}.{gguf}.weight", torch.ones(H, dtype=torch.bfloat16)
    yield "model.norm.weight", "output_norm.weight", torch.ones(H, dtype=torch.bfloat16)


def make_checkpoint(folder):
    import torch
    from safetensors.torch import save_file
    os.makedirs(folder, exist_ok=True)
    tensors = list(weights())
    save_file({hf: t for hf, _, t in tensors}, os.path.join(folder, "model.safetensors"))
    write_gguf(os.path.join(folder, "model.gguf"), [(n, t.float() if t.dim() == 1 else t) for _, n, t in tensors])
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(CONFIG, f)


def write_gguf(path, tensors):
    """GGUF version 3 (llama.cpp, gguf.md): bfloat16 matrices, float32 norms."""
    import torch
    text = lambda s: struct.pack("<Q", len(s)) + s.encode()
    u32 = lambda k, v: text(k) + struct.pack("<II", 4, v)
    f32 = lambda k, v: text(k) + struct.pack("<If", 6, v)
    string = lambda k, v: text(k) + struct.pack("<I", 8) + text(v)
    meta = [string("general.architecture", "llama"), u32("llama.block_count", L), u32("llama.context_length", 8192),
            u32("llama.embedding_length", H), u32("llama.feed_forward_length", I), u32("llama.attention.head_count", NH),
            u32("llama.attention.head_count_kv", NKV), u32("llama.rope.dimension_count", D), f32("llama.rope.freq_base", 500000.0),
            f32("llama.attention.layer_norm_rms_epsilon", 1e-5), u32("llama.vocab_size", V), string("tokenizer.ggml.model", "no_vocab")]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(meta)) + b"".join(meta)
    offset, blobs = 0, []
    for name, t in tensors:
        kind = 0 if t.dtype == torch.float32 else 30
        head += text(name) + struct.pack("<I", t.dim()) + b"".join(struct.pack("<Q", s) for s in reversed(t.shape)) + struct.pack("<IQ", kind, offset)
        data = t.contiguous().view(torch.uint8).numpy().tobytes()
        data += b"\0" * (-len(data) % 32)
        offset += len(data)
        blobs.append(data)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32))
        for b in blobs:
            f.write(b)
