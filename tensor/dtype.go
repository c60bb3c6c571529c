package tensor

import "strings"

// DType is the element type of a tensor. The names are PyTorch's, without the
// "torch." prefix (torch/csrc/utils/tensor_dtypes.cpp, torch 2.14).
type DType uint8

// The element types of PyTorch.
const (
	Invalid DType = iota
	Float64
	Float32
	Float16
	BFloat16
	Float8E4M3FN
	Float8E5M2
	Float8E4M3FNUZ
	Float8E5M2FNUZ
	Float8E8M0FNU
	Float4E2M1FNx2 // two 4-bit values a byte; shape and stride count bytes
	Complex32      // two float16
	Complex64      // two float32
	Complex128     // two float64
	BComplex32     // two bfloat16
	Int64
	Int32
	Int16
	Int8
	Uint64
	Uint32
	Uint16
	Uint8
	Bool
	QInt8
	QUInt8
	QInt32
	QUInt4x2
	QUInt2x4
	Bits1x8
	Bits2x4
	Bits4x2
	Bits8
	Bits16
	numDTypes
)

// Kind groups the element types by how their values are read.
type Kind uint8

// The kinds of element types.
const (
	KindOpaque    Kind = iota // bits: no numeric value
	KindFloat                 // one real number
	KindPacked                // several real numbers an element (float4 pairs)
	KindComplex               // two real numbers an element
	KindInt                   // integers and bool
	KindQuantized             // integers with a scale and a zero point beside them
)

var dtypes = [numDTypes]struct {
	name string
	size int
	kind Kind
}{
	Invalid:        {"invalid", 0, KindOpaque},
	Float64:        {"float64", 8, KindFloat},
	Float32:        {"float32", 4, KindFloat},
	Float16:        {"float16", 2, KindFloat},
	BFloat16:       {"bfloat16", 2, KindFloat},
	Float8E4M3FN:   {"float8_e4m3fn", 1, KindFloat},
	Float8E5M2:     {"float8_e5m2", 1, KindFloat},
	Float8E4M3FNUZ: {"float8_e4m3fnuz", 1, KindFloat},
	Float8E5M2FNUZ: {"float8_e5m2fnuz", 1, KindFloat},
	Float8E8M0FNU:  {"float8_e8m0fnu", 1, KindFloat},
	Float4E2M1FNx2: {"float4_e2m1fn_x2", 1, KindPacked},
	Complex32:      {"complex32", 4, KindComplex},
	Complex64:      {"complex64", 8, KindComplex},
	Complex128:     {"complex128", 16, KindComplex},
	BComplex32:     {"bcomplex32", 4, KindComplex},
	Int64:          {"int64", 8, KindInt},
	Int32:          {"int32", 4, KindInt},
	Int16:          {"int16", 2, KindInt},
	Int8:           {"int8", 1, KindInt},
	Uint64:         {"uint64", 8, KindInt},
	Uint32:         {"uint32", 4, KindInt},
	Uint16:         {"uint16", 2, KindInt},
	Uint8:          {"uint8", 1, KindInt},
	Bool:           {"bool", 1, KindInt},
	QInt8:          {"qint8", 1, KindQuantized},
	QUInt8:         {"quint8", 1, KindQuantized},
	QInt32:         {"qint32", 4, KindQuantized},
	QUInt4x2:       {"quint4x2", 1, KindQuantized},
	QUInt2x4:       {"quint2x4", 1, KindQuantized},
	Bits1x8:        {"bits1x8", 1, KindOpaque},
	Bits2x4:        {"bits2x4", 1, KindOpaque},
	Bits4x2:        {"bits4x2", 1, KindOpaque},
	Bits8:          {"bits8", 1, KindOpaque},
	Bits16:         {"bits16", 2, KindOpaque},
}

// aliases are names that PyTorch accepts beside the canonical ones.
var aliases = map[string]DType{
	"double": Float64, "float": Float32, "half": Float16, "bf16": BFloat16, "fp16": Float16, "fp32": Float32, "fp64": Float64,
	"long": Int64, "int": Int32, "short": Int16, "chalf": Complex32, "cfloat": Complex64, "cdouble": Complex128,
}

// String returns PyTorch's name without the "torch." prefix.
func (d DType) String() string {
	if d >= numDTypes {
		return "invalid"
	}
	return dtypes[d].name
}

// Size returns the bytes of one element.
func (d DType) Size() int {
	if d >= numDTypes {
		return 0
	}
	return dtypes[d].size
}

// Kind returns how values of the type are read.
func (d DType) Kind() Kind {
	if d >= numDTypes {
		return KindOpaque
	}
	return dtypes[d].kind
}

// ComponentSize returns the bytes of one scalar component: half the element
// for complex types, the element itself otherwise. Byte order is a property of
// components.
func (d DType) ComponentSize() int {
	if d.Kind() == KindComplex {
		return d.Size() / 2
	}
	return d.Size()
}

// IsFloat reports whether the type is a real floating-point type.
func (d DType) IsFloat() bool { return d.Kind() == KindFloat }

// IsInt reports whether the type is an integer type or bool.
func (d DType) IsInt() bool { return d.Kind() == KindInt }

// ParseDType finds a type by PyTorch's name, with or without "torch.".
func ParseDType(name string) (DType, bool) {
	name = strings.TrimPrefix(name, "torch.")
	for d := Invalid + 1; d < numDTypes; d++ {
		if dtypes[d].name == name {
			return d, true
		}
	}
	d, ok := aliases[name]
	return d, ok
}

// DTypes returns all element types.
func DTypes() []DType {
	var all []DType
	for d := Invalid + 1; d < numDTypes; d++ {
		all = append(all, d)
	}
	return all
}
