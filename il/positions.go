package il

import "github.com/ilref/ilref/topology"

// Positions is the slot in which a layer or a rotary embedding is given the positions of
// the tokens: the first that holds integers, and the first of all where none can be read.
// nil where the call records no inputs.
func (c *Call) Positions() *Slot {
	for _, path := range topology.PositionsSlots {
		if s := c.Slot(Inputs, path); s != nil && s.integers() {
			return s
		}
	}
	return c.Slot(Inputs, topology.PositionsSlots[0])
}

// integers reports whether the slot holds a tensor of integers.
func (s *Slot) integers() bool {
	if len(s.Tensors) == 0 {
		return false
	}
	t, closer, err := s.Tensors[0].Open()
	if err != nil {
		return false
	}
	defer closer.Close()
	return t.DType.IsInt()
}
