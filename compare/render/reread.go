package render

import (
	"fmt"
	"slices"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Sessions makes Options.Reread of the two sessions that were compared, as
// normalize.Prepare gave them: their names and steps are those of the report.
func Sessions(reference, target *il.Session) func(*report.TensorDiff, func(reference, target *tensor.Tensor) error) error {
	return func(t *report.TensorDiff, f func(x, y *tensor.Tensor) error) error {
		as, err := filesOf(reference, t)
		if err != nil {
			return err
		}
		bs, err := filesOf(target, t)
		if err != nil {
			return err
		}
		i := 0
		if t.Rank != "" && len(as) > 1 { // named after the reference's device; ranks are paired in order
			i = slices.IndexFunc(as, func(f *il.TensorFile) bool { return f.Device == t.Rank })
		}
		if i < 0 || i >= len(bs) {
			return fmt.Errorf("%s has no rank %s of %s any more: run the comparison again", reference.Dir, t.Rank, t.Key)
		}
		return il.WithBoth(as[i], bs[i], f)
	}
}

// filesOf finds the tensors of a key, one a rank.
func filesOf(s *il.Session, t *report.TensorDiff) ([]*il.TensorFile, error) {
	if c := s.Call(t.Step, t.Module, t.Call); c != nil {
		if slot := c.Slot(il.Direction(t.Direction), t.Slot); slot != nil && len(slot.Tensors) > 0 {
			return slot.Tensors, nil
		}
	}
	return nil, fmt.Errorf("%s holds no %s any more: run the comparison again", s.Dir, t.Key)
}
