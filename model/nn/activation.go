package nn

import (
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// SiLU is torch's SiLU, of the gate alone.
type SiLU struct {
	Base
	Width int // I
}

// NewSiLU makes the module of a name.
func NewSiLU(name string, width int) *SiLU { return &SiLU{NewBase(name, topology.BackendSiLU), width} }

// Forward maps (…, I) to a new tensor of its shape.
func (m *SiLU) Forward(s *Step, in il.Tuple) il.Value { return s.ops.(activations).silu(in.Tensor(0)) }

// Inputs is the gate.
func (m *SiLU) Inputs() []Input { return []Input{Hidden(m.Width)} }

// SiluAndMul is vLLM's SiluAndMul.
type SiluAndMul struct {
	Base
	Width int // I
}

// NewSiluAndMul makes the module of a name.
func NewSiluAndMul(name string, width int) *SiluAndMul {
	return &SiluAndMul{NewBase(name, topology.SiluAndMul), width}
}

// Forward maps [gate | up] (T, 2I) to silu(gate)*up (T, I).
func (m *SiluAndMul) Forward(s *Step, in il.Tuple) il.Value {
	return s.ops.(activations).siluAndMul(in.Tensor(0))
}

// Inputs are gate and up, one after the other.
func (m *SiluAndMul) Inputs() []Input { return []Input{Hidden(2 * m.Width)} }

// activations are the kernels of SiluAndMul.
type activations interface {
	// siluAndMul maps (T, 2I) to a new (T, I).
	siluAndMul(x *tensor.Tensor) *tensor.Tensor
	silu(x *tensor.Tensor) *tensor.Tensor
}

var _, _ activations = (*ops[float32])(nil), (*ops[float64])(nil)

// siluAndMul computes r(r(silu(gate)) * up) (vLLM csrc/activation_kernels.cu).
func (o *ops[F]) siluAndMul(x *tensor.Tensor) *tensor.Tensor {
	src := rowsOf(x)
	n := src.width / 2
	out := tensor.New(o.dtype, append(slices.Clone(x.Shape[:len(x.Shape)-1]), n)...)
	o.parallel(src.n, func() func(int) {
		row := make([]F, 2*n)
		return func(i int) {
			o.load(row, o.dtype, src.bytes(i))
			gate, up := row[:n], row[n:]
			kernel.Silu(gate)
			o.round(gate)
			kernel.Mul(gate, up)
			o.store(rowsOf(out).bytes(i), o.dtype, gate)
		}
	})
	return out
}

// silu computes r(silu(x)).
func (o *ops[F]) silu(x *tensor.Tensor) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	src, dst := rowsOf(x), rowsOf(out)
	o.parallel(src.n, func() func(int) {
		row := make([]F, src.width)
		return func(i int) {
			o.load(row, o.dtype, src.bytes(i))
			kernel.Silu(row)
			o.store(dst.bytes(i), o.dtype, row)
		}
	})
	return out
}
