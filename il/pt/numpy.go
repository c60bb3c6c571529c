package pt

import (
	"errors"
	"fmt"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/ilref/ilref/tensor"
)

// numpyCodes are the element types of numpy by kind and size.
var numpyCodes = map[string]tensor.DType{
	"f8": tensor.Float64, "f4": tensor.Float32, "f2": tensor.Float16,
	"i8": tensor.Int64, "i4": tensor.Int32, "i2": tensor.Int16, "i1": tensor.Int8,
	"u8": tensor.Uint64, "u4": tensor.Uint32, "u2": tensor.Uint16, "u1": tensor.Uint8,
	"b1": tensor.Bool, "c8": tensor.Complex64, "c16": tensor.Complex128,
}

// numpyType is a numpy.dtype.
type numpyType struct {
	code      string
	bigEndian bool
}

// numpyDType takes (code, align, copy).
func numpyDType(_ *loader, args []any) (any, error) {
	if len(args) == 0 {
		return nil, arguments(args, "3")
	}
	code, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("the code of an element type is %s", show(args[0]))
	}
	return &numpyType{code: code}, nil
}

// PySetState takes (3, byte order, …).
func (d *numpyType) PySetState(v any) error {
	t, ok := v.(*types.Tuple)
	if !ok || t.Len() < 2 {
		return errors.New("the state of a numpy.dtype is not a tuple")
	}
	d.bigEndian = (*t)[1] == ">"
	return nil
}

// ndarray is a numpy.ndarray.
type ndarray struct {
	dtype   *numpyType
	shape   *types.Tuple
	fortran bool
	data    []byte
}

// numpyArray makes the empty array that BUILD fills.
func numpyArray(*loader, []any) (any, error) { return &ndarray{}, nil }

// PySetState takes (1, shape, dtype, fortran order, data). An array of another
// kind (of objects, say) is kept empty: only an XLA tensor needs one.
func (a *ndarray) PySetState(v any) error {
	t, ok := v.(*types.Tuple)
	if !ok || t.Len() != 5 {
		return errors.New("the state of a numpy.ndarray is not (version, shape, dtype, order, data)")
	}
	a.shape, _ = (*t)[1].(*types.Tuple)
	a.dtype, _ = (*t)[2].(*numpyType)
	a.fortran, _ = (*t)[3].(bool)
	a.data = rawBytes((*t)[4])
	return nil
}

// numpyFromBuffer takes (buffer, dtype, shape, order): protocol 5.
func numpyFromBuffer(_ *loader, args []any) (any, error) {
	if len(args) != 4 {
		return nil, arguments(args, "4")
	}
	a := &ndarray{data: rawBytes(args[0]), fortran: args[3] == "F"}
	a.dtype, _ = args[1].(*numpyType)
	a.shape, _ = args[2].(*types.Tuple)
	return a, nil
}

func rawBytes(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case *latin1:
		return v.b
	case *types.ByteArray:
		return *v
	case string: // str of Python 2
		return []byte(v)
	}
	return nil
}

// rebuildFromNumpy takes (array, dtype, device, requires_grad): XLA and other
// devices before torch 2.6. bfloat16 travels as float32.
func rebuildFromNumpy(l *loader, args []any) (any, error) {
	if len(args) != 4 {
		return nil, arguments(args, "4")
	}
	a, ok1 := args[0].(*ndarray)
	d, ok2 := args[1].(tensor.DType)
	device, ok3 := args[2].(string)
	if !ok1 || !ok2 || !ok3 || !isDevice(device) {
		return nil, errors.New("the arguments are not (array, dtype, device, requires_grad)")
	}
	t, err := l.fromNumpy(a)
	if err != nil {
		return nil, err
	}
	switch {
	case t.DType == tensor.Float32 && d == tensor.BFloat16:
		n := t.Numel()
		if err := l.memory.spend(6 * n); err != nil {
			return nil, err
		}
		v := make([]float32, n)
		tensor.LoadFloat32(v, t.DType, t.Data)
		t.Data = make([]byte, 2*n)
		tensor.StoreFloat32(t.Data, d, v)
		t.DType = d
	case t.DType != d:
		return nil, fmt.Errorf("an array of %s for a tensor of %s", t.DType, d)
	}
	t.Device = device
	return l.add(&torchTensor{t: t})
}

// fromNumpy returns the array as a tensor over the bytes in the pickle.
func (l *loader) fromNumpy(a *ndarray) (*tensor.Tensor, error) {
	if a.dtype == nil || a.shape == nil {
		return nil, errors.New("a numpy array without a shape or an element type")
	}
	d, ok := numpyCodes[a.dtype.code]
	if !ok {
		return nil, fmt.Errorf("a numpy array of %s", quote(a.dtype.code))
	}
	shape, err := l.counts("shape", a.shape)
	if err != nil {
		return nil, err
	}
	stride := tensor.ContiguousStride(shape)
	if a.fortran {
		n := 1
		for i, s := range shape {
			stride[i] = n
			n *= max(s, 1)
		}
	}
	// Without gaps the elements end where their count does.
	end, err := extentOf(d, shape, stride, 0)
	if err != nil {
		return nil, err
	}
	if end != len(a.data) {
		return nil, fmt.Errorf("a numpy array of %s%s in %d bytes, want %d", d, tensor.ShapeString(shape), len(a.data), end)
	}
	data := a.data
	if a.dtype.bigEndian {
		if err := l.memory.spend(len(data)); err != nil {
			return nil, err
		}
		data = swapBytes(data, d.ComponentSize())
	}
	return &tensor.Tensor{DType: d, Shape: shape, Stride: stride, Data: data}, nil
}

// swapBytes returns a copy in the other byte order of components of n bytes.
func swapBytes(b []byte, n int) []byte {
	out := make([]byte, len(b))
	whole := len(b) - len(b)%n
	for i := 0; i < whole; i += n {
		for j := range n {
			out[i+j] = b[i+n-1-j]
		}
	}
	copy(out[whole:], b[whole:])
	return out
}
