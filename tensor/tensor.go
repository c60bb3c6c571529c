// Package tensor holds views of typed bytes: element types, shapes, strides,
// and the conversions between them. It knows nothing of files or models.
//
// A Tensor is a view as in PyTorch: a storage (bytes, little-endian), an
// offset, a shape and strides counted in elements. It never copies unless a
// method says so, so a tensor of a mapped file costs no memory.
package tensor

import (
	"fmt"
	"math"
	"slices"
)

// Tensor is a strided view over the bytes of a storage.
type Tensor struct {
	DType  DType
	Shape  []int // elements per dimension; empty for a scalar
	Stride []int // elements between neighbours of a dimension; len(Stride) == len(Shape)
	Offset int   // elements from the start of Data to the first element
	Data   []byte
	Device string // the location the file gives ("cpu", "cuda:0"); information only
	Conj   bool   // the logical values are the complex conjugates of the stored ones
	Neg    bool   // the logical values are the negatives of the stored ones
	Meta   bool   // a tensor without data (device "meta")
	Quant  *Quant // scale and zero point of quantised types, or nil
}

// Quant describes the values of a quantised tensor: (stored - ZeroPoint) * Scale.
type Quant struct {
	Scales     []float64 // one, or one per index of Axis
	ZeroPoints []float64 // as Scales
	Axis       int       // the dimension of per-channel parameters; -1 for one pair
}

// New allocates a contiguous tensor of zeros on device "cpu".
func New(d DType, shape ...int) *Tensor {
	return &Tensor{DType: d, Shape: slices.Clone(shape), Stride: ContiguousStride(shape), Data: make([]byte, count(shape)*d.Size()), Device: "cpu"}
}

// FromFloat32s makes a contiguous tensor of the values, rounded to d.
func FromFloat32s(d DType, v []float32, shape ...int) *Tensor {
	t := New(d, shape...)
	StoreFloat32(t.Data, d, v)
	return t
}

// FromFloat64s makes a contiguous tensor of the values, rounded to d.
func FromFloat64s(d DType, v []float64, shape ...int) *Tensor {
	t := New(d, shape...)
	StoreFloat64(t.Data, d, v)
	return t
}

// FromInts makes a contiguous tensor of an integer type.
func FromInts(d DType, v []int, shape ...int) *Tensor {
	t := New(d, shape...)
	for i, x := range v {
		putInt(t.Data[i*d.Size():], d, int64(x))
	}
	return t
}

// ContiguousStride returns the C-order strides of a shape. As in PyTorch a
// dimension of size 0 counts as 1.
func ContiguousStride(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= max(shape[i], 1)
	}
	return s
}

func count(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}

// Numel returns the number of logical elements. It may be far larger than the
// storage (strides of 0).
func (t *Tensor) Numel() int { return count(t.Shape) }

// NumBytes returns the bytes of the logical tensor, saturating at MaxInt.
func (t *Tensor) NumBytes() int {
	n := t.Numel()
	if n > math.MaxInt/max(t.DType.Size(), 1) {
		return math.MaxInt
	}
	return n * t.DType.Size()
}

// IsContiguous reports whether the elements lie in C order without gaps.
// Strides of dimensions of size 1 do not matter.
func (t *Tensor) IsContiguous() bool {
	n := 1
	for i := len(t.Shape) - 1; i >= 0; i-- {
		switch {
		case t.Shape[i] == 0:
			return true
		case t.Shape[i] == 1:
			continue
		case t.Stride[i] != n:
			return false
		}
		n *= t.Shape[i]
	}
	return true
}

// Narrow returns the view of elements lo to hi-1 of a dimension.
func (t *Tensor) Narrow(dim, lo, hi int) *Tensor {
	v := *t
	v.Shape = slices.Clone(t.Shape)
	v.Shape[dim] = hi - lo
	v.Offset += lo * t.Stride[dim]
	return &v
}

// Clone returns a contiguous copy of the logical tensor. One on device meta has
// nothing to copy.
func (t *Tensor) Clone() *Tensor {
	if t.Meta {
		c := *t
		return &c
	}
	c := New(t.DType, t.Shape...)
	t.Gather(c.Data, 0)
	c.Device, c.Quant = t.Device, t.Quant
	return c
}

// String describes the tensor without its values: "bfloat16[11,64]".
func (t *Tensor) String() string { return t.DType.String() + ShapeString(t.Shape) }

// ShapeString writes a shape as "[11,64]".
func ShapeString(shape []int) string {
	b := []byte{'['}
	for i, s := range shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Append(b, s)
	}
	return string(append(b, ']'))
}
