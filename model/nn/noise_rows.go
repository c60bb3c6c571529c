package nn

import (
	"math"

	"github.com/ilref/ilref/il"
)

// deviation of w * x/rms(x): a kernel may round before the weight, and, where it
// adds the residual, norm the sum with or without having rounded it.
func (m *RMSNorm) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	x := rowsOf(in.Tensor(0))
	var residual rows
	if m.Fused {
		residual = rowsOf(in.Tensor(1))
	}
	w := make([]float32, x.width)
	o.weights(w, m.Weight, 0)
	d.byRows(o, func() noiseRow {
		add := make([]float32, x.width)
		return func(i int, y0, v []float32) {
			o.load(y0, x.t.DType, x.bytes(i))
			if m.Fused {
				o.load(add, residual.t.DType, residual.bytes(i))
				for j := range y0 {
					y0[j] += add[j]
				}
			}
			if d.result == 0 {
				if m.Fused && residual.t.DType == o.dtype { // as the kernels norm it
					o.round(y0)
				}
				d.norm(y0, v, w, m.Eps, m.Fused)
			}
		}
	})
}

// norm turns x into w * x/rms(x).
func (d *deviation) norm(x, v, w []float32, eps float64, summed bool) {
	squares := 0.
	for _, x := range x {
		squares += float64(x) * float64(x)
	}
	s := 1 / math.Sqrt(squares/float64(len(x))+eps)
	scale := 0. // variance of s where the sums are rounded: one huge value sways it
	for _, x := range x {
		if summed {
			scale += d.rounding(float64(x), float64(x)/max(squares, math.SmallestNonzeroFloat64))
		}
	}
	for j := range x {
		w, normed := float64(w[j]), float64(x[j])*s
		variance := d.rounding(normed, w)
		if summed {
			variance += d.rounding(float64(x[j]), s*w) + float64(scale*normed*normed)*w*w
		}
		x[j], v[j] = float32(float64(normed*w)), float32(variance)
	}
}

// deviation of silu(gate) * up: a kernel may round the first factor.
func (m *SiluAndMul) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	x := rowsOf(in.Tensor(0))
	d.byRows(o, func() noiseRow {
		row := make([]float32, x.width)
		return func(i int, y0, v []float32) {
			o.load(row, o.dtype, x.bytes(i))
			gate, up := row[:len(y0)], row[len(y0):]
			for j, g := range gate {
				silu, up := float64(g)/(1+math.Exp(-float64(g))), float64(up[j])
				y0[j], v[j] = float32(float64(silu*up)), float32(d.rounding(silu, up))
			}
		}
	})
}

// angleError is the standard deviation of an angle, relative to it: engines compute
// position · theta^(-2j/Dim) in float32, with powers that are off by a few last places on
// a GPU. Next to a zero of the sine that is many last places of the table: one of 45
// times the noise of the products was seen on an H200 in float16.
const angleError = 0x1p-23

// deviation of a turn by an angle: a kernel may round the products, and an engine
// have another angle. The cosines and sines are those of the model's dtype, as vLLM keeps
// them.
func (m *Rotary) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	pos, _ := in.Tensor(0).Ints()
	x := rowsOf(in.Tensor(1 + d.result))
	tables, half := o.tablesFor(m.Rope, pos), m.Rope.Dim/2
	d.byRows(o, func() noiseRow {
		off := make([]float64, half) // of the angles
		return func(i int, y0, v []float32) {
			o.load(y0, o.dtype, x.bytes(i))
			cos, sin := tables[i].cos[pos[i]*half:][:half], tables[i].sin[pos[i]*half:][:half]
			for j := range off {
				off[j] = angleError * float64(pos[i]) / max(m.Rope.PositionFactor, 1) * tables[i].inv[j]
			}
			for h := 0; h < len(y0); h += m.HeadDim {
				d.turn(&m.Rope, y0[h:], v[h:], cos, sin, off)
			}
		}
	})
}

// turn rotates the leading dimensions of one head by angles of standard deviations off.
func (d *deviation) turn(rope *Rope, x, v, cos, sin []float32, off []float64) {
	for j := range cos {
		p, q := rope.pair(j)
		a, b, c, s := float64(x[p]), float64(x[q]), float64(cos[j]), float64(sin[j])
		ac, bs, bc, as := float64(a*c), float64(b*s), float64(b*c), float64(a*s)
		lo, hi := ac-bs, bc+as // each is the derivative of the other by the angle
		x[p], x[q] = float32(lo), float32(hi)
		v[p] = float32(d.rounding(ac, 1) + d.rounding(bs, 1) + float64(off[j]*off[j])*float64(hi*hi))
		v[q] = float32(d.rounding(bc, 1) + d.rounding(as, 1) + float64(off[j]*off[j])*float64(lo*lo))
	}
}
