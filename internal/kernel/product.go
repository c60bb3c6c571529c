package kernel

//go:generate go run -C avo . -o ..
//go:generate go run ./neon -o .

// simd32 and simd64 are the assembly kernels that this CPU can run, the best
// first. They are empty in builds without assembly and on other CPUs, which
// take the plain products. Every choice gives the same bits.
var (
	simd32 []*simd[float32]
	simd64 []*simd[float64]
)

// product32 computes c = a·b, or c += a·b if load is set; a has m rows and b,
// transposed, n, both of k steps.
func product32(m, n, k int, a, b matrix[float32], c []float32, ldc int, load bool) {
	switch {
	case trivial(m, n, k, c, ldc, load):
	case len(simd32) > 0:
		simd32[0].product(m, n, k, &a, &b, c, ldc, load)
	default:
		plainProduct(scan, chains32, m, n, k, &a, &b, c, ldc, load)
	}
}

func product64(m, n, k int, a, b matrix[float64], c []float64, ldc int, load bool) {
	switch {
	case trivial(m, n, k, c, ldc, load):
	case len(simd64) > 0:
		simd64[0].product(m, n, k, &a, &b, c, ldc, load)
	default:
		plainProduct(nil, chains64, m, n, k, &a, &b, c, ldc, load)
	}
}

// trivial does products without a step.
func trivial[F real](m, n, k int, c []F, ldc int, load bool) bool {
	if m == 0 || n == 0 {
		return true
	}
	if k == 0 && !load {
		for i := range m {
			clear(c[i*ldc:][:n])
		}
	}
	return k == 0
}
