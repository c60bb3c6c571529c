package nn

import (
	"math"

	"github.com/ilref/ilref/il"
)

// deviation of cosines or sines in a half type: engines have other angles by a few last
// places. Those that stay in float32 are judged by norms.
func (m *CosSin) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	pos, _ := in.Tensor(1).Ints()
	inv := m.Rope.InvFreq(func(x float64) float64 { return float64(float32(x)) })
	mscale := m.Rope.MScale
	if mscale == 0 {
		mscale = 1
	}
	d.byRows(o, func() noiseRow {
		return func(i int, y0, v []float32) {
			for j, f := range inv {
				angle := float64(pos[i]) / max(m.Rope.PositionFactor, 1) * f
				sin, cos := math.Sincos(angle)
				y, slope := cos, sin
				if d.result == 1 {
					y, slope = sin, cos
				}
				off := angleError * angle * slope * mscale
				for k := j; k < len(y0); k += len(inv) {
					y0[k], v[k] = float32(y*mscale), float32(off*off)
				}
			}
		}
	})
}

// deviation of silu(x): it is rounded once.
func (m *SiLU) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	x := rowsOf(in.Tensor(0))
	d.byRows(o, func() noiseRow {
		return func(i int, y0, v []float32) {
			o.load(y0, o.dtype, x.bytes(i))
			for j, g := range y0 {
				y0[j] = float32(float64(g) / (1 + math.Exp(-float64(g))))
			}
		}
	})
}
