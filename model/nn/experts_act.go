package nn

import (
	"math"

	"github.com/ilref/ilref/internal/kernel"
)

// Activation is what stands between the two products of an expert. What it makes of
// noise is beside it too.
type Activation interface {
	// act32 and act64 map the first product [gate | up] (2I) to (I), which is not yet
	// rounded; they may overwrite it.
	act32(o *ops[float32], out, h []float32)
	act64(o *ops[float64], out, h []float64)
	// noise sets the exact values of h and adds their variances to v, of h's variances hv and of
	// the points where a kernel may round on the way, its result aside.
	noise(d *deviation, out, v, h, hv []float32)
}

func activate[F real](o *ops[F], m Activation, out, h []F) {
	switch o := any(o).(type) {
	case *ops[float32]:
		m.act32(o, any(out).([]float32), any(h).([]float32))
	case *ops[float64]:
		m.act64(o, any(out).([]float64), any(h).([]float64))
	}
}

// SiluMul is silu(gate) * up, gate being the first half, as vLLM's SiluAndMul rounds it.
type SiluMul struct{}

func (SiluMul) act32(o *ops[float32], out, h []float32) { siluMul(o, out, h) }
func (SiluMul) act64(o *ops[float64], out, h []float64) { siluMul(o, out, h) }

// siluMul computes r(silu(gate)) * up (vLLM csrc/activation_kernels.cu).
func siluMul[F real](o *ops[F], out, h []F) {
	gate, up := h[:len(out)], h[len(out):]
	kernel.Silu(gate)
	o.round(gate)
	kernel.Mul(gate, up)
	copy(out, gate)
}

func (SiluMul) noise(d *deviation, out, v, h, hv []float32) {
	n := len(out)
	for j := range n {
		g, up := float64(h[j]), float64(h[n+j])
		s := 1 / (1 + math.Exp(-g))
		silu := g * s
		slope := s + silu*(1-s) // of silu at g
		out[j] = float32(silu * up)
		v[j] += float32(float64(slope*up)*(slope*up)*float64(hv[j]) + silu*silu*float64(hv[n+j]) + d.rounding(silu, up))
	}
}
