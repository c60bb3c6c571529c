package pt

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/ilref/ilref/tensor"
)

// The functions of torch/_utils.py and their kin: arguments in, a tensor out.

// rebuildV1 takes (storage, offset, size, stride).
func rebuildV1(l *loader, args []any) (any, error) {
	if len(args) != 4 {
		return nil, arguments(args, "4")
	}
	return l.view(args, nil)
}

// rebuildV2 takes (storage, offset, size, stride, requires_grad, hooks[, metadata]).
func rebuildV2(l *loader, args []any) (any, error) {
	if len(args) != 6 && len(args) != 7 {
		return nil, arguments(args, "6 or 7")
	}
	x, err := l.view(args, nil)
	if err == nil && len(args) == 7 {
		err = setMetadata(x.t, args[6])
	}
	return x, err
}

// rebuildV3 is v2 over a storage of bytes, with the element type before the
// metadata.
func rebuildV3(l *loader, args []any) (any, error) {
	if len(args) != 7 && len(args) != 8 {
		return nil, arguments(args, "7 or 8")
	}
	d, ok := args[6].(tensor.DType)
	if !ok {
		return nil, fmt.Errorf("the element type is %s, want one like torch.float8_e4m3fn", show(args[6]))
	}
	x, err := l.view(args, &d)
	if err == nil && len(args) == 8 {
		err = setMetadata(x.t, args[7])
	}
	return x, err
}

// rebuildNPU takes v2's six arguments and an Ascend memory format. The data in
// the file are in the plain order whatever the format.
func rebuildNPU(l *loader, args []any) (any, error) {
	if len(args) != 7 {
		return nil, arguments(args, "7")
	}
	return rebuildV2(l, args[:6])
}

// rebuildMeta takes (dtype, size, stride, requires_grad).
func rebuildMeta(l *loader, args []any) (any, error) {
	if len(args) != 4 {
		return nil, arguments(args, "4")
	}
	d, ok := args[0].(tensor.DType)
	if !ok {
		return nil, fmt.Errorf("the element type is %s", show(args[0]))
	}
	shape, stride, err := l.geometry(args[1], args[2])
	if err != nil {
		return nil, err
	}
	if _, err := extentOf(d, shape, stride, 0); err != nil {
		return nil, err
	}
	return l.add(&torchTensor{t: &tensor.Tensor{DType: d, Shape: shape, Stride: stride, Device: "meta", Meta: true}})
}

// rebuildQuantized takes (storage, offset, size, stride, quantizer, requires_grad,
// hooks), quantizer being (scheme, scale, zero point) or (scheme, scales, zero
// points, axis).
func rebuildQuantized(l *loader, args []any) (any, error) {
	if len(args) != 7 {
		return nil, arguments(args, "7")
	}
	x, err := l.view(args, nil)
	if err != nil {
		return nil, err
	}
	q, ok := args[4].(*types.Tuple)
	if !ok || q.Len() < 3 || x.t.DType.Kind() != tensor.KindQuantized {
		return nil, fmt.Errorf("no quantised storage with (scheme, scale, zero point): %s", x.t)
	}
	scheme, ok := (*q)[0].(qscheme)
	switch {
	case !ok:
		return nil, fmt.Errorf("the quantisation scheme is %s, want one like torch.per_tensor_affine", show((*q)[0]))
	case scheme == "per_tensor_affine" && q.Len() == 3:
		scale, ok1 := (*q)[1].(float64)
		zero, ok2 := (*q)[2].(int)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("scale %s and zero point %s, want two numbers", show((*q)[1]), show((*q)[2]))
		}
		x.t.Quant = &tensor.Quant{Scales: []float64{scale}, ZeroPoints: []float64{float64(zero)}, Axis: -1}
		return x, nil
	case (scheme == "per_channel_affine" || scheme == "per_channel_affine_float_qparams") && q.Len() == 4:
		return x, l.perChannel(x, (*q)[1], (*q)[2], (*q)[3])
	}
	return nil, fmt.Errorf("quantisation scheme torch.%s with %d parameters is not read", string(scheme), q.Len()-1)
}

// perChannel takes the parameters of a dimension: two lists, or as torch writes
// them two tensors, which bind reads.
func (l *loader) perChannel(x *torchTensor, scales, zeros, axis any) error {
	a, ok := axis.(int)
	if !ok || a < 0 || a >= len(x.t.Shape) {
		return fmt.Errorf("quantisation axis %s of a tensor of %d dimensions", show(axis), len(x.t.Shape))
	}
	x.t.Quant = &tensor.Quant{Axis: a}
	n := x.t.Shape[a]
	s, ok1 := scales.(*torchTensor)
	z, ok2 := zeros.(*torchTensor)
	if !ok1 || !ok2 {
		if list, ok := scales.(*types.List); ok {
			if err := l.memory.spend(16 * list.Len()); err != nil {
				return err
			}
		}
		x.t.Quant.Scales, ok1 = floatList(scales, n)
		x.t.Quant.ZeroPoints, ok2 = floatList(zeros, n)
		if !ok1 || !ok2 {
			return fmt.Errorf("quantisation parameters %s and %s, want the scales and the zero points of %d channels", show(scales), show(zeros), n)
		}
		return nil
	}
	for _, p := range []*torchTensor{s, z} {
		if p.storage == nil || len(p.t.Shape) != 1 || p.t.Shape[0] != n || !p.t.IsContiguous() || p.t.DType.ValuesPerElement() != 1 {
			return fmt.Errorf("quantisation parameters %s for axis %d of size %d", p.t, a, n)
		}
	}
	x.scales, x.zeros = s, z
	return l.memory.spend(16 * n) // n values are there: they are contiguous
}

