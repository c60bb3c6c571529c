package pt

import "github.com/ilref/ilref/tensor"

// storageClasses are the typed storages of the module torch. Every other
// element type lives in a torch.storage.UntypedStorage, which counts bytes.
var storageClasses = map[string]tensor.DType{
	"DoubleStorage":        tensor.Float64,
	"FloatStorage":         tensor.Float32,
	"HalfStorage":          tensor.Float16,
	"BFloat16Storage":      tensor.BFloat16,
	"LongStorage":          tensor.Int64,
	"IntStorage":           tensor.Int32,
	"ShortStorage":         tensor.Int16,
	"CharStorage":          tensor.Int8,
	"ByteStorage":          tensor.Uint8,
	"BoolStorage":          tensor.Bool,
	"ComplexFloatStorage":  tensor.Complex64,
	"ComplexDoubleStorage": tensor.Complex128,
	"QInt8Storage":         tensor.QInt8,
	"QUInt8Storage":        tensor.QUInt8,
	"QInt32Storage":        tensor.QInt32,
}

// classOf is the inverse of storageClasses.
var classOf = func() map[tensor.DType]string {
	m := make(map[tensor.DType]string, len(storageClasses))
	for class, d := range storageClasses {
		m[d] = class
	}
	return m
}()
