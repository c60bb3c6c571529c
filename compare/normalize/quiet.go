package normalize

import (
	"io"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// quiet is the noise of a result of so many rows that a replay returned to the
// bit, which it writes none of: zeros, like those that it wrote of another step.
func quiet(like *il.Slot, rows int) *il.Slot {
	out := &il.Slot{Direction: like.Direction, Path: like.Path}
	for _, f := range like.Tensors {
		out.Tensors = append(out.Tensors, il.VirtualTensor(f.Device, f.File, func() (*tensor.Tensor, io.Closer, error) {
			var zeros *tensor.Tensor
			err := f.With(func(t *tensor.Tensor) error {
				shape := slices.Clone(t.Shape)
				shape[0] = rows
				zeros = tensor.New(t.DType, shape...)
				return nil
			})
			return zeros, io.NopCloser(nil), err
		}))
	}
	return out
}
