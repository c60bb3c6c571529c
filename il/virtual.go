package il

import (
	"cmp"
	"io"
	"slices"

	"github.com/ilref/ilref/tensor"
)

// NewSession makes a session of steps in memory, in ascending order of their
// numbers. dir is what messages call it.
func NewSession(dir string, variant Variant, steps []*Step) *Session {
	s := &Session{Dir: dir, Variant: variant, Steps: steps, calls: map[callKey]*Call{}}
	for _, st := range steps {
		for _, c := range st.Calls {
			s.calls[callKey{st.Number, c.Module, c.Index}] = c
		}
	}
	return s
}

// VirtualTensor is a tensor that open makes when it is asked for. name stands
// for its file in messages. open may be called several times, also at the same
// time; what it returns is valid until the closer is closed.
func VirtualTensor(device, name string, open func() (*tensor.Tensor, io.Closer, error)) *TensorFile {
	return &TensorFile{Device: device, File: name, open: open}
}

// TensorWithin is a tensor among others of a file. what names it in messages, the
// file itself among it; open is as of VirtualTensor.
func TensorWithin(device, file, what string, open func() (*tensor.Tensor, io.Closer, error)) *TensorFile {
	return &TensorFile{Device: device, File: what, open: open, within: file}
}

// NewCall makes a call in memory, its slots in the order that Call says. dir is
// what messages name it by.
func NewCall(module string, index int, dir string, slots []*Slot) *Call {
	c := &Call{Module: module, Index: index, Dir: dir, Slots: slots}
	c.sortSlots()
	return c
}

func (c *Call) sortSlots() {
	slices.SortFunc(c.Slots, func(a, b *Slot) int {
		return cmp.Or(cmp.Compare(slices.Index(directions, a.Direction), slices.Index(directions, b.Direction)), NaturalCompare(a.Path, b.Path))
	})
	for _, s := range c.Slots {
		slices.SortFunc(s.Tensors, func(a, b *TensorFile) int { return NaturalCompare(a.Device, b.Device) })
	}
}
