package render

import (
	"fmt"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// Sessions makes Options.Reread of the two sessions that were compared, as
// view.Prepare gave them: their names and steps are those of the report.
func Sessions(reference, target *il.Session) func(*compare.Tensor, func(reference, target *tensor.Tensor) error) error {
	return func(t *compare.Tensor, f func(x, y *tensor.Tensor) error) error {
		a, err := fileOf(reference, t)
		if err != nil {
			return err
		}
		b, err := fileOf(target, t)
		if err != nil {
			return err
		}
		x, xc, err := a.Open()
		if err != nil {
			return err
		}
		defer xc.Close()
		y, yc, err := b.Open()
		if err != nil {
			return err
		}
		defer yc.Close()
		return mmap.Guard(a.File+" or "+b.File, func() error { return f(x, y) })
	}
}

// fileOf finds the tensor of a key: that of the rank, where the key has one.
func fileOf(s *il.Session, t *compare.Tensor) (*il.TensorFile, error) {
	if c := s.Call(t.Step, t.Module, t.Call); c != nil {
		if slot := c.Slot(il.Direction(t.Direction), t.Slot); slot != nil {
			for _, f := range slot.Tensors {
				if t.Rank == "" || t.Rank == f.Device {
					return f, nil
				}
			}
		}
	}
	return nil, fmt.Errorf("%s holds no %s any more: run the comparison again", s.Dir, t.Key)
}
