package kernel

import (
	"math"

	"github.com/ilref/ilref/tensor"
)

// Loops over slices. Those in float64 are plain Go; those in float32 run in
// assembly where there is any, with the same bits: every operation rounds once
// and in a fixed order, and a NaN is the positive quiet one.

// loops is the assembly loops of one instruction set. n is a multiple of lanes.
type loops struct {
	name                  string
	add, mul              func(y, x *float32, n int)
	scale                 func(y *float32, n int, a float32)
	sum, sumSquares, max  func(x *float32, n int, lanes *[lanes]float32)
	widenBF16, widenF16   func(dst *float32, src *byte, n int)
	narrowBF16, narrowF16 func(dst *byte, src *float32, n int)
	roundBF16, roundF16   func(dst, src *float32, n int)
	exp2Scaled            func(v *float32, n int, scale, shift float32)
	silu                  func(v *float32, n int)
}

// lanes is the number of partial results of a sum.
const lanes = 16

// simdLoops is what this CPU can run, the best first.
var simdLoops []*loops

// vectorized returns the loops for a slice of float32, the slice, and how many
// of its elements they take: none without assembly, or of float64.
func vectorized[F real](v []F) (*loops, []float32, int) {
	if f, ok := any(v).([]float32); ok && len(simdLoops) > 0 && len(f) >= lanes {
		return simdLoops[0], f, len(f) / lanes * lanes
	}
	return nil, nil, 0
}

// Add sets y to y + x.
func Add[F real](y, x []F) {
	x = x[:len(y)]
	l, yf, n := vectorized(y)
	if n > 0 {
		l.add(&yf[0], &any(x).([]float32)[0], n)
	}
	for i := n; i < len(y); i++ {
		y[i] = quiet(y[i] + x[i])
	}
}

// Mul sets y to y * x, element by element.
func Mul[F real](y, x []F) {
	x = x[:len(y)]
	l, yf, n := vectorized(y)
	if n > 0 {
		l.mul(&yf[0], &any(x).([]float32)[0], n)
	}
	for i := n; i < len(y); i++ {
		y[i] = quiet(y[i] * x[i])
	}
}

// Scale sets y to y * a.
func Scale[F real](y []F, a F) {
	l, yf, n := vectorized(y)
	if n > 0 {
		l.scale(&yf[0], n, float32(a))
	}
	for i := n; i < len(y); i++ {
		y[i] = quiet(y[i] * a)
	}
}

// Sum adds the elements in a fixed order: element i to lane i%16, then the
// lanes as a tree.
func Sum[F real](x []F) F {
	var lane [lanes]F
	l, xf, n := vectorized(x)
	if n > 0 {
		l.sum(&xf[0], n, any(&lane).(*[lanes]float32))
	}
	for i := n; i < len(x); i++ {
		lane[i%lanes] += x[i]
	}
	return tree(&lane)
}

// SumSquares adds the squares, each rounded, in the order of Sum.
func SumSquares[F real](x []F) F {
	var lane [lanes]F
	l, xf, n := vectorized(x)
	if n > 0 {
		l.sumSquares(&xf[0], n, any(&lane).(*[lanes]float32))
	}
	for i := n; i < len(x); i++ {
		lane[i%lanes] += F(x[i] * x[i])
	}
	return tree(&lane)
}

func tree[F real](lane *[lanes]F) F {
	for w := lanes / 2; w > 0; w /= 2 {
		for i := range w {
			lane[i] += lane[i+w]
		}
	}
	return quiet(lane[0])
}

// Max returns the greatest element, NaN if any is, and -Inf of none. A zero is
// positive.
func Max[F real](x []F) F {
	m := F(math.Inf(-1))
	l, xf, n := vectorized(x)
	if n > 0 {
		var lane [lanes]float32
		for i := range lane {
			lane[i] = float32(m)
		}
		l.max(&xf[0], n, &lane)
		for _, v := range lane {
			m = max(m, F(v))
		}
	}
	for _, v := range x[n:] {
		m = max(m, v)
	}
	return quiet(m + 0)
}

// Exp2Scaled sets v to 2**(v*scale + shift), the exponent rounded once.
func Exp2Scaled[F real](v []F, scale, shift F) {
	l, vf, n := vectorized(v)
	if n > 0 {
		l.exp2Scaled(&vf[0], n, float32(scale), float32(shift))
	}
	for i := n; i < len(v); i++ {
		v[i] = quiet(F(Exp2(float64(fma(v[i], scale, shift)))))
	}
}

// Silu sets v to v / (1 + e**-v), each operation rounded.
func Silu[F real](v []F) {
	l, vf, n := vectorized(v)
	if n > 0 {
		l.silu(&vf[0], n)
	}
	for i := n; i < len(v); i++ {
		v[i] = quiet(v[i] / (1 + F(Exp(float64(-v[i])))))
	}
}

func fma[F real](x, y, z F) F {
	if v, ok := any(x).(float32); ok {
		return F(FMA32(v, float32(y), float32(z)))
	}
	return F(math.FMA(float64(x), float64(y), float64(z)))
}

// Load32 decodes little-endian elements of a real floating-point type, as
// tensor.LoadFloat32 does; a float16 NaN becomes quiet.
func Load32(dst []float32, d tensor.DType, src []byte) {
	src = src[:len(dst)*d.Size()]
	l, _, n := vectorized(dst)
	switch {
	case n > 0 && d == tensor.BFloat16:
		l.widenBF16(&dst[0], &src[0], n)
	case n > 0 && d == tensor.Float16:
		l.widenF16(&dst[0], &src[0], n)
	default:
		n = 0
	}
	rest := dst[n:]
	tensor.LoadFloat32(rest, d, src[n*d.Size():])
	if d == tensor.Float16 {
		for i, x := range rest {
			if x != x {
				rest[i] = math.Float32frombits(math.Float32bits(x) | 1<<22)
			}
		}
	}
}

// Store32 encodes little-endian elements as tensor.StoreFloat32 does.
func Store32(dst []byte, d tensor.DType, v []float32) {
	dst = dst[:len(v)*d.Size()]
	l, _, n := vectorized(v)
	switch {
	case n > 0 && d == tensor.BFloat16:
		l.narrowBF16(&dst[0], &v[0], n)
	case n > 0 && d == tensor.Float16:
		l.narrowF16(&dst[0], &v[0], n)
	default:
		n = 0
	}
	tensor.StoreFloat32(dst[n*d.Size():], d, v[n:])
}

// RoundBF16 rounds v in place to the nearest values that bfloat16 holds.
func RoundBF16(v []float32) {
	l, _, n := vectorized(v)
	if n > 0 {
		l.roundBF16(&v[0], &v[0], n)
	}
	for i := n; i < len(v); i++ {
		v[i] = tensor.RoundBF16(v[i])
	}
}

// RoundF16 rounds v in place to the nearest values that float16 holds.
func RoundF16(v []float32) {
	l, _, n := vectorized(v)
	if n > 0 {
		l.roundF16(&v[0], &v[0], n)
	}
	for i := n; i < len(v); i++ {
		v[i] = tensor.RoundF16(v[i])
	}
}
