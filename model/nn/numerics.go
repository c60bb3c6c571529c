package nn

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"

	"github.com/ilref/ilref/internal/kernel" // the implementation behind blas32 and blas64 too
	"github.com/ilref/ilref/tensor"
)

// Numerics is the arithmetic of the modules in one dtype with one set of
// rounding points. All matrices are row-major with T rows.
type Numerics interface {
	// DType is the type of activations and of the cache.
	DType() tensor.DType
	// Embed copies rows ids (T,) of table (V, H) into a new (T, H).
	Embed(ids, table *tensor.Tensor) *tensor.Tensor
	// Linear maps x (T, in) to a new (T, sum of out).
	Linear(x *tensor.Tensor, parts []Part) *tensor.Tensor
	// RMSNorm normalises the last dimension of x into a new tensor.
	RMSNorm(x, weight *tensor.Tensor, eps float64) *tensor.Tensor
	// AddRMSNorm sets residual += x, x = norm(residual), both (T, H).
	AddRMSNorm(x, residual, weight *tensor.Tensor, eps float64)
	// Add returns r(x + y), (T, H).
	Add(x, y *tensor.Tensor) *tensor.Tensor
	// Rotate turns the heads of q and k in place.
	Rotate(rope Rope, headDim int, positions, q, k *tensor.Tensor)
	// Attend maps queries (T, nh*D) to a new (T, nh*D) over the caches, which
	// already hold the rows of the spans.
	Attend(q *tensor.Tensor, shape AttentionShape, spans []attended) *tensor.Tensor
	// SiluAndMul maps (T, 2I) to a new (T, I).
	SiluAndMul(x *tensor.Tensor) *tensor.Tensor
}

// Rounding names the rounding points of a GPU build's half-precision kernels.
type Rounding string

// The rounding profiles. They differ in the kernels of RMSNorm and rope only
// (vLLM commits 4d51588e23 and 225936a1dd) and say nothing of float32 and
// float64, which have no rounding points.
const (
	VLLM2025 Rounding = "vllm-2025" // RMSNorm rounds before the weight, rope each product
	VLLM2026 Rounding = "vllm-2026" // RMSNorm and rope round once
)

// NewNumerics returns the arithmetic of a dtype: float64 and float32 exact,
// bfloat16 and float16 as the GPU build rounds, computing in float32.
func NewNumerics(dtype tensor.DType, rounding Rounding, threads int) (Numerics, error) {
	if rounding != VLLM2025 && rounding != VLLM2026 {
		return nil, fmt.Errorf("unknown rounding profile %q: expected %s or %s", rounding, VLLM2025, VLLM2026)
	}
	if threads < 1 {
		return nil, fmt.Errorf("%d threads: expected 1 or more", threads)
	}
	switch dtype {
	case tensor.Float64:
		return newOps(dtype, threads, tensor.LoadFloat64, tensor.StoreFloat64, gemm64, kernel.MatMul64, exact, exact), nil
	case tensor.Float32:
		return newOps(dtype, threads, kernel.Load32, kernel.Store32, gemm32, kernel.MatMul32, exact, exact), nil
	case tensor.BFloat16, tensor.Float16:
		round := kernel.RoundBF16
		if dtype == tensor.Float16 {
			round = kernel.RoundF16
		}
		inKernel := round
		if rounding == VLLM2026 {
			inKernel = exact
		}
		return newOps(dtype, threads, kernel.Load32, kernel.Store32, gemm32, kernel.MatMul32, round, inKernel), nil
	}
	return nil, fmt.Errorf("cannot run in %s: expected float64, float32, bfloat16 or float16", dtype)
}

// real is a type to compute in.
type real interface{ float32 | float64 }

// ops implements Numerics in F.
type ops[F real] struct {
	dtype   tensor.DType
	threads int
	load    func(dst []F, d tensor.DType, src []byte)
	store   func(dst []byte, d tensor.DType, v []F) // rounds to d
	// gemm adds a (m, k) times b to c (m, n); b is (n, k) if tb is Trans, else (k, n).
	gemm func(tb blas.Transpose, m, n, k int, a []F, lda int, b []F, ldb int, c []F, ldc int)
	// matmul sets y (m, n) to x (m, k) Wᵀ.
	matmul func(y []F, ldy int, x []F, ldx, m, n, k int, w kernel.Weights, accumulate bool)
	// round rounds to the model's dtype; inKernel does where the profile's
	// norm and rope kernels do so between two operations.
	round, inKernel func([]F)
	ropes           ropeTables[F]
}

func newOps[F real](dtype tensor.DType, threads int, load func([]F, tensor.DType, []byte), store func([]byte, tensor.DType, []F),
	gemm func(blas.Transpose, int, int, int, []F, int, []F, int, []F, int),
	matmul func([]F, int, []F, int, int, int, int, kernel.Weights, bool), round, inKernel func([]F),
) *ops[F] {
	return &ops[F]{dtype: dtype, threads: threads, load: load, store: store, gemm: gemm, matmul: matmul, round: round, inKernel: inKernel}
}

func (o *ops[F]) DType() tensor.DType { return o.dtype }

func exact[F real]([]F) {}

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

// rows gives access to the rows of a tensor whose last dimension is dense:
// (T, H), or (T, n, D) seen as T*n rows of D.
type rows struct {
	t     *tensor.Tensor
	n     int // rows
	width int // elements a row
}

func rowsOf(t *tensor.Tensor) rows {
	last := len(t.Shape) - 1
	n := 1
	for _, s := range t.Shape[:last] {
		n *= s
	}
	return rows{t, n, t.Shape[last]}
}

// bytes returns the storage of row i.
func (r rows) bytes(i int) []byte {
	pos := r.t.Offset
	for d := len(r.t.Shape) - 2; d >= 0; d-- {
		pos += i % r.t.Shape[d] * r.t.Stride[d]
		i /= r.t.Shape[d]
	}
	es := r.t.DType.Size()
	return r.t.Data[pos*es : (pos+r.width)*es]
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

func rsqrt[F real](x F) F { return F(1 / math.Sqrt(float64(x))) }
