package kernel

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/testblas"
)

// exactFMA32 rounds the exact a*b+c once, by arbitrary precision.
func exactFMA32(a, b, c float32) float32 {
	x := new(big.Float).SetPrec(600).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
	x.Add(x, big.NewFloat(float64(c)))
	f, _ := x.Float32()
	return f
}

func TestFMA32RoundsOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	bits := func() float32 {
		for {
			if f := math.Float32frombits(rng.Uint32()); f == f && !math.IsInf(float64(f), 0) {
				return f
			}
		}
	}
	for range 200_000 {
		// Three families: any bits; magnitudes that interact; halves of a
		// last place, where rounding twice goes wrong.
		a, b, c := bits(), bits(), bits()
		require.Equal(t, exactFMA32(a, b, c), FMA32(a, b, c), "fma(%x, %x, %x)", a, b, c)
		a, b = 1+float32(rng.IntN(1<<12))*0x1p-12, 1+float32(rng.IntN(1<<12))*0x1p-23
		c = float32(math.Ldexp(float64(1+rng.IntN(3)), -rng.IntN(80)))
		if rng.IntN(2) == 0 {
			c = -c
		}
		require.Equal(t, exactFMA32(a, b, c), FMA32(a, b, c), "fma(%x, %x, %x)", a, b, c)
		a, b, c = a*0x1p-70, b*0x1p-75, c*0x1p-100 // subnormal results
		require.Equal(t, exactFMA32(a, b, c), FMA32(a, b, c), "fma(%x, %x, %x)", a, b, c)
	}
	// 1+2^-23 + 2^-24 - 2^-64: rounded to 53 bits first it is a tie, and then
	// goes up to 1+2^-22.
	require.Equal(t, float32(1+0x1p-23), FMA32(0x1p-12*(1+0x1p-20), 0x1p-12*(1-0x1p-20), 1+0x1p-23))
}

// TestGemmConformance runs gonum's own suite.
func TestGemmConformance(t *testing.T) {
	testblas.TestDgemm(t, Implementation{})
}

// TestGemmIsOneChain is the contract: every element of every transposition,
// blocking and leading dimension has the bits of the chain, and a product cut
// along k continues it.
func TestGemmIsOneChain(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, size := range [][3]int{{1, 1, 1}, {1, 7, 5}, {3, 4, 64}, {5, 9, 33}, {2, 3, 0}} {
		m, n, k := size[0], size[1], size[2]
		a, b := random(rng, m*k), random(rng, n*k) // rows of a, rows of bᵀ
		want, want64 := make([]float32, m*n), make([]float64, m*n)
		for i := range m {
			for j := range n {
				for l := range k {
					want[i*n+j] = FMA32(a[i*k+l], b[j*k+l], want[i*n+j])
					want64[i*n+j] = math.FMA(float64(a[i*k+l]), float64(b[j*k+l]), want64[i*n+j])
				}
			}
		}
		for _, tA := range []blas.Transpose{blas.NoTrans, blas.Trans} {
			for _, tB := range []blas.Transpose{blas.NoTrans, blas.Trans} {
				t.Run(fmt.Sprint(size, string(tA), string(tB)), func(t *testing.T) {
					av, lda := layout(a, m, k, tA != blas.NoTrans)
					bv, ldb := layout(b, n, k, tB == blas.NoTrans)
					ldc := n + 2
					c := make([]float32, m*ldc)
					Implementation{}.Sgemm(tA, tB, m, n, k, 1, av, lda, bv, ldb, 0, c, ldc)
					require.Equal(t, want, rowsOf(c, m, n, ldc))

					c64 := make([]float64, m*ldc)
					Implementation{}.Dgemm(tA, tB, m, n, k, 1, widen(av), lda, widen(bv), ldb, 0, c64, ldc)
					require.Equal(t, want64, rowsOf(c64, m, n, ldc))

					if tA != blas.NoTrans || tB == blas.NoTrans || k < 2 {
						return
					}
					cut := make([]float32, m*ldc)
					Implementation{}.Sgemm(tA, tB, m, n, k/2, 1, av, lda, bv, ldb, 0, cut, ldc)
					Implementation{}.Sgemm(tA, tB, m, n, k-k/2, 1, av[k/2:], lda, bv[k/2:], ldb, 1, cut, ldc)
					require.Equal(t, want, rowsOf(cut, m, n, ldc))
				})
			}
		}
	}
}

func random(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// layout stores rows of length k with a leading dimension larger than needed,
// transposed where asked.
func layout(v []float32, rows, k int, transposed bool) ([]float32, int) {
	r, c := rows, k
	if transposed {
		r, c = k, rows
	}
	ld := max(c, 1) + 3
	out := make([]float32, max(r, 1)*ld)
	for i := range rows {
		for l := range k {
			if transposed {
				out[l*ld+i] = v[i*k+l]
			} else {
				out[i*ld+l] = v[i*k+l]
			}
		}
	}
	return out, ld
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func rowsOf[F any](c []F, m, n, ldc int) []F {
	out := []F{}
	for i := range m {
		out = append(out, c[i*ldc:][:n]...)
	}
	return out
}

// TestElementary compares with 160-bit arithmetic (exp) and the standard
// library (sin, cos: good to about one unit in the last place itself).
func TestElementary(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	const ulp = 0x1p-52
	for range 5000 {
		x := (rng.Float64() - 0.5) * math.Ldexp(1, rng.IntN(20)-10)
		if math.Abs(x) < 700 {
			require.InEpsilon(t, precise(x), Exp(x), ulp, "exp(%v)", x)
			require.InEpsilon(t, Pow(2, x), Exp2(x), 1.5*ulp, "2**%v", x)
		}
		x *= 1024
		sin, cos := Sincos(x)
		wantSin, wantCos := math.Sincos(x)
		require.InDelta(t, wantSin, sin, 2*ulp, "sin(%v)", x)
		require.InDelta(t, wantCos, cos, 2*ulp, "cos(%v)", x)
	}
	require.Equal(t, 1.0, Exp(0))
	require.Equal(t, 1.0, Exp2(0))
	require.Equal(t, 0.125, Exp2(-3))
	require.Equal(t, math.Inf(1), Exp(1000))
	require.Equal(t, 0.0, Exp(math.Inf(-1)))
	require.Equal(t, 0.0, Exp2(math.Inf(-1)))
	require.True(t, math.IsNaN(Exp(math.NaN())))
	require.Equal(t, 1000.0, Pow(10, 3))
	require.Equal(t, math.Inf(1), Pow(0, -1)) // a rope's theta of 1e-300, in float32
	require.Zero(t, Pow(0, 0.5))
	require.Equal(t, math.Inf(1), Pow(math.Inf(1), 0.5))
	require.True(t, math.IsNaN(Pow(math.NaN(), 0.5)))
	require.Equal(t, math.Inf(-1), Log(0))
	require.Equal(t, 0.1, Pow(10, -1))
	require.Equal(t, math.Sqrt2, Pow(2, 0.5))
	require.Equal(t, math.Ln10, Log(10))
	require.Equal(t, 0.0, Log(1))
}

func precise(x float64) float64 {
	f, _ := bigExp(new(big.Float).SetPrec(precision).SetFloat64(x)).Float64()
	return f
}
