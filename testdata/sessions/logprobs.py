"""Writes logprobs.json: for pairs of sessions, the log probabilities of the tokens that both ran and the figures that RL
trainers make of them, by torch.log_softmax in float64, the formulas as written in docs/trainer-and-rollout.md.
Usage: python3 logprobs.py FOLDER > logprobs.json (FOLDER holds the sessions, unpacked), with torch 2.14."""
import glob, json, math, sys
import torch


def load(*path):
    files = sorted(glob.glob("/".join(path) + "*.pt"))
    return torch.load(files[0], map_location="cpu") if files else None


def read(folder):
    """The tokens of every request, and its rows of logits by position."""
    hf = bool(glob.glob(f"{folder}/step_*/lm_head"))
    tokens, rows, length = [], [], 0
    steps = sorted(int(d.rsplit("_", 1)[1]) for d in glob.glob(f"{folder}/step_*"))
    for n in steps:
        ids = load(folder, f"step_{n}", "model.embed_tokens", "inputs_0")
        if ids is None:
            continue
        ids = ids.flatten().tolist()
        positions = None if hf else load(folder, f"step_{n}", "model.layers.0", "inputs_0")
        positions = list(range(length, length + len(ids))) if positions is None else positions.tolist()
        length += len(ids)
        request = -1
        where = []
        for i, p in enumerate(positions):
            request += i == 0 or p != positions[i - 1] + 1  # requests keep their order
            if request == len(tokens):
                tokens.append([])
                rows.append({})
            where.append((request, p))
            assert len(tokens[request]) == p
            tokens[request].append(ids[i])
        logits = load(folder, f"step_{n}", "lm_head", "outputs") if hf else load(folder, f"step_{n + 1}", "logits_processor", "outputs")
        if logits is None:
            continue
        logits = logits.reshape(-1, logits.shape[-1])
        if len(logits) == len(ids):
            of = where
        else:
            of = [w for i, w in enumerate(where) if i + 1 == len(where) or where[i + 1][0] != w[0]]
        assert len(of) == len(logits)
        for (q, p), row in zip(of, logits):
            rows[q][p] = row.double()
    return tokens, rows


def following(ids, p):
    return (ids[p + 1], p + 2 == len(ids)) if p + 1 < len(ids) else (None, False)


def figures(ts, clip=0.2):
    r = torch.tensor([t["log"] for t in ts], dtype=torch.float64)
    lr = r[:, 1] - r[:, 0]
    w = torch.exp(-lr)
    kl = torch.tensor([t["kl"] for t in ts], dtype=torch.float64)
    p = torch.exp(r)
    return {
        "tokens": len(ts),
        "mean_log_ratio": lr.mean().item(),
        "mean_abs_log_ratio": lr.abs().mean().item(),
        "max_abs_log_ratio": lr.abs().max().item(),
        "k3": (w - 1 - torch.log(w)).mean().item(),
        "kl_reference_target": kl[:, 0].mean().item(),
        "kl_target_reference": kl[:, 1].mean().item(),
        "max_kl_reference_target": kl[:, 0].max().item(),
        "max_kl_target_reference": kl[:, 1].max().item(),
        "mean_exp_abs_log_ratio": torch.exp(lr.abs()).mean().item(),
        "ess": (w.sum() ** 2 / (len(ts) * (w * w).sum())).item(),
        "clipped": ((w < 1 - clip) | (w > 1 + clip)).double().mean().item(),
        "max_prob_diff": (p[:, 1] - p[:, 0]).abs().max().item(),
        "mean_prob_diff": (p[:, 1] - p[:, 0]).abs().mean().item(),
    }


def compare(reference, target):
    (ids_r, rows_r), (ids_t, rows_t) = read(reference), read(target)
    tokens, none, other, requests = [], 0, 0, []
    for q, ids in enumerate(ids_r):
        partner = [k for k, x in enumerate(ids_t) if x[:4] == ids[:4]]
        if not partner:
            continue
        k, of = partner[0], []
        for p in sorted(rows_r[q].keys() & rows_t[k].keys()):
            if ids[: p + 1] != ids_t[k][: p + 1]:
                continue  # a row of another text
            (x, x_ends), (y, y_ends) = following(ids, p), following(ids_t[k], p)
            if x is not None and y is not None and x != y:
                other += 1
                continue
            if x is None and not y_ends or y is None and not x_ends:
                none += 1
                continue
            i = y if x is None else x
            a, b = torch.log_softmax(rows_r[q][p], -1), torch.log_softmax(rows_t[k][p], -1)
            of.append({"position": p + 1, "id": i, "log": [a[i].item(), b[i].item()],
                       "kl": [(a.exp() * (a - b)).sum().item(), (b.exp() * (b - a)).sum().item()]})
        if of:
            requests.append(figures(of))
            tokens += of
    return {"reference": reference.rsplit("/", 1)[1], "target": target.rsplit("/", 1)[1], "no_next": none, "other_next": other,
            "all": figures(tokens), "requests": requests, "run_tokens": tokens}


L = "llama3-gqa-bf16"
PAIRS = [(L, L + "-splitk"), (L, L + "-fault-row_scale"), (L, L + "-fault-rope_theta"), (L, L + "-fault-kv_swapped"),
         ("llama3-gqa-fp32", L), ("llama3-gqa-fp64", "llama3-gqa-fp32"), (L + "-batch3", L + "-batch3"), (L, L + "-batch3"),
         ("llama31-rope-bf16", "llama31-rope-bf16"), ("gopher-1m-bf16", "gopher-1m-bf16-fault"),
         (L, "llama3-gqa-hf-bf16"), ("llama3-gqa-hf-bf16", "llama3-gqa-hf-fp32"), ("llama3-gqa-hf-bf16-trainer", L),
         (L + "-splitk", "llama3-gqa-hf-bf16-trainer"), ("llama3-gqa-hf-bf16-trainer", L + "-fault-row_scale"),
         ("llama3-gqa-hf-fp32", "llama3-gqa-hf-bf16-trainer")]
print(json.dumps([compare(f"{sys.argv[1]}/{a}", f"{sys.argv[1]}/{b}") for a, b in PAIRS], indent=1))
