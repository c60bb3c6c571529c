package nn

import "github.com/ilref/ilref/internal/kernel"

// Activation is what stands between the two products of an expert. What it makes of
// noise is beside it too.
type Activation interface {
	// act32 and act64 map the first product [gate | up] (2I) to (I), which is not yet
	// rounded; they may overwrite it.
	act32(o *ops[float32], out, h []float32)
	act64(o *ops[float64], out, h []float64)
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

// SwigluOAI is GPT-OSS's gate: of gates in even and ups in odd places, both clamped,
// (up+1) * gate * sigmoid(Alpha gate).
type SwigluOAI struct{ Alpha, Limit float64 }

func (m SwigluOAI) act32(o *ops[float32], out, h []float32) { swigluOAI(o, m, out, h) }
func (m SwigluOAI) act64(o *ops[float64], out, h []float64) { swigluOAI(o, m, out, h) }

// swigluOAI computes (u+1) * (g * (1/(1+exp(-Alpha g)))) in float32 (vLLM
// csrc/activation_kernels.cu swigluoai_and_mul); torch rounds each operation
// (modeling_gpt_oss.py _apply_gate).
func swigluOAI[F real](o *ops[F], m SwigluOAI, out, h []F) {
	gate, sigmoid, up := make([]F, len(out)), make([]F, len(out)), make([]F, len(out))
	for i := range out {
		gate[i], up[i] = min(h[2*i], F(m.Limit)), min(max(h[2*i+1], F(-m.Limit)), F(m.Limit))
		sigmoid[i] = F(gate[i] * F(m.Alpha))
		up[i]++
	}
	o.mix.operation(o, sigmoid)
	for i, x := range sigmoid {
		sigmoid[i] = 1 / (1 + F(kernel.Exp(-float64(x))))
	}
	o.mix.operation(o, sigmoid)
	kernel.Mul(gate, sigmoid)
	o.mix.operation(o, gate)
	o.mix.operation(o, up)
	for i := range out {
		out[i] = F(up[i] * gate[i])
	}
}
