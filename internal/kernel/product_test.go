package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/tensor"
)

// everyKernel runs f with each set of kernels that this CPU has, and with the
// plain products.
func everyKernel(t *testing.T, f func(t *testing.T)) {
	all32, all64 := simd32, simd64
	defer func() { simd32, simd64 = all32, all64 }()
	for i, s := range all32 {
		simd32, simd64 = all32[i:i+1], all64[i:i+1]
		t.Run(s.name, f)
	}
	simd32, simd64 = nil, nil
	t.Run("plain", f)
}

// chain32 is the contract, one element at a time.
func chain32(s float32, a, b []float32) float32 {
	for k := range a {
		s = FMA32(a[k], b[k], s)
	}
	return quiet(s)
}

func chain64(s float64, a, b []float64) float64 {
	for k := range a {
		s = math.FMA(a[k], b[k], s)
	}
	return quiet(s)
}

// families of values, each hard in its own way.
var families = []struct {
	name  string
	value func(rng *rand.Rand) float32
}{
	{"normal", func(rng *rand.Rand) float32 { return float32(rng.NormFloat64()) }},
	{"bfloat16", func(rng *rand.Rand) float32 { return tensor.RoundBF16(float32(rng.NormFloat64())) }},
	{"ties", func(rng *rand.Rand) float32 { return 1 + float32(rng.IntN(8))*0x1p-23 - float32(rng.IntN(4))*0x1p-12 }},
	{"subnormal", func(rng *rand.Rand) float32 { return float32(rng.NormFloat64() * 0x1p-66) }},
	{"huge", func(rng *rand.Rand) float32 { return float32(rng.NormFloat64() * 0x1p63) }},
	{"any bits", func(rng *rand.Rand) float32 { return math.Float32frombits(rng.Uint32()) }},
	{"special", func(rng *rand.Rand) float32 {
		special := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0x1p-149, -0x1p-126, math.MaxFloat32, 1.5}
		if rng.IntN(200) == 0 {
			special = []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), math.Float32frombits(0xffa00001)}
		}
		return special[rng.IntN(len(special))]
	}},
}

// sizes reach every tile height, both widths, and all tails.
func sizes(rng *rand.Rand) [][3]int {
	s := [][3]int{{1, 1, 1}, {1, 300, 70}, {2, 129, 65}, {2, 35, 128}, {3, 70, 600}, {4, 33, 200}, {29, 33, 64}, {515, 3, 7}, {5, 37, 1100}, {260, 2, 4200}, {3, 70, 2100}, {515, 2, 1100}}
	for m := 1; m <= 31; m++ {
		s = append(s, [3]int{m, 1 + rng.IntN(150), 1 + rng.IntN(150)})
	}
	return s
}

// TestProductsAreChains forces every kernel over shapes, transpositions,
// strides and values, with c both started and continued.
func TestProductsAreChains(t *testing.T) {
	everyKernel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(11, 12))
		for i, size := range sizes(rng) {
			family := families[i%len(families)]
			t.Run(fmt.Sprint(size, family.name), func(t *testing.T) {
				checkGemms(t, rng, size[0], size[1], size[2], family.value)
			})
		}
	})
}

func checkGemms(t *testing.T, rng *rand.Rand, m, n, k int, value func(*rand.Rand) float32) {
	a, b, c := fill(rng, m*k, value), fill(rng, n*k, value), fill(rng, m*n, value)
	a64, b64, c64 := widen(a), widen(b), widen(c)
	for beta := range 2 {
		want, want64 := make([]float32, m*n), make([]float64, m*n)
		for i := range want {
			row, col := i/n*k, i%n*k
			if beta == 1 {
				want[i], want64[i] = c[i], c64[i]
			}
			want[i] = chain32(want[i], a[row:][:k], b[col:][:k])
			want64[i] = chain64(want64[i], a64[row:][:k], b64[col:][:k])
		}
		for _, tA := range []blas.Transpose{blas.NoTrans, blas.Trans} {
			for _, tB := range []blas.Transpose{blas.NoTrans, blas.Trans} {
				av, lda := layout(a, m, k, tA != blas.NoTrans)
				bv, ldb := layout(b, n, k, tB == blas.NoTrans)
				out, ldc := guarded(c, m, n)
				Implementation{}.Sgemm(tA, tB, m, n, k, 1, av, lda, bv, ldb, float32(beta), out, ldc)
				sameBits(t, want, unguarded(t, out, m, n))
				out64, _ := guarded(c64, m, n)
				Implementation{}.Dgemm(tA, tB, m, n, k, 1, widen(av), lda, widen(bv), ldb, float64(beta), out64, ldc)
				sameBits(t, want64, unguarded(t, out64, m, n))
			}
		}
	}
}

