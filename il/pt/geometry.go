package pt

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/ilref/ilref/tensor"
)

const maxDims = 64 // as torch's kernels

// view makes the tensor of (storage, offset, size, stride): of the element type
// of the storage, or of d over a storage of bytes.
func (l *loader) view(args []any, d *tensor.DType) (*torchTensor, error) {
	s, ok := args[0].(*storage)
	if !ok {
		return nil, fmt.Errorf("the first argument is %s, want a storage", show(args[0]))
	}
	if d == nil {
		d = &s.class.dtype
	}
	if d.Kind() == tensor.KindQuantized && d.ValuesPerElement() == 0 {
		return nil, fmt.Errorf("a %s tensor, which packs several values in a byte, is not read", d)
	}
	offset, ok := args[1].(int)
	if !ok || offset < 0 {
		return nil, fmt.Errorf("the storage offset is %s, want a count", show(args[1]))
	}
	shape, stride, err := l.geometry(args[2], args[3])
	if err != nil {
		return nil, err
	}
	end, err := extentOf(*d, shape, stride, offset)
	if err != nil {
		return nil, err
	}
	if end > s.nbytes {
		return nil, fmt.Errorf("size %s, stride %s and offset %d of %s need %d bytes of storage %s, which has %d",
			tensor.ShapeString(shape), tensor.ShapeString(stride), offset, d, end, s.key, s.nbytes)
	}
	return l.add(&torchTensor{
		t:       &tensor.Tensor{DType: *d, Shape: shape, Stride: stride, Offset: offset, Device: s.location},
		storage: s,
	})
}

// add counts a tensor and has bind give it its bytes.
func (l *loader) add(x *torchTensor) (*torchTensor, error) {
	if err := l.memory.spend(256); err != nil {
		return nil, err
	}
	l.tensors = append(l.tensors, x)
	return x, nil
}

// geometry reads a size and a stride.
func (l *loader) geometry(size, stride any) (shape, strides []int, err error) {
	if shape, err = l.counts("size", size); err != nil {
		return nil, nil, err
	}
	if strides, err = l.counts("stride", stride); err != nil {
		return nil, nil, err
	}
	if len(shape) != len(strides) {
		return nil, nil, fmt.Errorf("%d sizes and %d strides", len(shape), len(strides))
	}
	return shape, strides, nil
}

func (l *loader) counts(what string, v any) ([]int, error) {
	t, ok := v.(*types.Tuple)
	if !ok {
		return nil, fmt.Errorf("the %s is %s, want a tuple of counts", what, show(v))
	}
	if t.Len() > maxDims {
		return nil, fmt.Errorf("a tensor of %d dimensions, want at most %d", t.Len(), maxDims)
	}
	if err := l.memory.spend(8 * t.Len()); err != nil {
		return nil, err
	}
	n := make([]int, t.Len())
	for i, x := range *t {
		if n[i], ok = x.(int); !ok || n[i] < 0 {
			return nil, fmt.Errorf("the %s has %s in dimension %d, want a count", what, show(x), i)
		}
	}
	return n, nil
}

var errHuge = errors.New("size, stride and offset are too large for a 64-bit count")

// extentOf returns the end in bytes of the storage that a view needs: 0 for one
// without elements, whatever its offset. The product of the sizes always fits.
func extentOf(d tensor.DType, shape, stride []int, offset int) (int, error) {
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	numel, last := uint64(1), uint64(offset)
	for i, n := range shape {
		over, product := bits.Mul64(numel, uint64(n))
		wide, span := bits.Mul64(uint64(n-1), uint64(stride[i]))
		sum, carry := bits.Add64(last, span, 0)
		if over != 0 || product > math.MaxInt || wide != 0 || carry != 0 {
			return 0, errHuge
		}
		numel, last = product, sum
	}
	over, end := bits.Mul64(last+1, uint64(d.Size()))
	if over != 0 || end > math.MaxInt || last == math.MaxUint64 {
		return 0, errHuge
	}
	return int(end), nil
}
