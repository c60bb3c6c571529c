package kernel

import (
	"unsafe"

	"github.com/ilref/ilref/tensor"
)

// real is a type to compute in.
type real interface{ float32 | float64 }

// Weights is an (n, k) row-major block of a matrix in the type a checkpoint
// stores it in.
type Weights struct {
	Data  []byte       // n*k little-endian elements, at any alignment
	DType tensor.DType // a real floating-point type
	// As is the type that every value is rounded to before use, which is how
	// a model of one dtype loads a checkpoint of another: Float32, BFloat16,
	// Float16, or Invalid for the exact value. Products in float32 round a
	// float64 to float32 in any case.
	As tensor.DType
}

// matrix is an operand of a product as rows along k: values in the type of
// the computation, or else weights.
type matrix[F real] struct {
	values []F
	ld     int  // elements from one row to the next, or from one k to the next if kMajor
	kMajor bool // element (r, k) is values[k*ld+r], not values[r*ld+k]

	weights Weights // used if values is nil; then ld is k
}

// source names the conversion of the stored elements.
type source struct{ stored, as tensor.DType }

func dtypeOf[F real]() tensor.DType {
	if unsafe.Sizeof(F(0)) == 8 {
		return tensor.Float64
	}
	return tensor.Float32
}

// source returns the least conversion that reads the matrix.
func (x *matrix[F]) source() source {
	if x.values != nil {
		return source{stored: dtypeOf[F]()}
	}
	s := source{x.weights.DType, x.weights.As}
	if exactIn(s.stored, s.as) {
		s.as = tensor.Invalid
	}
	return s
}

// exactIn reports whether every value of type d is one of type as: rounding
// to as changes nothing.
func exactIn(d, as tensor.DType) bool {
	switch as {
	case tensor.Invalid, d:
		return true
	case tensor.Float32:
		return d != tensor.Float64
	case tensor.BFloat16:
		return d != tensor.Float64 && d != tensor.Float32 && d != tensor.Float16
	case tensor.Float16:
		return d == tensor.Float8E4M3FN || d == tensor.Float8E5M2 || d == tensor.Float8E4M3FNUZ || d == tensor.Float8E5M2FNUZ
	}
	return false
}

// load reads elements k0, k0+1, … of row r.
func (x *matrix[F]) load(dst []F, r, k0 int) {
	switch {
	case x.values == nil:
		es := x.weights.DType.Size()
		decode(dst, x.source(), x.weights.Data[(r*x.ld+k0)*es:])
	case x.kMajor:
		for i := range dst {
			dst[i] = x.values[(k0+i)*x.ld+r]
		}
	default:
		copy(dst, x.values[r*x.ld+k0:])
	}
}

func decode[F real](dst []F, s source, src []byte) {
	switch v := any(dst).(type) {
	case []float32:
		tensor.LoadFloat32(v, s.stored, src)
	case []float64:
		tensor.LoadFloat64(v, s.stored, src)
	}
	switch s.as {
	case tensor.Float32:
		for i, x := range dst {
			dst[i] = F(float32(x))
		}
	case tensor.BFloat16:
		for i, x := range dst {
			dst[i] = F(tensor.RoundBF16(float32(x)))
		}
	case tensor.Float16:
		for i, x := range dst {
			dst[i] = F(tensor.RoundF16(float32(x)))
		}
	}
}