// TestChainsChooseExactArithmetic has operands for which the next cheaper
// arithmetic of the plain product is wrong.
func TestChainsChooseExactArithmetic(t *testing.T) {
	const n = 1000
	rng := rand.New(rand.NewPCG(15, 16))
	near := func(scale float32) func() float32 {
		return func() float32 { return (1 + float32(rng.IntN(3)-1)*0x1p-23) * scale }
	}
	sign := float32(1)
	for _, c := range []struct {
		name string
		s    float32
		a, b func() float32
	}{
		{"products of 24 bits", 1, near(1), near(0x1p-12)},
		{"ties below the normal range", 0, near(0x1p-75), near(0x1p-75)},
		{"a product beyond the range", -math.MaxFloat32, func() float32 { return 0x1p100 }, func() float32 { sign = -sign; return -sign * 0x1p28 }},
		{"products below the range", 0x1p-149, func() float32 { return 0x1p-75 }, func() float32 { return 0x1p-75 }},
		{"zeros", 1, func() float32 { return 0 }, near(1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := make([]float32, n), make([]float32, 4*n)
			for i := range a {
				a[i] = c.a()
			}
			for i := range b {
				b[i] = c.b()
			}
			s := [4]float32{c.s, c.s, c.s, c.s}
			chains32(&s, a, b, scan(a), scan(b))
			for l := range s {
				require.Equal(t, chain32(c.s, a, b[l*n:][:n]), s[l])
			}
		})
	}
}

// TestMatMulWidens forces every kernel over the types of weights, with and
// without rounding, at odd addresses.
func TestMatMulWidens(t *testing.T) {
	everyKernel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(13, 14))
		for d := range tensor.DType(64) {
			if !d.IsFloat() {
				continue
			}
			for _, as := range []tensor.DType{tensor.Invalid, tensor.Float32, tensor.BFloat16, tensor.Float16} {
				t.Run(fmt.Sprint(d, as), func(t *testing.T) {
					for _, s := range [][3]int{{1, 131, 70}, {1, 9, 129}, {1, 40, 600}, {2, 65, 33}, {2, 33, 256}, {3, 40, 600}, {4, 5, 1}, {4, 70, 384}, {15, 33, 64}} {
						checkMatMuls(t, rng, s[0], s[1], s[2], d, as)
					}
				})
			}
		}
	})
}

func checkMatMuls(t *testing.T, rng *rand.Rand, m, n, k int, d, as tensor.DType) {
	x, y := fill(rng, m*k, families[0].value), fill(rng, m*n, families[0].value)
	data := make([]byte, n*k*d.Size()+1)[1:]
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	if s := d.Size(); s > 1 { // any bits now and then, else values of use
		for i := 0; i < n*k; i++ {
			if rng.IntN(64) > 0 {
				tensor.StoreFloat64(data[i*s:], d, []float64{rng.NormFloat64()})
			}
		}
	}
	w, w64 := make([]float32, n*k), make([]float64, n*k)
	tensor.LoadFloat32(w, d, data)
	tensor.LoadFloat64(w64, d, data)
	for i := range w {
		switch as {
		case tensor.Float32:
			w64[i] = float64(w[i])
		case tensor.BFloat16:
			w[i] = tensor.RoundBF16(w[i])
			w64[i] = float64(w[i])
		case tensor.Float16:
			w[i] = tensor.RoundF16(w[i])
			w64[i] = float64(w[i])
		}
	}
	x64, y64 := widen(x), widen(y)
	for _, accumulate := range []bool{false, true} {
		want, want64 := make([]float32, m*n), make([]float64, m*n)
		if accumulate {
			copy(want, y)
			copy(want64, y64)
		}
		for i := range want {
			row, col := i/n*k, i%n*k
			want[i] = chain32(want[i], x[row:][:k], w[col:][:k])
			want64[i] = chain64(want64[i], x64[row:][:k], w64[col:][:k])
		}
		xv, ldx := layout(x, m, k, false)
		weights := Weights{Data: atPageEnd(t, data), DType: d, As: as}
		out, ldy := guarded(y, m, n)
		MatMul32(out, ldy, xv, ldx, m, n, k, weights, accumulate)
		sameBits(t, want, unguarded(t, out, m, n))
		out64, _ := guarded(y64, m, n)
		MatMul64(out64, ldy, widen(xv), ldx, m, n, k, weights, accumulate)
		sameBits(t, want64, unguarded(t, out64, m, n))
	}
}

