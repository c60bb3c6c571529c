package tensor

import "math"

// BF16ToF32 widens a bfloat16 bit pattern; exact.
func BF16ToF32(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// F32ToBF16 rounds to the nearest bfloat16, ties to even; every NaN becomes
// 0x7FC0 as in PyTorch (c10/util/BFloat16.h round_to_nearest_even).
func F32ToBF16(f float32) uint16 {
	u := math.Float32bits(f)
	if f != f {
		return 0x7fc0
	}
	return uint16((u + 0x7fff + (u>>16)&1) >> 16)
}

// RoundBF16 rounds to the nearest value that bfloat16 holds.
func RoundBF16(f float32) float32 { return BF16ToF32(F32ToBF16(f)) }

// F16ToF32 widens an IEEE binary16 bit pattern; exact. Nearly all are normal.
func F16ToF32(h uint16) float32 {
	if e := h & 0x7c00; e == 0 || e == 0x7c00 {
		return oddF16(h)
	}
	return math.Float32frombits(uint32(h&0x8000)<<16 | (uint32(h&0x7fff)<<13 + 112<<23))
}

// oddF16 widens zeros, subnormal values, infinities and NaN.
func oddF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	frac := uint32(h & 0x3ff)
	switch {
	case h&0x7c00 != 0: // Inf and NaN keep their payload
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case frac == 0:
		return math.Float32frombits(sign)
	}
	f := float32(frac) * 0x1p-24 // subnormal: exact
	if sign != 0 {
		return -f
	}
	return f
}

// F32ToF16 rounds to the nearest IEEE binary16, ties to even; NaN becomes
// quiet with the sign kept (c10/util/Half.h fp16_ieee_from_fp32_value).
func F32ToF16(f float32) uint16 {
	u := math.Float32bits(f)
	sign := uint16(u>>16) & 0x8000
	u &= 0x7fffffff
	switch {
	case u > 0x7f800000: // NaN
		return sign | 0x7e00
	case u >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case u < 0x38800000: // below the smallest normal, 2^-14
		// Adding 0.5 puts the last place of the float32 at 2^-24, that of a
		// binary16 subnormal, so the addition rounds as wanted.
		g := float32(math.Float32frombits(u) + 0.5)
		return sign | uint16(math.Float32bits(g)-0x3f000000)
	}
	u += 0xc8000fff + (u>>13)&1 // rebias by -112 and round to even
	return sign | uint16(u>>13)
}

// RoundF16 rounds to the nearest value that IEEE binary16 holds.
func RoundF16(f float32) float32 { return F16ToF32(F32ToF16(f)) }

// float8 and float4 values by bit pattern, built from the formats'
// definitions (OCP 8-bit Floating Point Specification 1.0; the fnuz forms from
// arXiv 2206.02915; OCP Microscaling Formats 1.0 for e8m0 and e2m1).
var (
	f8e4m3fn   = minifloatTable(4, 3, 7, func(b uint8) (float32, bool) { return nan32, b&0x7f == 0x7f })
	f8e5m2     = minifloatTable(5, 2, 15, ieeeSpecials)
	f8e4m3fnuz = minifloatTable(4, 3, 8, func(b uint8) (float32, bool) { return nan32, b == 0x80 })
	f8e5m2fnuz = minifloatTable(5, 2, 16, func(b uint8) (float32, bool) { return nan32, b == 0x80 })
	f8e8m0fnu  = e8m0Table()
	f4e2m1     = [16]float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6}
)

var nan32 = float32(math.NaN())

func ieeeSpecials(b uint8) (float32, bool) {
	if b&0x7c != 0x7c {
		return 0, false
	}
	if b&3 != 0 {
		return nan32, true
	}
	return float32(math.Inf(1 - 2*int(b>>7))), true
}

func minifloatTable(expBits, fracBits, bias int, special func(uint8) (float32, bool)) *[256]float32 {
	var t [256]float32
	for i := range t {
		b := uint8(i)
		if v, ok := special(b); ok {
			t[i] = v
			continue
		}
		exp := int(b>>fracBits) & (1<<expBits - 1)
		frac := float64(b & (1<<fracBits - 1))
		v := math.Ldexp(frac, 1-bias-fracBits) // subnormal
		if exp != 0 {
			v = math.Ldexp(frac+float64(int(1)<<fracBits), exp-bias-fracBits)
		}
		if b&0x80 != 0 {
			v = math.Copysign(v, -1)
		}
		t[i] = float32(v)
	}
	return &t
}

func e8m0Table() *[256]float32 {
	var t [256]float32
	for i := range t {
		t[i] = float32(math.Ldexp(1, i-127))
	}
	t[255] = nan32
	return &t
}
