"""Writes sessions of transformers' own models in bfloat16 and float16, with eager and sdpa attention, of every
architecture that ilref runs, to hold the rounding points of the profiles transformers and transformers-eager to: alike
computations without a fault, and planted faults. Each is packed as NAME.tar.gz, small and in the same order each time.
Usage: python3 hf-rounding.py TESTDATA FOLDER [NAME..], with torch 2.14 (CPU) and transformers 5.12.

torch's flash kernel for CPUs takes an exponential that is off by 1e-4 (fexp_u20) where it has vector instructions. All
sessions but those of FAST run without them (ATEN_CPU_CAPABILITY=default), so that the points are seen alone."""
import gzip, importlib.util, os, shutil, subprocess, sys, tarfile
import torch
import transformers

here = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("hf_session", os.path.join(here, "hf-session.py"))
hf_session = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hf_session)

PROMPT = [1, 5, 9, 120, 33, 7, 80, 11, 12, 13, 60, 99, 4]


def long_prompt(n, vocab):
    return [1] + torch.randint(3, vocab, (n - 1,), generator=torch.Generator().manual_seed(7)).tolist()


def odd(folder):
    """A Llama of sizes that are no powers of two: heads of 48, a vocabulary of 173."""
    torch.manual_seed(3)
    config = transformers.LlamaConfig(hidden_size=20, intermediate_size=28, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=48,
                                      vocab_size=173, max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=None,
                                      rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():  # weights large enough that attention and gates matter
        for key, p in model.named_parameters():
            p.copy_(1 + 0.2 * torch.randn_like(p) if "norm" in key else torch.randn_like(p) * (1.5 / p.shape[-1] ** 0.5 if "embed" not in key else 1.0))
    model.to(torch.bfloat16).save_pretrained(folder)


def rope_theta(model):  # the frequencies of a theta of 20000
    inv = model.model.rotary_emb.inv_freq
    inv.copy_(1 / 20000.0 ** (torch.arange(len(inv)).float() / len(inv)))


def one_head(model):  # of layer 1, the second head's result is 8 % too large where it meets o_proj
    def hook(m, args):
        x = args[0].clone()
        d = x.shape[-1] // model.config.num_attention_heads
        x[..., d:2 * d] *= 1.08
        return (x,)
    model.model.layers[1].self_attn.o_proj.register_forward_pre_hook(hook)


def row_scale(model):  # of layer 1, the first half of the rows of down_proj
    def hook(m, args, out):
        n = (out.shape[1] + 1) // 2
        return torch.cat([out[:, :n] * 1.03, out[:, n:]], dim=1)
    model.model.layers[1].mlp.down_proj.register_forward_hook(hook)


def kv_swapped(model):  # of layer 2
    a = model.model.layers[2].self_attn
    with torch.no_grad():
        a.k_proj.weight, a.v_proj.weight = a.v_proj.weight, a.k_proj.weight


ARCH, B, F, F32 = "architectures/", "bfloat16", "float16", "float32"
POSITIONS = ("position_ids",)
LEAVES = "embed_tokens|rotary_emb|norm|_proj|lm_head"

# name: checkpoint, dtype, new tokens, ids, more arguments of record()
SESSIONS = {
    "hf-llama-sdpa": (ARCH + "llama-default", B, 3, PROMPT, dict(attention="sdpa")),
    "hf-llama-eager": (ARCH + "llama-default", B, 3, PROMPT, dict(attention="eager")),
    "hf-llama-chunks": (ARCH + "llama-default", B, 3, PROMPT, dict(attention="sdpa", chunks=[5, 1, 7], keywords=POSITIONS)),
    "hf-llama-fp16-sdpa": (ARCH + "llama-default", F, 3, PROMPT, dict(attention="sdpa", keywords=POSITIONS)),
    "hf-llama-fp16-eager": (ARCH + "llama-default", F, 3, PROMPT, dict(attention="eager")),
    "hf-mistral-sdpa": (ARCH + "mistral-window", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-qwen2-eager": (ARCH + "qwen2-window", B, 2, PROMPT, dict(attention="eager")),
    "hf-qwen3-fp16-sdpa": (ARCH + "qwen3", F, 2, PROMPT, dict(attention="sdpa")),
    "hf-phi3-eager": (ARCH + "phi3-partial", B, 2, PROMPT, dict(attention="eager")),
    "hf-phi3-long-sdpa": (ARCH + "phi3-longrope-long", B, 5, PROMPT, dict(attention="sdpa", chunks=[13])),
    "hf-olmo2-sdpa": (ARCH + "olmo2", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-olmo2-fp16-eager": (ARCH + "olmo2", F, 2, PROMPT, dict(attention="eager")),
    "hf-mixtral-sdpa": (ARCH + "mixtral", B, 2, PROMPT[:3] + [77] + PROMPT[4:], dict(attention="sdpa")),
    "hf-mixtral-tie": (ARCH + "mixtral", B, 1, PROMPT, dict(attention="sdpa", only="layers.2.mlp|lm_head")),  # torch's topk takes the second of equal logits
    "hf-qwen2moe-sdpa": (ARCH + "qwen2moe", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-qwen3moe-fp16-eager": (ARCH + "qwen3moe", F, 2, PROMPT, dict(attention="eager")),
    "hf-granitemoe-sdpa": (ARCH + "granitemoe", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-deepseek2-eager": (ARCH + "deepseek2", B, 2, PROMPT, dict(attention="eager")),
    "hf-deepseek3-sdpa": (ARCH + "deepseek3", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-deepseek3-fp32": (ARCH + "deepseek3-kimi", "float32", 2, PROMPT[:7], dict(attention="sdpa")),
    "hf-glm4moe-sdpa": (ARCH + "glm4moe", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-granite-eager": (ARCH + "granite", B, 2, PROMPT, dict(attention="eager")),
    "hf-seedoss-sdpa": (ARCH + "seedoss", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-glm4-sdpa": (ARCH + "glm4", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-glm-eager": (ARCH + "glm", B, 2, PROMPT, dict(attention="eager")),
    "hf-cohere2-sdpa": (ARCH + "cohere2", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-cohere-eager": (ARCH + "cohere-qknorm", B, 2, PROMPT, dict(attention="eager")),
    "hf-ernie45-sdpa": (ARCH + "ernie45", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-phi4-eager": (ARCH + "phi4-mini-long", B, 5, PROMPT, dict(attention="eager", chunks=[13])),
    "hf-granite-fp32": (ARCH + "granite", F32, 1, PROMPT[:5], dict(attention="eager")),
    "hf-seedoss-fp32": (ARCH + "seedoss", F32, 1, PROMPT[:5], dict(attention="eager")),
    "hf-glm4-fp32": (ARCH + "glm4", F32, 1, PROMPT[:5], dict(attention="eager")),
    "hf-glm-fp32": (ARCH + "glm", F32, 1, PROMPT[:5], dict(attention="eager")),
    "hf-cohere-fp32": (ARCH + "cohere-qknorm", F32, 1, PROMPT[:5], dict(attention="eager")),
    "hf-cohere2-fp32": (ARCH + "cohere2", F32, 1, PROMPT[:11], dict(attention="eager", only="^((?!act_fn|self_attn$|mlp$).)*$")),
    "hf-ernie45-fp32": (ARCH + "ernie45", F32, 1, PROMPT[:5], dict(attention="eager")),
    "hf-phi4-fp32": (ARCH + "phi4-mini-long", F32, 1, PROMPT[:5], dict(attention="eager")),
    "hf-gptoss-eager": (ARCH + "gptoss", B, 2, PROMPT, dict(attention="eager")),
    "hf-gptoss-fp32": (ARCH + "gptoss", F32, 1, PROMPT, dict(attention="eager")),
    "hf-llama4-sdpa": (ARCH + "llama4", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-llama4-fp32": (ARCH + "llama4", F32, 1, PROMPT[:9], dict(attention="eager", only="^((?!experts|act).)*$")),
    "hf-gemma2-eager": (ARCH + "gemma2", B, 2, PROMPT, dict(attention="eager")),
    "hf-gemma2-sdpa": (ARCH + "gemma2", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-gemma3-sdpa": (ARCH + "gemma3", B, 2, PROMPT, dict(attention="sdpa")),
    "hf-olmo3-sdpa": (ARCH + "olmo3", B, 2, PROMPT[:11], dict(attention="sdpa", told=True)),
    "hf-exaone4-sdpa": (ARCH + "exaone4", B, 2, PROMPT, dict(attention="sdpa", told=True)),
    "hf-smollm3-sdpa": (ARCH + "smollm3", B, 2, PROMPT, dict(attention="sdpa", told=True)),
    "hf-smollm3-eager": (ARCH + "smollm3-biases", B, 2, PROMPT, dict(attention="eager", told=True)),
    "olmo3-hf-fp32": (ARCH + "olmo3", "float32", 2, PROMPT[:4], dict(attention="eager", told=True)),
    "exaone4-hf-fp32": (ARCH + "exaone4", "float32", 2, PROMPT[:5], dict(attention="eager", told=True)),
    "smollm3-hf-fp32": (ARCH + "smollm3", "float32", 2, PROMPT[:7], dict(attention="eager", told=True)),
    "hf-odd-sdpa": ("hf-odd", B, 2, long_prompt(300, 173), dict(attention="sdpa", only=LEAVES)),
    "hf-odd-fp16-sdpa-fast": ("hf-odd", F, 2, long_prompt(150, 173), dict(attention="sdpa", only=LEAVES)),
    "hf-odd-fp16-eager": ("hf-odd", F, 2, long_prompt(200, 173), dict(attention="eager", only=LEAVES)),
    "hf-fault-rope_theta": (ARCH + "llama-default", B, 1, PROMPT, dict(attention="sdpa", fault=rope_theta)),
    "hf-fault-one_head": (ARCH + "llama-default", B, 1, PROMPT, dict(attention="sdpa", fault=one_head)),
    "hf-fault-row_scale": (ARCH + "llama-default", B, 1, PROMPT, dict(attention="eager", fault=row_scale)),
    "hf-fault-kv_swapped": (ARCH + "llama-default", B, 1, PROMPT, dict(attention="eager", fault=kv_swapped)),
}
FAST = ["hf-odd-fp16-sdpa-fast"]


def pack(folder, name):
    """One archive of a folder, the same bytes for the same files."""
    def plain(info):
        info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
        info.mode = 0o755 if info.isdir() else 0o644
        return info
    with open(os.path.join(folder, name + ".tar.gz"), "wb") as f, gzip.GzipFile(filename="", fileobj=f, mode="wb", mtime=0, compresslevel=9) as gz:
        with tarfile.open(fileobj=gz, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            tar.add(os.path.join(folder, name), name, filter=plain)  # in sorted order


if __name__ == "__main__":
    testdata, folder = sys.argv[1:3]
    for name in sys.argv[3:] or SESSIONS:
        capability = os.environ.get("ATEN_CPU_CAPABILITY")
        if (name not in FAST) != (capability == "default"):
            env = {k: v for k, v in os.environ.items() if k != "ATEN_CPU_CAPABILITY"}
            subprocess.run([sys.executable, __file__, testdata, folder, name], check=True, env=env if name in FAST else {**env, "ATEN_CPU_CAPABILITY": "default"})
            continue
        checkpoint, dtype, new, ids, more = SESSIONS[name]
        torch.set_num_threads(1)
        checkpoint = os.path.join(testdata, "checkpoints" if checkpoint == "hf-odd" else "", checkpoint)
        if checkpoint.endswith("hf-odd") and not os.path.exists(checkpoint):
            odd(checkpoint)
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
        hf_session.record(checkpoint, os.path.join(folder, name), dtype, new, ids, **more)
        pack(folder, name)