// floatList returns the n numbers of a list.
func floatList(v any, n int) ([]float64, bool) {
	list, ok := v.(*types.List)
	if !ok || list.Len() != n {
		return nil, false
	}
	out := make([]float64, n)
	for i, x := range *list {
		switch x := x.(type) {
		case float64:
			out[i] = x
		case int:
			out[i] = float64(x)
		default:
			return nil, false
		}
	}
	return out, true
}

// rebuildFromCPU takes (tensor, dtype, device, requires_grad).
func rebuildFromCPU(l *loader, args []any) (any, error) {
	if len(args) != 4 {
		return nil, arguments(args, "4")
	}
	x, ok1 := args[0].(*torchTensor)
	d, ok2 := args[1].(tensor.DType)
	device, ok3 := args[2].(string)
	if !ok1 || !ok2 || !ok3 || !isDevice(device) {
		return nil, errors.New("the arguments are not (tensor, dtype, device, requires_grad)")
	}
	if x.t.DType != d {
		return nil, fmt.Errorf("a tensor of %s for one of %s", x.t.DType, d)
	}
	moved, t := *x, *x.t
	t.Device = device
	moved.t = &t
	return l.add(&moved)
}

// rebuildFromType takes (function, class, arguments, state): a tensor with
// attributes or of a subclass. The class may be any; it is only a name here.
func rebuildFromType(l *loader, args []any) (any, error) {
	if len(args) != 4 {
		return nil, arguments(args, "4")
	}
	f, ok1 := args[0].(*function)
	inner, ok2 := args[2].(*types.Tuple)
	if !ok1 || !f.g.rebuild || !ok2 {
		return nil, errors.New("its first argument is not a function that makes a tensor")
	}
	if class, ok := args[1].(*foreignClass); ok {
		class.used = true
	}
	return f.Call(*inner...)
}

// firstTensor takes a tensor and what a Parameter adds to it.
func firstTensor(_ *loader, args []any) (any, error) {
	if len(args) == 0 {
		return nil, arguments(args, "1 or more")
	}
	x, ok := args[0].(*torchTensor)
	if !ok {
		return nil, fmt.Errorf("the first argument is %s, want a tensor", show(args[0]))
	}
	return x, nil
}

func firstArgument(_ *loader, args []any) (any, error) {
	if len(args) == 0 {
		return nil, arguments(args, "1 or more")
	}
	return args[0], nil
}

// ignore makes an object that no tensor depends on.
func ignore(name string) func(*loader, []any) (any, error) {
	return func(*loader, []any) (any, error) { return opaque(name), nil }
}

// newOrderedDict takes nothing, or as Python 2 wrote it one list of [key, value].
func newOrderedDict(l *loader, args []any) (any, error) {
	if err := l.memory.spend(64); err != nil {
		return nil, err
	}
	d := &orderedDict{}
	if len(args) == 0 {
		return d, nil
	}
	switch v := args[0].(type) {
	case *types.Dict: // Counter
		return d, nil
	case *types.List:
		if err := l.memory.spend(2 * costItem * v.Len()); err != nil {
			return nil, err
		}
		for _, item := range *v {
			pair, ok := item.(*types.List)
			if !ok || pair.Len() != 2 {
				return nil, errors.New("its items are not [key, value]")
			}
			d.Set((*pair)[0], (*pair)[1])
		}
		return d, nil
	}
	return nil, errors.New("its argument is not a list of items")
}

// encodeLatin1 takes (text, "latin1"): how protocol 2 writes bytes.
func encodeLatin1(l *loader, args []any) (any, error) {
	if len(args) != 2 {
		return nil, arguments(args, "2")
	}
	s, ok := args[0].(string)
	if codec, isText := args[1].(string); !ok || !isText || codec != "latin1" && codec != "latin-1" {
		return nil, fmt.Errorf("codec %s, want \"latin1\"", show(args[1]))
	}
	// Not 1: the same text may be encoded again and again.
	if err := l.memory.spend(8 * len(s)); err != nil {
		return nil, err
	}
	b := make([]byte, 0, utf8.RuneCountInString(s))
	for _, r := range s {
		if r > math.MaxUint8 {
			return nil, fmt.Errorf("the character %U in latin1", r)
		}
		b = append(b, byte(r))
	}
	return &latin1{b}, nil
}

// latin1 holds bytes behind a pointer, which can be in a set.
type latin1 struct{ b []byte }

func arguments(args []any, want string) error {
	return fmt.Errorf("%d arguments, want %s", len(args), want)
}

// setMetadata applies the lazy bits of torch >= 2.0. Other keys belong to
// backends of torch and say nothing about a copy on the host.
func setMetadata(t *tensor.Tensor, v any) error {
	if v == nil {
		return nil
	}
	d, ok := v.(*types.Dict)
	if !ok {
		return errors.New("the metadata of a tensor are not a dict")
	}
	for _, e := range *d {
		on, _ := e.Value.(bool)
		switch e.Key {
		case "conj":
			t.Conj = on && t.DType.Kind() == tensor.KindComplex
		case "neg":
			t.Neg = on
		}
	}
	signed := t.DType.IsFloat() || t.DType.IsInt() || t.DType.Kind() == tensor.KindComplex
	if t.Neg && (!signed || t.DType == tensor.Bool || t.DType == tensor.Float8E8M0FNU) {
		return fmt.Errorf("a negated tensor of %s", t.DType)
	}
	return nil
}
