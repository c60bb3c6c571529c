package foreign

import (
	"fmt"
	"io"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// hiddenSlot is the argument of the logits' module that holds hidden states.
const hiddenSlot = "1"

// lastRows leaves of what the logits' module is given the rows that it computes
// logits of: SGLang gives it all rows of the forward, vLLM those alone. forward is
// the step whose logits these are.
func (s *openStep) lastRows(forward *openStep) {
	c := s.at[callID{topology.LogitsProcessorName, 0}]
	if c == nil || forward == nil {
		return
	}
	in, out := c.Slot(il.Inputs, hiddenSlot), c.Slot(il.Outputs, "")
	if in == nil || out == nil {
		return
	}
	for i, f := range in.Tensors {
		logits, positions := sameDevice(out, f.Device), forward.positionsOf(f.Device)
		if logits != nil && positions != nil {
			in.Tensors[i] = il.TensorWithin(f.Device, f.File, f.File, func() (*tensor.Tensor, io.Closer, error) { return openLastRows(f, logits, positions) })
		}
	}
}

// positionsOf are the positions of the step's rows on a device, nil where they are
// not recorded.
func (s *openStep) positionsOf(device string) *il.TensorFile {
	for _, c := range s.calls {
		if m := topology.Of(c.Module); m.TakesPositions() {
			if f := sameDevice(c.Slot(il.Inputs, "0"), device); f != nil {
				return f
			}
		}
	}
	return nil
}

func sameDevice(s *il.Slot, device string) *il.TensorFile {
	if s == nil {
		return nil
	}
	for _, f := range s.Tensors {
		if f.Device == device {
			return f
		}
	}
	return nil
}

// openLastRows opens hidden states, as they are where they have a row for each row
// of logits, else the last row of each request.
func openLastRows(hidden, logits, positions *il.TensorFile) (*tensor.Tensor, io.Closer, error) {
	rows := -1
	if err := logits.With(func(t *tensor.Tensor) error {
		if len(t.Shape) == 2 {
			rows = t.Shape[0]
		}
		return nil
	}); err != nil {
		return nil, nil, fmt.Errorf("%s: its rows are not known: %w", hidden.File, err)
	}
	t, closer, err := hidden.Open()
	if err != nil || len(t.Shape) != 2 || rows < 0 || t.Shape[0] == rows {
		return t, closer, err
	}
	defer closer.Close()
	var ends []int
	err = positions.With(func(p *tensor.Tensor) error {
		at, err := p.Ints()
		ends = requestEnds(at)
		return err
	})
	if err == nil && (len(ends) != rows || slices.Max(ends) >= t.Shape[0]) {
		err = fmt.Errorf("%d rows were given for %d rows of logits, and positions tell the ends of %d requests", t.Shape[0], rows, len(ends))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", hidden.File, err)
	}
	var out *tensor.Tensor
	err = hidden.With(func(t *tensor.Tensor) (err error) {
		out, err = gatherRows(t, ends)
		return err
	})
	return out, io.NopCloser(nil), err
}

// requestEnds are the rows after which the next one does not follow on in
// position.
func requestEnds(positions []int) []int {
	var out []int
	for i, p := range positions {
		if i+1 == len(positions) || positions[i+1] != p+1 {
			out = append(out, i)
		}
	}
	return out
}

// gatherRows copies rows of a matrix.
func gatherRows(t *tensor.Tensor, rows []int) (*tensor.Tensor, error) {
	if err := t.CheckCopy(); err != nil {
		return nil, err
	}
	out := tensor.New(t.DType, len(rows), t.Shape[1])
	out.Device = t.Device
	n := t.Shape[1] * t.DType.Size()
	for i, r := range rows {
		t.Narrow(0, r, r+1).Gather(out.Data[i*n:(i+1)*n], 0)
	}
	return out, nil
}
