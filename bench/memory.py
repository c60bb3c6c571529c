"""What a run of ilref holds in memory, beside the bound that it promises.

Peak anonymous memory is RssAnon of /proc/PID/status, read every 2 ms: the
pages of the mapped checkpoint are no part of it. The bound is
1.5 x (activations of the widest step + KV cache + logits) + 200 MB.
"""
import ctypes
import os
import subprocess
import time

PIDFD_OPEN, PROCESS_MADVISE, MADV_PAGEOUT = 434, 440, 21


def status(pid):
    """VmRSS, RssAnon, … in bytes; empty when the process has ended."""
    try:
        lines = [line.split() for line in open(f"/proc/{pid}/status")]
        return {f[0].rstrip(":"): int(f[1]) << 10 for f in lines if f[0].startswith(("Rss", "VmRSS"))}
    except (OSError, ValueError, ProcessLookupError):
        return {}


def run(command, limit=None):
    """The peaks of RssAnon and VmRSS of a command and its seconds.

    With a limit the command's pages of files are given back to the system, as
    it would take them if memory were short, whenever VmRSS passes the limit.
    """
    start = time.time()
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    anon = rss = read = 0
    while p.poll() is None:
        s = status(p.pid)
        anon, rss = max(anon, s.get("RssAnon", 0)), max(rss, s.get("VmRSS", 0))
        if limit and s.get("VmRSS", 0) > limit:
            page_out(p.pid)
        try:
            read = int(next(line for line in open(f"/proc/{p.pid}/io") if line.startswith("read_bytes")).split()[1])
        except (OSError, StopIteration):
            pass
        time.sleep(0.002)
    seconds = time.time() - start
    if p.returncode:
        raise SystemExit(f"{' '.join(command[:2])} …: {p.stderr.read().strip()}")
    return {"anon": anon, "rss": rss, "seconds": seconds, "read": read}


def page_out(pid):
    """Takes a process's mapped files out of memory (Linux 5.10)."""
    libc = ctypes.CDLL(None, use_errno=True)
    ranges = []
    try:
        for line in open(f"/proc/{pid}/maps"):
            fields = line.split()
            if len(fields) > 5 and fields[5].endswith(".safetensors"):
                lo, hi = (int(x, 16) for x in fields[0].split("-"))
                ranges += [(at, min(hi - at, 1 << 26)) for at in range(lo, hi, 1 << 26)]
    except OSError:
        return
    fd = libc.syscall(PIDFD_OPEN, pid, 0)
    for at, n in ranges:
        iovec = (ctypes.c_uint64 * 2)(at, n)
        libc.syscall(PROCESS_MADVISE, fd, iovec, ctypes.c_ulong(1), MADV_PAGEOUT, 0)
    if fd >= 0:
        os.close(fd)


def forget(path):
    """Drops a file from the page cache, written or not."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def bound(config, rows, positions, logits, element=2):
    """1.5 x (activations + KV cache + logits) + 200 MB, in bytes.

    Activations of a layer at its widest: hidden states and residual, gate and
    up projections, and their product. config is a config.json's content.
    """
    h, i, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    activations = rows * (2 * h + 3 * i)
    cache = positions * layers * 2 * config["num_key_value_heads"] * config["head_dim"]
    return 1.5 * element * (activations + cache + logits * config["vocab_size"]) + 200e6


def report(ilref, workdir, config, threads):
    """The peaks of a prefill of 512, a decode of 64 and a logged prefill; and a run in less memory than the checkpoint has."""
    ids = lambda n: ",".join(str(i + 3) for i in range(n))
    base = [ilref, "run", "--model", workdir, "--threads", str(threads)]
    session = os.path.join(workdir, "session")
    logged = ["--il-config", '{"log_step_ids": []}', "--output-dir", session]
    cases = [("prefill of 512", 512, 1, []), ("prefill of 2048", 2048, 1, []), ("decode of 64", 1, 64, []), ("prefill of 512, all modules logged", 512, 1, logged)]
    print("\n| anonymous memory, MB | peak | bound | of the bound |\n|---|---|---|---|")
    for what, prompt, new, flags in cases:
        peak = run([*base, "--prompt-ids", ids(prompt), "--max-tokens", str(new), *flags])["anon"]
        most = bound(config, prompt, prompt + new - 1, 1)
        print(f"| {what} | {peak / 1e6:.0f} | {most / 1e6:.0f} | {peak / most:.2f} |", flush=True)
        subprocess.run(["rm", "-rf", session], check=True)
    checkpoint = os.path.join(workdir, "model.safetensors")
    size = os.path.getsize(checkpoint)
    forget(checkpoint)
    got = run([*base, "--prompt-ids", ids(1), "--max-tokens", "3"], limit=size * 2 // 5)
    print(f"\nA checkpoint of {size / 1e9:.1f} GB in at most {got['rss'] / 1e9:.1f} GB of resident memory, its pages taken back as when memory is short: "
          f"3 tokens in {got['seconds']:.1f} s, {got['read'] / 1e9:.1f} GB read from the disk, {got['anon'] / 1e6:.0f} MB anonymous")
