package normalize

import (
	"io"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// withoutBatch takes the batch dimension of 1 off the tensors of a session of vLLM's transformers
// backend, so that their first dimension is that of the tokens, as of any other.
func withoutBatch(s *il.Session) *il.Session {
	arch := s.Architecture()
	if arch == nil || !arch.Batch || !isVLLM(s) {
		return s
	}
	var steps []*il.Step
	for _, st := range s.Steps {
		out := &il.Step{Number: st.Number}
		for _, c := range st.Calls {
			var slots []*il.Slot
			for _, slot := range c.Slots {
				slots = append(slots, oneSequence(arch.Of(c.Module), slot))
			}
			out.Calls = append(out.Calls, withSlots(c, slots))
		}
		steps = append(steps, out)
	}
	return derive(s, steps)
}

// oneSequence is a slot without the batch dimension that its class has.
func oneSequence(m topology.Module, slot *il.Slot) *il.Slot {
	t := m.Tensor(slot.Direction == il.Outputs || slot.Direction == il.Noise, slot.Path)
	if t == nil || len(t.Shape) == 0 || t.Shape[0] != topology.One {
		return slot
	}
	rank := len(t.Shape)
	out := *slot
	if s := slot.Stub; s != nil && len(s.Shape) == rank && s.Shape[0] == 1 {
		stub := *s
		stub.Shape = s.Shape[1:]
		out.Stub = &stub
	}
	out.Tensors = nil
	for _, f := range slot.Tensors {
		out.Tensors = append(out.Tensors, il.VirtualTensor(f.Device, f.File, func() (*tensor.Tensor, io.Closer, error) {
			x, closer, err := f.Open()
			if err != nil || len(x.Shape) != rank || x.Shape[0] != 1 {
				return x, closer, err
			}
			y := *x
			y.Shape, y.Stride = x.Shape[1:], x.Stride[1:]
			return &y, closer, nil
		}))
	}
	return &out
}
