package faults

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// both is an order of summation and what else a build does in its own way.
func both(order, more func(*Run)) func(*Run) {
	return func(r *Run) {
		order(r)
		more(r)
	}
}

// floatResidual keeps the residual stream in float32: the first norm that is given
// it gets it so, and all that follow return what they are given.
func floatResidual(r *Run) {
	r.Arriving = append(r.Arriving, func(at Place, args il.Tuple) {
		m, ok := r.Model.Module(at.Module).(*nn.RMSNorm)
		if !ok || !m.Fused || args.Tensor(1).DType == tensor.Float32 {
			return
		}
		narrow := args.Tensor(1)
		v := make([]float64, narrow.Numel())
		_ = narrow.Float64s(v, 0) // floating point, by the engine
		args[1] = tensor.FromFloat64s(tensor.Float32, v, narrow.Shape...)
	})
}

// paddedLogits gives the logits 64 columns more, of -Inf.
func paddedLogits(r *Run) {
	Wrap(r, func(s *nn.Step, m *nn.LogitsProcessor, in il.Tuple, forward nn.Computation) il.Value {
		x := forward(s, m, in).(*tensor.Tensor)
		wide := tensor.New(x.DType, x.Shape[0], x.Shape[1]+64)
		edit(wide, func(row int, v []float64) {
			load(v[:x.Shape[1]], x, row)
			for i := x.Shape[1]; i < len(v); i++ {
				v[i] = math.Inf(-1)
			}
		})
		return wide
	})
}
