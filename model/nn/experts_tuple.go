package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// SharedFusedMoE is vLLM's class of 2025 of experts that hold the expert that all tokens
// share: it calls it before the routed ones, and returns both results
// (v0.10.2, fused_moe's shared_fused_moe.py).
type SharedFusedMoE struct {
	Experts
	Layer Module // registered in the block
}

// Forward maps hidden (T, H) and router logits (T, E) to what the shared expert and
// the routed ones return. It may be given the first as well, as a replay does.
func (m *SharedFusedMoE) Forward(s *Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	var shared *tensor.Tensor
	if len(in) > 2 {
		shared = in.Tensor(2)
	} else {
		shared = One(s.Call(m.Layer, hidden))
	}
	return il.Tuple{shared, m.Mix(s, hidden, in.Tensor(1))}
}

// Inputs are the hidden states, the router logits, and what the shared expert returns.
func (m *SharedFusedMoE) Inputs() []Input {
	in := m.Experts.Inputs()
	return append(in, in[0])
}

// deviation of the first result is none: it is handed on.
func (m *SharedFusedMoE) deviation(o *ops[float32], s *Step, in il.Tuple, d *deviation) {
	if d.result == 1 {
		m.Experts.deviation(o, s, in, d)
		return
	}
	shared := rowsOf(in.Tensor(2))
	d.byRows(o, func() noiseRow {
		return func(i int, y0, _ []float32) { o.load(y0, o.dtype, shared.bytes(i)) }
	})
}
