"""The limits of the machine: multiply-adds a second, and bytes read a second.

Both are measured by a few instructions of machine code, since nothing else is
sure to be the limit: twelve independent chains of fused multiply-adds, and
loads of a block far larger than the caches. x86-64 only.
"""
import ctypes
import itertools
import mmap
import platform
import sys
import threading
import time


def wide():
    """The register width in bytes: 64 with AVX-512, 32 with AVX2 and FMA, 0 for neither."""
    try:
        flags = next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split()
    except (OSError, StopIteration):
        return 0
    if platform.machine() != "x86_64" or "fma" not in flags or "avx2" not in flags:
        return 0
    return 64 if "avx512f" in flags else 32


def function(code, *argtypes):
    page = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    f = ctypes.CFUNCTYPE(None, *argtypes)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    f.page = page
    return f


def loop(body, counter):
    """body, then `dec counter` (rdi or rsi), and again until it is 0."""
    code = body + bytes([0x48, 0xFF, {"rdi": 0xCF, "rsi": 0xCE}[counter]])
    return code + b"\x0f\x85" + (-(len(code) + 6)).to_bytes(4, "little", signed=True) + b"\xc5\xf8\x77\xc3"  # jnz, vzeroupper, ret


def fma_loop(width):
    def fma(i):  # vfmadd231ps i, 14, 15
        r, modrm = int(i < 8), 0xC0 | (i & 7) << 3 | 7
        if width == 64:
            return bytes([0x62, r << 7 | 0x52, 0x0D, 0x48, 0xB8, modrm])
        return bytes([0xC4, r << 7 | 0x42, 0x0D, 0xB8, modrm])
    return function(b"\xc5\xfc\x77" + loop(b"".join(map(fma, range(12))), "rdi"), ctypes.c_uint64)  # vzeroall first


def read_loop():
    load = lambda i: bytes([0xC5, 0xFC, 0x10, 0x47 | i << 3, 32 * i]) if i < 4 else bytes([0xC5, 0xFC, 0x10, 0x87 | i << 3]) + (32 * i).to_bytes(4, "little")
    return function(loop(b"".join(map(load, range(8))) + b"\x48\x81\xc7" + (256).to_bytes(4, "little"), "rsi"), ctypes.c_void_p, ctypes.c_uint64)


def best(repeat, f):
    times = []
    for _ in range(repeat):
        t = time.perf_counter()
        f()
        times.append(time.perf_counter() - t)
    return min(times)


def fma_peak(repeat=200):
    """GFLOP/s of one core in float32."""
    width, n = wide(), 250_000
    f = fma_loop(width)
    return 2 * 12 * (width // 4) * n / best(repeat, lambda: f(n)) / 1e9


def read_bandwidth(threads, repeat=40):
    """GB/s that the threads read together from memory: parts of 64 MB in turn, so that none is in a cache."""
    size, part, f = 1 << 28, 1 << 26, read_loop()
    blocks = [mmap.mmap(-1, size) for _ in range(threads)]
    for b in blocks:
        for i in range(0, size, 4096):
            b[i] = 1
    at = [ctypes.addressof(ctypes.c_char.from_buffer(b)) for b in blocks]
    turn = itertools.count()

    def run():
        offset = next(turn) * part % size
        workers = [threading.Thread(target=f, args=(a + offset, part // 256)) for a in at]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
    return threads * part / best(repeat, run) / 1e9


if __name__ == "__main__":
    if not wide():
        sys.exit("no AVX2: the limits of this machine are not measured")
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    print(f"{8 * wide()}-bit registers: {fma_peak():.1f} GFLOP/s a core; memory {read_bandwidth(1):.1f} GB/s one thread, {read_bandwidth(threads):.1f} GB/s {threads}")
