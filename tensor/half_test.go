package tensor

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// value16 is the value of a half pattern by the format's definition.
func value16(h uint16, expBits, fracBits int) float64 {
	bias := 1<<(expBits-1) - 1
	exp := int(h>>fracBits) & (1<<expBits - 1)
	frac := float64(h & (1<<fracBits - 1))
	v := math.Ldexp(frac, 1-bias-fracBits)
	switch {
	case exp == 1<<expBits-1 && frac != 0:
		return math.NaN()
	case exp == 1<<expBits-1:
		v = math.Inf(1)
	case exp > 0:
		v = math.Ldexp(frac+math.Ldexp(1, fracBits), exp-bias-fracBits)
	}
	if h>>15 != 0 {
		v = math.Copysign(v, -1)
	}
	return v
}

// TestHalves checks every pattern, and the rounding on both sides of every
// boundary between two neighbours.
func TestHalves(t *testing.T) {
	for _, f := range []struct {
		name              string
		expBits, fracBits int
		widen             func(uint16) float32
		round             func(float32) uint16
	}{
		{"bfloat16", 8, 7, BF16ToF32, F32ToBF16},
		{"float16", 5, 10, F16ToF32, F32ToF16},
	} {
		t.Run(f.name, func(t *testing.T) {
			inf := uint16(1<<f.expBits-1) << f.fracBits
			for i := range 1 << 16 {
				h := uint16(i)
				want := value16(h, f.expBits, f.fracBits)
				got := f.widen(h)
				if want != want {
					require.True(t, got != got, "%#04x", h)
					require.Equal(t, inf, f.round(got)&inf, "%#04x stays a NaN", h)
					require.NotZero(t, f.round(got)&(1<<f.fracBits-1), "%#04x stays a NaN", h)
					continue
				}
				require.Equal(t, math.Float64bits(want), math.Float64bits(float64(got)), "%#04x", h)
				require.Equal(t, h, f.round(got), "%#04x", h)
				if h&0x7fff >= inf {
					continue
				}
				// The boundary to the next pattern away from zero; beyond the
				// largest number it lies where the next power of two would be.
				next := value16(h+1, f.expBits, f.fracBits)
				if math.IsInf(next, 0) {
					next = 2*want - value16(h-1, f.expBits, f.fracBits)
				}
				mid := float32((want + next) / 2)
				require.Equal(t, h+h&1, f.round(mid), "the middle after %#04x goes to even", h)
				if mid != 0 {
					require.Equal(t, h, f.round(math.Nextafter32(mid, 0)), "below the middle after %#04x", h)
				}
				if away := math.Nextafter32(mid, float32(math.Copysign(math.Inf(1), want))); !math.IsInf(float64(away), 0) {
					require.Equal(t, h+1, f.round(away), "above the middle after %#04x", h)
				}
			}
		})
	}
}

// TestFloat8 checks values that the formats' documents name.
func TestFloat8(t *testing.T) {
	inf := math.Inf(1)
	for _, tc := range []struct {
		d    DType
		bits uint8
		want float64
	}{
		{Float8E4M3FN, 0x7e, 448},
		{Float8E4M3FN, 0x08, 0x1p-6},
		{Float8E4M3FN, 0x01, 0x1p-9},
		{Float8E4M3FN, 0xb8, -1},
		{Float8E4M3FN, 0x7f, math.NaN()},
		{Float8E5M2, 0x7b, 57344},
		{Float8E5M2, 0x04, 0x1p-14},
		{Float8E5M2, 0x01, 0x1p-16},
		{Float8E5M2, 0x7c, inf},
		{Float8E5M2, 0xfc, -inf},
		{Float8E5M2, 0x7d, math.NaN()},
		{Float8E4M3FNUZ, 0x7f, 240},
		{Float8E4M3FNUZ, 0x01, 0x1p-10},
		{Float8E4M3FNUZ, 0x80, math.NaN()},
		{Float8E5M2FNUZ, 0x7f, 57344},
		{Float8E5M2FNUZ, 0x01, 0x1p-17},
		{Float8E5M2FNUZ, 0x80, math.NaN()},
		{Float8E8M0FNU, 127, 1},
		{Float8E8M0FNU, 0, 0x1p-127},
		{Float8E8M0FNU, 254, 0x1p127},
		{Float8E8M0FNU, 255, math.NaN()},
	} {
		var got [1]float64
		LoadFloat64(got[:], tc.d, []byte{tc.bits})
		if tc.want != tc.want {
			require.True(t, got[0] != got[0], "%s %#02x", tc.d, tc.bits)
			continue
		}
		require.Equal(t, tc.want, got[0], "%s %#02x", tc.d, tc.bits)
	}
	var pair [2]float64
	LoadFloat64(pair[:], Float4E2M1FNx2, []byte{0x97}) // low nibble first: 6, -0.5
	require.Equal(t, [2]float64{6, -0.5}, pair)
}
