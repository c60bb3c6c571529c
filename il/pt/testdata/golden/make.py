#!/usr/bin/env python3
"""Makes and checks the golden files of this folder with PyTorch.

    make.py FOLDER          write the files and cases.json (torch 2.14.1 made those here)
    make.py FOLDER check    load every file with torch, in all four ways

The pickle of each file is the one that torch.save writes. The zip around it is
put together here, after the layout that the Go writer documents (stored
records, no descriptors, payloads at multiples of 64), so it is a second
implementation to compare the Go writer with. These files never change.
"""
import io, json, os, struct, sys, zipfile, zlib
import torch

DTYPES = """float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128
float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 complex32 bcomplex32
uint16 uint32 uint64 bits8 bits16 bits1x8 bits2x4 bits4x2""".split()
SHAPES = [[], [0], [1], [7], [3, 0, 2], [2, 3, 4], [2, 3, 1, 2], [2, 1, 3, 1, 2], [300, 1], [0, 255], [0, 256],
          [0, 65535, 1], [65536, 0], [0, 2**31 - 1], [0, 2**31], [2**31, 0], [0, 2**40, 3], [0, 2**62]]


def fill(dtype, shape):
    """A tensor whose bytes count up: every bit pattern is as good as another."""
    item = torch.empty(0, dtype=dtype).element_size()
    n = item
    for s in shape:
        n *= s
    raw = bytes((37 * i + 11) % 256 for i in range(n))
    if dtype == torch.bool:
        raw = bytes(b & 1 for b in raw)
    if n == 0:
        return torch.empty(shape, dtype=dtype), raw
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(dtype).reshape(shape), raw


def cases():
    for name in DTYPES:
        t, raw = fill(getattr(torch, name), [2, 3])
        yield name, t, [raw], None
    for shape in SHAPES:
        t, raw = fill(torch.float32, shape)
        yield "shape_" + "x".join(map(str, shape)), t, [raw], None
    t, raw = fill(torch.uint16, [3, 0, 2])
    yield "shape_v3_3x0x2", t, [raw], None
    x = torch.arange(6).reshape(2, 3) / 4
    for name in ["qint8", "quint8", "qint32"]:
        t = torch.quantize_per_tensor(x, 0.05, 3, getattr(torch, name))
        i = t.int_repr()
        raw = bytes(i.view(torch.uint8).flatten().tolist())
        yield name, t, [raw], dict(scales=[0.05], zero_points=[3], axis=-1)
    s, z = torch.tensor([0.05, 0.25, 0.5], dtype=torch.float64), torch.tensor([3, -70, 0])
    t = torch.quantize_per_channel(x, s, z, 1, torch.qint8)
    raw = bytes(t.int_repr().view(torch.uint8).flatten().tolist())
    yield "qint8_perchannel", t, [raw, struct.pack("<3d", *s.tolist()), struct.pack("<3q", *z.tolist())], dict(
        scales=s.tolist(), zero_points=z.tolist(), axis=1)


def pickle_of(t):
    b = io.BytesIO()
    torch.save(t, b)
    return zipfile.ZipFile(b).read("archive/data.pkl")


def archive(prefix, records):
    out, central = b"", b""
    for name, data in records:
        name = (prefix + "/" + name).encode()
        common = struct.pack("<HHHHHIIIH", 0, 0x800, 0, 0, 0, zlib.crc32(data), len(data), len(data), len(name))
        pad = -(len(out) + 30 + len(name) + 4) % 64
        central += b"PK\x01\x02\0\0" + common + struct.pack("<HHHHII", 0, 0, 0, 0, 0, len(out)) + name
        out += b"PK\x03\x04" + common + struct.pack("<H", 4 + pad) + name + b"FB" + struct.pack("<H", pad) + b"Z" * pad + data
    n = len(records)
    return out + central + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, n, n, len(central), len(out), 0)


def make(folder):
    index = []
    for name, t, raws, quant in cases():
        records = [("data.pkl", pickle_of(t)), ("byteorder", b"little")]
        records += [("data/%d" % i, raw) for i, raw in enumerate(raws)] + [("version", b"3\n")]
        with open(os.path.join(folder, name + ".pt"), "wb") as f:
            f.write(archive(name, records))
        case = dict(name=name, dtype=str(t.dtype)[6:], shape=list(t.shape), data=raws[0].hex())
        index.append(case if quant is None else case | dict(quant=quant))
    with open(os.path.join(folder, "cases.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in index) + "\n]\n")


def bits(t):
    if t.is_quantized:
        return (t.int_repr().tolist(), t.qscheme(), t.dequantize().tolist())
    return bytes(t.contiguous().flatten().view(torch.uint8).tolist()) if t.numel() else b""


def check(folder):
    for name, t, raws, quant in cases():
        path = os.path.join(folder, name + ".pt")
        for mmap in False, True:
            for weights_only in False, True:
                got = torch.load(path, mmap=mmap, weights_only=weights_only)
                assert got.dtype == t.dtype and got.shape == t.shape and got.stride() == t.stride(), name
                assert got.device.type == "cpu" and bits(got) == bits(t), name
        with zipfile.ZipFile(path) as z:
            assert z.testzip() is None, name
    print("torch", torch.__version__, "loads all", len(list(cases())))


if __name__ == "__main__":
    (check if sys.argv[2:] == ["check"] else make)(sys.argv[1])
