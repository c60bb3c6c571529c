"""Makes the golden data of this folder: run with Python, torch 2.14, safetensors 0.8.

types.safetensors  one tensor of every type that torch can save, by safetensors.torch
types.json         name -> torch dtype, shape, values as float64 (null where torch cannot convert)
battery.json       files, most of them broken, with the verdict of the reference implementation (the Rust library's deserialize)
"""

import base64, json, os, struct, sys
import safetensors, torch
from safetensors.torch import save_file

out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(__file__)

dtypes = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64,
          torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2,
          torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2]
torch.manual_seed(0)
tensors, facts = {}, {}
for d in dtypes:
    name = str(d).split(".")[1]
    raw = torch.randint(0, 256, (2, 3, torch.empty(0, dtype=d).element_size()), dtype=torch.uint8)
    if d == torch.bool:
        raw = raw % 2
    if d in (torch.float64, torch.complex64):  # values that JSON can carry
        t = torch.view_as_complex(torch.randn(2, 3, 2)) if d == torch.complex64 else torch.randn(2, 3, dtype=d)
    else:
        t = raw.view(d).reshape(2, 3)
    if d in (torch.float16, torch.bfloat16, torch.float32):
        t = torch.randn(2, 3).to(d)
    tensors[name] = t
    try:
        v = torch.view_as_real(t) if d.is_complex else t
        v = [repr(float(x)) for x in v.to(torch.float64).reshape(-1)] if d != torch.uint64 else None
    except (RuntimeError, TypeError, NotImplementedError):
        v = None
    facts[name] = {"dtype": name, "shape": list(t.shape), "values": v}
tensors["scalar"] = torch.tensor(2.5)
facts["scalar"] = {"dtype": "float32", "shape": [], "values": ["2.5"]}
tensors["empty"] = torch.empty(0, 4)
facts["empty"] = {"dtype": "float32", "shape": [0, 4], "values": []}
save_file(tensors, f"{out}/types.safetensors", metadata={"format": "pt", "made by": "safetensors.torch"})
json.dump(facts, open(f"{out}/types.json", "w"), indent=1)


def file(header, data=b"", n=None):
    h = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(h) if n is None else n) + h + data


def t(dtype="F32", shape="[1]", offsets="[0,4]", extra=""):
    return '{"dtype":"%s","shape":%s,"data_offsets":%s%s}' % (dtype, shape, offsets, extra)


four, eight = bytes(4), bytes(8)
cases = {
    "plain": file('{"a":%s}' % t(), four),
    "no tensors": file("{}"),
    "only metadata": file('{"__metadata__":{"format":"pt"}}'),
    "scalar": file('{"a":%s}' % t(shape="[]"), four),
    "zero elements": file('{"a":%s}' % t(shape="[0,3]", offsets="[0,0]")),
    "spaces after": file('{"a":%s}     ' % t(), four),
    "unsorted": file('{"b":%s,"a":%s}' % (t(offsets="[4,8]"), t()), eight),
    "two F4": file('{"a":%s}' % t("F4", "[2]", "[0,1]"), bytes(1)),
    "four F6": file('{"a":%s}' % t("F6_E2M3", "[4]", "[0,3]"), bytes(3)),
    "unknown characters in a name": file('{"\\u00e9\\n":%s}' % t(), four),
    "empty file": b"",
    "seven bytes": bytes(7),
    "header length zero": struct.pack("<Q", 0),
    "header length too large": file("{}", n=100_000_001),
    "header length all ones": file("{}", n=2**64 - 1),
    "header beyond the file": file("{}", n=3),
    "leading space": file(' {"a":%s}' % t(), four),
    "array": file("[]"),
    "null": file("null"),
    "newline after": file('{"a":%s}\n' % t(), four),
    "text after": file('{"a":%s}x' % t(), four),
    "second object": file('{"a":%s}{}' % t(), four),
    "not UTF-8": file(b'{"a\xff":' + t().encode() + b"}", four),
    "half a surrogate": file('{"\\ud800":%s}' % t(), four),
    "not JSON": file('{"a":', four),
    "trailing comma": file('{"a":%s,}' % t(), four),
    "duplicate name": file('{"a":%s,"a":%s}' % (t(), t()), four),
    "duplicate name in another place": file('{"a":%s,"a":%s}' % (t(), t(offsets="[4,8]")), eight),
    "duplicate key": file('{"a":%s}' % t(extra=',"dtype":"F32"'), four),
    "unknown key": file('{"a":%s}' % t(extra=',"order":"C"'), four),
    "missing shape": file('{"a":{"dtype":"F32","data_offsets":[0,4]}}', four),
    "missing dtype": file('{"a":{"shape":[1],"data_offsets":[0,4]}}', four),
    "missing offsets": file('{"a":{"dtype":"F32","shape":[1]}}', four),
    "key in capitals": file('{"a":{"DType":"F32","shape":[1],"data_offsets":[0,4]}}', four),
    "shape null": file('{"a":%s}' % t(shape="null"), four),
    "three offsets": file('{"a":%s}' % t(offsets="[0,4,4]"), four),
    "one offset": file('{"a":%s}' % t(offsets="[0]"), four),
    "metadata of a number": file('{"__metadata__":{"n":1}}'),
    "metadata of a string": file('{"__metadata__":"x"}'),
    "metadata null": file('{"__metadata__":null}'),
    "tensor null": file('{"a":null}'),
    "negative dimension": file('{"a":%s}' % t(shape="[-1]"), four),
    "fractional dimension": file('{"a":%s}' % t(shape="[1.0]"), four),
    "exponent": file('{"a":%s}' % t(shape="[1e0]"), four),
    "negative offset": file('{"a":%s}' % t(offsets="[-4,0]"), four),
    "offset of 2^64": file('{"a":%s}' % t(offsets="[0,18446744073709551616]"), four),
    "unknown dtype": file('{"a":%s}' % t("F128", offsets="[0,16]"), bytes(16)),
    "dtype in small letters": file('{"a":%s}' % t("f32"), four),
    "three F4": file('{"a":%s}' % t("F4", "[3]", "[0,2]"), bytes(2)),
    "size overflows": file('{"a":%s}' % t(shape="[4294967296,4294967296]"), four),
    "bits overflow": file('{"a":%s}' % t(shape="[2305843009213693952]"), four),
    "backwards": file('{"a":%s}' % t(offsets="[4,0]"), four),
    "overlap": file('{"a":%s,"b":%s}' % (t(offsets="[0,4]"), t(offsets="[2,6]")), bytes(6)),
    "same place twice": file('{"a":%s,"b":%s}' % (t(), t()), four),
    "hole": file('{"a":%s,"b":%s}' % (t(), t(offsets="[8,12]")), bytes(12)),
    "hole at the start": file('{"a":%s}' % t(offsets="[4,8]"), eight),
    "size does not fit the shape": file('{"a":%s}' % t(shape="[2]"), four),
    "beyond the data": file('{"a":%s}' % t(), bytes(3)),
    "data left over": file('{"a":%s}' % t(), bytes(5)),
    "data without tensors": file("{}", bytes(1)),
}
battery = []
for name, data in cases.items():
    try:
        safetensors.deserialize(data)
        verdict = ""
    except Exception as e:  # noqa: BLE001
        verdict = str(e) or type(e).__name__
    battery.append({"name": name, "file": base64.b64encode(data).decode(), "reference": verdict})
json.dump(battery, open(f"{out}/battery.json", "w"), indent=1)
