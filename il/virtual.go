package il

import (
	"io"

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
