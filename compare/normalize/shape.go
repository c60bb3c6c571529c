package normalize

import (
	"slices"

	"github.com/ilref/ilref/il"
)

// shapeOf is the shape of a file, nil where it cannot be read.
func shapeOf(f *il.TensorFile) []int {
	t, c, err := f.Open()
	if err != nil {
		return nil
	}
	defer c.Close()
	return slices.Clone(t.Shape)
}

// slotShape is the shape that a slot's first tensor has or its stub tells, nil
// where there is neither.
func slotShape(s *il.Slot) []int {
	switch {
	case s == nil:
		return nil
	case len(s.Tensors) > 0:
		return shapeOf(s.Tensors[0])
	case s.Stub != nil:
		return s.Stub.Shape
	}
	return nil
}

// lastOf is the last dimension of a slot, 0 where it is not known.
func lastOf(s *il.Slot) int {
	if shape := slotShape(s); len(shape) > 1 {
		return shape[len(shape)-1]
	}
	return 0
}

// findAny returns a slot in the given step or, where that lacks it, in the
// first step that has it; nil where none has.
func findAny(s *il.Session, step int, module string, index int, d il.Direction, path string) *il.Slot {
	if c := s.Call(step, module, index); c != nil && c.Slot(d, path) != nil {
		return c.Slot(d, path)
	}
	for _, st := range s.Steps {
		if c := s.Call(st.Number, module, index); c != nil && c.Slot(d, path) != nil {
			return c.Slot(d, path)
		}
	}
	return nil
}
