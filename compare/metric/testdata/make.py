"""Writes golden.json: pairs of tensors with their metrics, computed without
this project: sums as exact fractions, square roots to 60 digits, mismatches by
torch.isclose (the test behind torch.testing.assert_close).

    python3 make.py        # needs torch 2.x
"""
import json, math, os
from decimal import Decimal, getcontext
from fractions import Fraction
import torch
from torch.testing._comparison import default_tolerances

getcontext().prec = 60
torch.manual_seed(1)
F = lambda q: float(q)


def sqrt(q):  # Fraction -> Decimal
    return (Decimal(q.numerator) / Decimal(q.denominator)).sqrt()


def values(t):
    if t.is_complex():
        t = torch.view_as_real(t.to(torch.complex128)).reshape(-1)
    else:
        t = t.reshape(-1)
    return [int(v) if isinstance(v, (int, bool)) else v for v in t.tolist()]


def dec(x):
    return None if x is None or not math.isfinite(x) else repr(x)


def case(name, r, t):
    rv, tv = values(r), values(t)
    fin = lambda v: isinstance(v, int) or math.isfinite(v)
    same = lambda a, b: a == b or (a != a and b != b)
    pairs = [(Fraction(a), Fraction(b)) for a, b in zip(rv, tv) if fin(a) and fin(b)]
    differ = sum(1 for a, b in zip(rv, tv) if not (fin(a) and fin(b)) and not same(a, b))
    rr, tt = sum((a * a for a, _ in pairs), Fraction(0)), sum((b * b for _, b in pairs), Fraction(0))
    rt, dd = sum((a * b for a, b in pairs), Fraction(0)), sum(((b - a) ** 2 for a, b in pairs), Fraction(0))
    nr, nt, nd = sqrt(rr), sqrt(tt), sqrt(dd)
    ratio = lambda a, b: 0.0 if a == 0 else (math.inf if b == 0 else float(a / b))
    if dd == 0:
        omc = 0.0
    elif rr == 0 or tt == 0:
        omc = 1.0
    else:
        omc = float(1 - (Decimal(rt.numerator) / Decimal(rt.denominator)) / (nr * nt))
    best, at = Fraction(0), None
    for i, (a, b) in enumerate(zip(rv, tv)):
        if fin(a) and fin(b):
            d = abs(Fraction(b) - Fraction(a))
        elif same(a, b):
            continue
        else:
            d = None
        if d is None:
            if best is not None:
                best, at = None, i
        elif best is not None and d > best:
            best, at = d, i
    rtol, atol = default_tolerances(r, t)
    wide = torch.promote_types(r.dtype, t.dtype)
    if wide.is_floating_point or wide.is_complex:
        x, y = torch.tensor([float(v) for v in rv], dtype=torch.float64), torch.tensor([float(v) for v in tv], dtype=torch.float64)
        mism = int((~torch.isclose(y, x, rtol=rtol, atol=atol, equal_nan=True)).sum())
    else:
        mism = sum(a != b for a, b in zip(rv, tv))
    comp = 2 if r.is_complex() else 1
    if at is not None:
        at //= comp
        at = [int(k) for k in torch.unravel_index(torch.tensor(at), r.shape)] if r.dim() else []
    raw = lambda x: bytes(x.contiguous().view(-1).view(torch.uint8).tolist()).hex() if x.dim() else raw(x.reshape(1))
    try:
        max_abs = None if best is None else float(best)
    except OverflowError:
        max_abs = None
    return dict(
        name=name, shape=list(r.shape), dtypes=[str(r.dtype)[6:], str(t.dtype)[6:]], reference=raw(r), target=raw(t),
        max_abs=dec(max_abs), max_abs_at=at,
        one_minus_cosine=None if differ else repr(omc), rel_l2=None if differ else dec(ratio(nd, nr)), norm_ratio=None if differ else dec(ratio(nt, nr)),
        mismatched=mism, equal=sum(same(a, b) for a, b in zip(rv, tv)),
        nan=[sum(v != v for v in rv), sum(v != v for v in tv)], inf=[sum(isinstance(v, float) and math.isinf(v) for v in w) for w in (rv, tv)],
        nonfinite=differ)


