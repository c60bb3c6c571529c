package normalize

import (
	"fmt"
	"io"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// closers closes several files.
type closers []io.Closer

func (cs closers) Close() error {
	var first error
	for _, c := range cs {
		if err := c.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// openAll opens files; after an error none is left open.
func openAll(files []*il.TensorFile) ([]*tensor.Tensor, closers, error) {
	var ts []*tensor.Tensor
	var cs closers
	for _, f := range files {
		t, c, err := f.Open()
		if err != nil {
			cs.Close()
			return nil, nil, err
		}
		ts, cs = append(ts, t), append(cs, c)
	}
	return ts, cs, nil
}

// guarded runs f, which reads the mapped bytes of files.
func guarded(files []*il.TensorFile, f func() error) error {
	name := files[0].File
	if len(files) > 1 {
		name = fmt.Sprintf("%s or a file of the %d put together with it", name, len(files)-1)
	}
	return mmap.Guard(name, f)
}

// copied opens files, and gives what make copies from them.
func copied(files []*il.TensorFile, make func([]*tensor.Tensor) (*tensor.Tensor, error)) (*tensor.Tensor, io.Closer, error) {
	ts, cs, err := openAll(files)
	if err != nil {
		return nil, nil, err
	}
	defer cs.Close()
	var out *tensor.Tensor
	err = guarded(files, func() error {
		for i, t := range ts {
			if err := copyable(t); err != nil {
				return fmt.Errorf("%s: %w", files[i].File, err)
			}
		}
		out, err = make(ts)
		return err
	})
	return out, closers{}, err
}

// copyable refuses tensors whose values are more than their elements, and
// those that would take far more memory than their file.
func copyable(t *tensor.Tensor) error {
	switch {
	case t.Meta:
		return fmt.Errorf("%s has no data", t)
	case t.Quant != nil:
		return fmt.Errorf("%s is quantised: such tensors are not put together", t)
	}
	return t.CheckCopy()
}

// piece is a part of a dimension of one of several tensors.
type piece struct{ source, from, n int }

// join copies pieces of tensors one after the other along a dimension. All
// tensors have the same type and the same other dimensions.
func join(ts []*tensor.Tensor, dim int, pieces []piece) (*tensor.Tensor, error) {
	shape := append([]int(nil), ts[0].Shape...)
	if dim >= len(shape) {
		return nil, fmt.Errorf("has %d dimensions, expected more than %d", len(shape), dim)
	}
	shape[dim] = 0
	for _, p := range pieces {
		t := ts[p.source]
		if err := joinable(ts[0], t, dim); err != nil {
			return nil, err
		}
		if p.from < 0 || p.n < 0 || p.from+p.n > t.Shape[dim] {
			return nil, fmt.Errorf("%s has %d of dimension %d, expected at least %d", t, t.Shape[dim], dim, p.from+p.n)
		}
		shape[dim] += p.n
	}
	out := tensor.New(ts[0].DType, shape...)
	out.Device = ts[0].Device
	outer, inner := product(shape[:dim]), product(shape[dim+1:])*out.DType.Size()
	at := 0
	for _, p := range pieces {
		part, run := ts[p.source].Narrow(dim, p.from, p.from+p.n), p.n*inner
		for o := range outer {
			to := o*shape[dim]*inner + at
			part.Gather(out.Data[to:to+run], o*p.n*(inner/out.DType.Size()))
		}
		at += run
	}
	return out, nil
}

func joinable(a, b *tensor.Tensor, dim int) error {
	same := a.DType == b.DType && len(a.Shape) == len(b.Shape)
	for i := 0; same && i < len(a.Shape); i++ {
		same = i == dim || a.Shape[i] == b.Shape[i]
	}
	if !same {
		return fmt.Errorf("the parts are %s and %s: expected one type, and equal dimensions but for dimension %d", a, b, dim)
	}
	return nil
}

func product(shape []int) int {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return n
}

// failing is a tensor that cannot be made.
func failing(device, name string, err error) *il.TensorFile {
	return il.VirtualTensor(device, name, func() (*tensor.Tensor, io.Closer, error) { return nil, nil, err })
}