// TestMatMulAlignments has rows that begin anywhere in a line of 64 bytes. What
// lies around them is not used, and -0 stays -0.
func TestMatMulAlignments(t *testing.T) {
	const n, k, line = 37, 256, 64
	everyKernel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(17, 18))
		for _, d := range []tensor.DType{tensor.Float64, tensor.Float32, tensor.BFloat16, tensor.Float16} {
			es := d.Size()
			buf := make([]byte, n*k*es+2*line)
			for i := range buf {
				buf[i] = 0xff // NaN
			}
			start := line - int(uintptr(unsafe.Pointer(&buf[0]))%line)
			for at := start; at < start+line; at += es {
				data := buf[at:][:n*k*es]
				v := make([]float64, n*k)
				for i := k; i < len(v); i++ {
					v[i] = float64(rng.IntN(15) - 7)
				}
				for i := range k {
					v[i] = math.Copysign(0, -1)
				}
				tensor.StoreFloat64(data, d, v)
				for m := 1; m <= FewRows; m++ {
					x, y := make([]float64, m*k), make([]float64, m*n)
					for i := range x {
						x[i] = float64(1 + rng.IntN(7))
					}
					for i := range y {
						y[i] = math.Copysign(0, -1)
					}
					want := slices.Clone(y)
					for i := range want {
						want[i] = chain64(want[i], x[i/n*k:][:k], v[i%n*k:][:k])
					}
					weights := Weights{Data: data, DType: d}
					y32 := narrow(y)
					MatMul32(y32, n, narrow(x), k, m, n, k, weights, true)
					sameBits(t, narrow(want), y32)
					MatMul64(y, n, x, k, m, n, k, weights, true)
					sameBits(t, want, y)
				}
				for i := range data {
					data[i] = 0xff
				}
			}
		}
	})
}

// FuzzProducts compares every kernel with the chain on any shape.
func FuzzProducts(f *testing.F) {
	f.Add(uint64(1), uint16(14), uint16(32), uint16(64), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, m, n, k uint16, family uint8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		everyKernel(t, func(t *testing.T) {
			checkGemms(t, rng, int(m%64)+1, int(n%200)+1, int(k%700)+1, families[int(family)%len(families)].value)
		})
	})
}

func TestMatMulRefusesShortSlices(t *testing.T) {
	w := Weights{Data: make([]byte, 2*3*4), DType: tensor.Float32}
	y, x := make([]float32, 2), make([]float32, 3)
	require.PanicsWithValue(t, "kernel: 24 bytes of weights: expected 36", func() { MatMul32(y, 3, x, 3, 1, 3, 3, w, false) })
	require.PanicsWithValue(t, "kernel: y of 2 and x of 3 elements: expected 4 and 6", func() { MatMul32(y, 2, x, 3, 2, 2, 3, w, false) })
	require.PanicsWithValue(t, "kernel: rows of y 1 apart and of x 3: expected at least 2 and 3", func() { MatMul32(y, 1, x, 3, 1, 2, 3, w, false) })
	require.PanicsWithValue(t, "kernel: weights of type int32", func() { MatMul32(y, 2, x, 3, 1, 2, 3, Weights{DType: tensor.Int32}, false) })
	require.PanicsWithValue(t, "kernel: a product of shape (-1, 2, 3)", func() { MatMul32(y, 2, x, 3, -1, 2, 3, w, false) })
}

func fill(rng *rand.Rand, n int, value func(*rand.Rand) float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = value(rng)
	}
	return v
}

const guard = 12345.5

// guarded lays rows of n elements out with guards between and behind them.
func guarded[F real](v []F, m, n int) (out []F, ld int) {
	ld = n + 3
	out = make([]F, m*ld)
	for i := range out {
		out[i] = guard
	}
	for i := range m {
		copy(out[i*ld:][:n], v[i*n:])
	}
	return out, ld
}

// unguarded gives the rows back after a look at the guards.
func unguarded[F real](t *testing.T, out []F, m, n int) []F {
	t.Helper()
	var v []F
	for i := range m {
		row := out[i*(n+3):][:n+3]
		v = append(v, row[:n]...)
		require.Equal(t, []F{guard, guard, guard}, row[n:])
	}
	return v
}

func sameBits[F real](t *testing.T, want, got []F) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		if want, got := bitsOf(want[i]), bitsOf(got[i]); want != got {
			require.Failf(t, "bits differ", "element %d: %x, expected %x", i, got, want)
		}
	}
}

func bitsOf[F real](x F) uint64 {
	if f, ok := any(x).(float32); ok {
		return uint64(math.Float32bits(f))
	}
	return math.Float64bits(float64(x))
}
