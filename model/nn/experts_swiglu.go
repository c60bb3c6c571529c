package nn

import (
	"math"

	"github.com/ilref/ilref/internal/kernel"
)

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

// noise: of what goes in, by the slopes; a kernel may round each operation.
func (m SwigluOAI) noise(d *deviation, out, v, h, hv []float32) {
	for j := range out {
		g, u := min(float64(h[2*j]), m.Limit), min(max(float64(h[2*j+1]), -m.Limit), m.Limit)+1
		x := m.Alpha * g
		s := 1 / (1 + math.Exp(-x))
		glu, slope := g*s, s*(1-s) // of the sigmoid at x
		out[j] = float32(u * glu)
		variance := d.rounding(x, slope*g*u) + d.rounding(s, g*u) + d.rounding(glu, u) + d.rounding(u, glu)
		if float64(h[2*j]) < m.Limit {
			by := u * (s + x*slope)
			variance += by * by * float64(hv[2*j])
		}
		if math.Abs(float64(h[2*j+1])) < m.Limit {
			variance += glu * glu * float64(hv[2*j+1])
		}
		v[j] += float32(variance)
	}
}
