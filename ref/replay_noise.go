package ref

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// noise shows the recorder how far the recorded results of a call are from the
// exact ones, where they are not those of the replay to the bit. The states are as
// Forward left them.
func (r *replayer) noise(c *il.Call, m nn.Module, runs []run, rec Recorder) error {
	if _, ok := m.(nn.Noisy); !ok {
		return nil
	}
	results := 1
	if t, ok := runs[0].out.(il.Tuple); ok {
		results = len(t)
	}
	for i := range results {
		slot := slotOf(c, il.Outputs, i)
		if slot == nil || len(slot.Tensors) == 0 || runs[0].result(i) == nil {
			continue
		}
		z, err := r.deviation(c, m, runs, i)
		if err != nil {
			return err
		}
		if z != nil {
			rec.Noise(c.Module, slot.Path, z)
		}
	}
	return nil
}

// deviation is how far result i is off, nil where it is not: of ranks that were
// given other things, each by its own; of copies that differ although their ranks
// were given the same, that which is farthest.
func (r *replayer) deviation(c *il.Call, m nn.Module, runs []run, i int) (*tensor.Tensor, error) {
	if len(runs) == 1 {
		return farthest(c, m, &runs[0], i)
	}
	var all []*tensor.Tensor
	off := false
	for k := range runs {
		z, err := runs[k].deviation(runs[k].view, c, m, i)
		if err != nil {
			return nil, err
		}
		if off = off || z != nil; z == nil {
			z = tensor.New(tensor.BFloat16, runs[k].result(i).Shape...)
		}
		all = append(all, z)
	}
	if !off {
		return nil, nil
	}
	return r.compose(c, i, all)
}

// farthest is how far the copy of result i is off that is farthest.
func farthest(c *il.Call, m nn.Module, x *run, i int) (*tensor.Tensor, error) {
	worst, err := x.deviation(x.view, c, m, i)
	ranks := x.view.part.Ranks
	if err != nil || ranks == nil {
		return worst, err
	}
	for k := range ranks.Copies(slotOf(c, il.Outputs, i).Tensors[0]) {
		if k == 0 {
			continue
		}
		z, err := x.deviation(x.view.view(k), c, m, i)
		if err != nil {
			return nil, err
		}
		if worst == nil || z != nil && squares(z) > squares(worst) {
			worst = z
		}
	}
	return worst, nil
}

// squares is the sum of the squares of a contiguous tensor.
func squares(z *tensor.Tensor) float64 {
	v := make([]float64, z.Numel())
	tensor.LoadFloat64(v, z.DType, z.Data)
	sum := 0.
	for _, x := range v {
		sum += float64(x * x)
	}
	return sum
}

// deviation is how far what a rank recorded of result i is off from what the run
// gives, nil where it is not.
func (x *run) deviation(recordedBy *view, c *il.Call, m nn.Module, i int) (*tensor.Tensor, error) {
	recorded, err := recordedBy.read(c, il.Outputs, i)
	if err != nil {
		return nil, nil // what cannot be read is told by whoever compares it
	}
	made := x.result(i)
	if m.Spec().Kind.IsHead() {
		recorded = withoutPadding(recorded, made)
	}
	if recorded.DType == made.DType && tensor.SameBits(recorded, made) {
		return nil, nil
	}
	in, err := x.view.inputs(c, m) // as it was given: Forward may have written to its own
	if err != nil {
		return nil, err
	}
	return nn.Deviation(x.step, m, in, i, recorded, made), nil
}

// withoutPadding is logits without columns beyond those of the model's vocabulary.
func withoutPadding(recorded, made *tensor.Tensor) *tensor.Tensor {
	last := len(made.Shape) - 1
	if len(recorded.Shape) != last+1 || last < 1 || recorded.Shape[last] <= made.Shape[last] {
		return recorded
	}
	return recorded.Narrow(last, 0, made.Shape[last])
}
