package nn

import (
	"fmt"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"

	"github.com/ilref/ilref/internal/kernel" // the implementation behind blas32 and blas64 too
	"github.com/ilref/ilref/tensor"
)

// Numerics is the arithmetic of the modules in one dtype with one set of
// rounding points. Its operations are families of kernels, each beside the
// module that it is of: ops has the methods of all, so that a new one is a file,
// and no list of them grows. All matrices are row-major with T rows.
type Numerics struct {
	ops interface{ DType() tensor.DType }
}

// DType is the type of activations and of the cache.
func (n Numerics) DType() tensor.DType { return n.ops.DType() }

// NewNumerics returns the arithmetic of a dtype: float64 and float32 exact,
// bfloat16 and float16 with the rounding points of a profile, computing in
// float32.
func NewNumerics(dtype tensor.DType, rounding Rounding, threads int) (Numerics, error) {
	profile, err := profileOf(rounding)
	if err != nil {
		return Numerics{}, err
	}
	if threads < 1 {
		return Numerics{}, fmt.Errorf("%d threads: expected 1 or more", threads)
	}
	o := ops[float32]{
		dtype: dtype, threads: threads, load: kernel.Load32, store: kernel.Store32,
		gemm: gemm32, matmul: kernel.MatMul32, round: exact[float32], points: exactly[float32](), floatPoints: exactly[float32](), attention: newFlash[float32],
		routers: routersInTorch, mix: mixExactly[float32](), quotient: byReciprocal[float32],
		latent: latentExactly[float32](),
	}
	switch dtype {
	case tensor.Float64:
		return Numerics{&ops[float64]{
			dtype: dtype, threads: threads, load: tensor.LoadFloat64, store: tensor.StoreFloat64,
			gemm: gemm64, matmul: kernel.MatMul64, round: exact[float64], points: exactly[float64](), floatPoints: exactly[float64](), attention: newFlash[float64],
			routers: routersInTorch, mix: mixExactly[float64](), quotient: byReciprocal[float64],
			latent: latentExactly[float64](),
		}}, nil
	case tensor.Float32:
		return Numerics{&o}, nil
	case tensor.BFloat16:
		o.round = kernel.RoundBF16
	case tensor.Float16:
		o.round = kernel.RoundF16
	default:
		return Numerics{}, fmt.Errorf("cannot run in %s: expected float64, float32, bfloat16 or float16", dtype)
	}
	profile.set(&o)
	return Numerics{&o}, nil
}

// real is a type to compute in.
type real interface{ float32 | float64 }

// ops computes in F.
type ops[F real] struct {
	dtype   tensor.DType
	threads int
	load    func(dst []F, d tensor.DType, src []byte)
	store   func(dst []byte, d tensor.DType, v []F) // rounds to d
	// gemm adds a (m, k) times b to c (m, n); b is (n, k) if tb is Trans, else (k, n).
	gemm func(tb blas.Transpose, m, n, k int, a []F, lda int, b []F, ldb int, c []F, ldc int)
	// matmul sets y (m, n) to x (m, k) Wᵀ.
	matmul func(y []F, ldy int, x []F, ldx, m, n, k int, w kernel.Weights, accumulate bool)
	round  func([]F) // to the model's dtype, where the kernels of all profiles do

	points, floatPoints points[F] // of most modules, and of those that keep float32; see pointsOf
	attention           func(o *ops[F], shape AttentionShape) headAttention[F]
	ropes               ropeTables[F]

	routers routerPoints    // see routing.go
	mix     mixPoints[F]    // of experts
	latent  latentPoints[F] // of latent attention

	quotient func(v []F, divisor float64) // of logits
}

func (o *ops[F]) DType() tensor.DType { return o.dtype }

func exact[F real]([]F) {}

func exactly[F real]() points[F] {
	return points[F]{normed: exact[F], products: exact[F], table: exact[F], sum: exact[F]}
}

func gemm32(tb blas.Transpose, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	br, bc := k, n
	if tb == blas.Trans {
		br, bc = n, k
	}
	blas32.Gemm(blas.NoTrans, tb, 1, blas32.General{Rows: m, Cols: k, Stride: lda, Data: a},
		blas32.General{Rows: br, Cols: bc, Stride: ldb, Data: b}, 1, blas32.General{Rows: m, Cols: n, Stride: ldc, Data: c})
}

func gemm64(tb blas.Transpose, m, n, k int, a []float64, lda int, b []float64, ldb int, c []float64, ldc int) {
	br, bc := k, n
	if tb == blas.Trans {
		br, bc = n, k
	}
	blas64.Gemm(blas.NoTrans, tb, 1, blas64.General{Rows: m, Cols: k, Stride: lda, Data: a},
		blas64.General{Rows: br, Cols: bc, Stride: ldb, Data: b}, 1, blas64.General{Rows: m, Cols: n, Stride: ldc, Data: c})
}

// weights decodes elements of a weight; one that is stored in another type is
// rounded to the model's, as loading it into the GPU build does.
func (o *ops[F]) weights(dst []F, w *tensor.Tensor, start int) {
	es := w.DType.Size()
	lo := (w.Offset + start) * es
	o.load(dst, w.DType, w.Data[lo:lo+len(dst)*es])
	if w.DType != o.dtype {
		o.round(dst)
	}
}
