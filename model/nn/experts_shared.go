package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// SharedExperts is vLLM's wrapper of 2026 around the experts that all tokens go through
// (fused_moe/runner/shared_experts.py). Its caller calls it before the routed experts
// and after them, says which of the two it is, and takes what one of the calls has
// computed; neither returns anything.
type SharedExperts struct {
	Base
	Layer Module // registered elsewhere
	Width int    // H
}

// NewSharedExperts makes the module of a name.
func NewSharedExperts(name string, layer Module, width int) *SharedExperts {
	return &SharedExperts{NewBase(name, topology.SharedExperts), layer, width}
}

// The two calls: before the routed experts and beside them.
var (
	noOverlap             = il.Object{Type: "SharedExpertsOrder", Repr: "SharedExpertsOrder.NO_OVERLAP"}
	multiStreamOverlapped = il.Object{Type: "SharedExpertsOrder", Repr: "SharedExpertsOrder.MULTI_STREAM_OVERLAPPED"}
)

// manyTokens is from how many on the experts are computed in the first call: vLLM's
// VLLM_SHARED_EXPERTS_STREAM_TOKEN_THRESHOLD, where it has a second stream.
const manyTokens = 256 + 1

// Forward computes the experts for (T, H) in the call that is their turn, and returns
// None.
func (m *SharedExperts) Forward(s *Step, in il.Tuple) il.Value {
	x := in.Tensor(0)
	turn := il.Value(multiStreamOverlapped)
	if x.Shape[0] >= manyTokens {
		turn = noOverlap
	}
	if in[1] == turn {
		if s.shared == nil {
			s.shared = map[*SharedExperts]*tensor.Tensor{}
		}
		s.shared[m] = One(s.Call(m.Layer, x))
	}
	return nil
}

// take is what the calls of a step have computed.
func (m *SharedExperts) take(s *Step) *tensor.Tensor {
	x := s.shared[m]
	delete(s.shared, m)
	return x
}

// Inputs are the hidden states, and the order.
func (m *SharedExperts) Inputs() []Input { return []Input{Hidden(m.Width), Fixed(noOverlap)} }

// GateBySigmoid returns r(r(sigmoid(gate)) * x), of (T, 1) and (T, H): torch's sigmoid
// and product, one after another (vLLM's models/qwen2_moe.py).
func (n Numerics) GateBySigmoid(gate, x *tensor.Tensor) *tensor.Tensor {
	return n.ops.(gates).gateBySigmoid(gate, x)
}

// gates are the kernels of gates.
type gates interface {
	gateBySigmoid(gate, x *tensor.Tensor) *tensor.Tensor
}

var _, _ gates = (*ops[float32])(nil), (*ops[float64])(nil)

func (o *ops[F]) gateBySigmoid(gate, x *tensor.Tensor) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	gr, xr, dst := rowsOf(gate), rowsOf(x), rowsOf(out)
	o.parallel(xr.n, func() func(int) {
		g, row := make([]F, 1), make([]F, xr.width)
		return func(i int) {
			o.load(g, gate.DType, gr.bytes(i))
			g[0] = 1 / (1 + F(kernel.Exp(-float64(g[0]))))
			o.round(g)
			o.load(row, x.DType, xr.bytes(i))
			kernel.Scale(row, g[0])
			o.store(dst.bytes(i), o.dtype, row)
		}
	})
	return out
}
