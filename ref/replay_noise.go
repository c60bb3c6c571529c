package ref

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// noise shows the recorder how far the recorded results of a call are from the
// exact ones, where they are not those of the replay to the bit. s holds the
// states as Forward left them.
func (r *replayer) noise(c *il.Call, m nn.Module, s *nn.Step, out il.Value, rec Recorder) error {
	if _, ok := m.(nn.Noisy); !ok {
		return nil
	}
	results, ok := out.(il.Tuple)
	if !ok {
		results = il.Tuple{out}
	}
	var in il.Tuple // as it was given: Forward may have written to its own
	for i := range results {
		slot, made := slotOf(c, il.Outputs, i), results.Tensor(i)
		if slot == nil || made == nil || len(slot.Tensors) == 0 {
			continue
		}
		recorded, err := r.read(c, il.Outputs, i)
		if err != nil {
			continue // what cannot be read is told by whoever compares it
		}
		if recorded.DType == made.DType && tensor.SameBits(recorded, made) {
			continue
		}
		if in == nil {
			if in, err = r.inputs(c, m); err != nil {
				return err
			}
		}
		if z := nn.Deviation(s, m, in, i, recorded, made); z != nil {
			rec.Noise(c.Module, slot.Path, z)
		}
	}
	return nil
}