def main():
    n = torch.randn
    bf, h, s, d = torch.bfloat16, torch.float16, torch.float32, torch.float64
    inf, nan = math.inf, math.nan
    a = n(7, 33, dtype=d)
    out = [case("noise " + str(t)[6:], a.to(t), (a + e * n(7, 33, dtype=d)).to(t)) for t, e in ((bf, 4e-3), (h, 1e-3), (s, 1e-6), (d, 1e-14))]
    out += [
        case("one last place of float64", a, torch.nextafter(a, a + 1)),
        case("scaled by 1.02", a.to(s), (a.to(s).double() * 1.02).to(s)),
        case("scaled by 2, exactly", a.to(bf), a.to(bf) * 2),
        case("negated", a.to(h), -a.to(h)),
        case("unrelated", a.to(bf), n(7, 33, dtype=d).to(bf)),
        case("equal", a.to(bf), a.to(bf)),
        case("bfloat16 against float32", a.to(s), a.to(bf)),
        case("float16 against bfloat16", a.to(h), a.to(bf)),
        case("float64 against float32", a, a.to(s)),
        case("many values", n(2, 1100, dtype=d).to(bf), n(2, 1100, dtype=d).to(bf)),
        case("huge float64", a * 1e300, (a + 1e-3 * n(7, 33, dtype=d)) * 1e300),
        case("huge against ordinary", a * 1e300, a + 1e-3 * n(7, 33, dtype=d)),
        case("difference beyond float64", torch.tensor([1.5e308, 1.0], dtype=d), torch.tensor([-1.5e308, 1.0], dtype=d)),
        case("tiny float64", a * 1e-290, (a + 1e-3 * n(7, 33, dtype=d)) * 1e-290),
        case("subnormal float64", torch.tensor([5e-324, 1e-323], dtype=d), torch.tensor([1e-323, 5e-324], dtype=d)),
        case("both zero", torch.zeros(3, dtype=bf), torch.zeros(3, dtype=bf)),
        case("zeros of both signs", torch.tensor([0.0, -0.0]), torch.tensor([-0.0, 0.0])),
        case("reference zero", torch.zeros(3), torch.tensor([0.0, 2.0, 0.0])),
        case("target zero", torch.tensor([0.0, 2.0, 0.0], dtype=h), torch.zeros(3, dtype=h)),
        case("empty", torch.zeros(0, 4), torch.zeros(0, 4)),
        case("scalar", torch.tensor(1.5), torch.tensor(1.25)),
        case("NaN at the same place", torch.tensor([nan, 1.0, 2.0]), torch.tensor([nan, 1.0, 3.0])),
        case("NaN in the target", torch.tensor([[1.0, 1.0], [2.0, 3.0]], dtype=bf), torch.tensor([[1.0, 1.5], [nan, 3.0]], dtype=bf)),
        case("NaN in the reference", torch.tensor([nan, 1.0], dtype=d), torch.tensor([0.0, 1.0], dtype=d)),
        case("the same infinities", torch.tensor([inf, -inf, 1.0], dtype=h), torch.tensor([inf, -inf, 1.5], dtype=h)),
        case("infinities of other sign", torch.tensor([1.0, inf]), torch.tensor([1.0, -inf])),
        case("infinity against NaN", torch.tensor([1.0, inf]), torch.tensor([1.0, nan])),
        case("int64 beyond 2^53", torch.tensor([2**53, 2**53 + 1]), torch.tensor([2**53, 2**53 + 2])),
        case("int64 extremes", torch.tensor([-(2**63), 2**63 - 1, 0]), torch.tensor([2**63 - 1, -(2**63), 0])),
        case("int32 against int64", torch.tensor([1, -5, 9], dtype=torch.int32), torch.tensor([1, -5, 10])),
        case("uint8 against int16", torch.tensor([250, 5], dtype=torch.uint8), torch.tensor([-1, 5], dtype=torch.int16)),
        case("bool", torch.tensor([True, False, True]), torch.tensor([True, True, True])),
        case("int64 against float32", torch.tensor([1, 2, 3]), torch.tensor([1.0, 2.5, 3.0])),
        case("complex64", torch.complex(n(5), n(5)), torch.complex(n(5), n(5))),
    ]
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in out) + "\n]\n")


main()
