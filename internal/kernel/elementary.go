package kernel

import "math"

// The standard library computes these in assembly on some CPUs and lets the
// compiler fuse multiply and add on others, so their last bits differ between
// platforms. These do not: every product is rounded by an explicit conversion
// (Go specification, "Floating-point operators") or part of a written FMA.

const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
	log2e = 1.44269504088896338700e+00
)

// Exp returns e**x with an error below one unit in the last place (the method
// of FreeBSD's e_exp.c). Results below the normal range become 0.
func Exp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 709.782712893384:
		return math.Inf(1)
	case x < -708.3964185322641:
		return 0
	}
	k := math.Floor(float64(log2e*x) + 0.5)
	hi := math.FMA(-k, ln2Hi, x)
	return expReduced(hi, float64(k*ln2Lo), int(k))
}

// Exp2 returns 2**x as Exp does e**x.
func Exp2(x float64) float64 {
	switch {
	case x != x:
		return x
	case x >= 1024:
		return math.Inf(1)
	case x < -1022:
		return 0
	}
	k := math.Floor(x + 0.5)
	t := x - k // exact
	hi := float64(t * ln2Hi)
	lo := -math.FMA(t, ln2Hi, -hi) - float64(t*ln2Lo)
	return expReduced(hi, lo, int(k))
}

// expReduced returns e**(hi-lo) * 2**k for |hi-lo| <= ln(2)/2.
func expReduced(hi, lo float64, k int) float64 {
	const (
		p1 = 1.66666666666666657415e-01
		p2 = -2.77777777770155933842e-03
		p3 = 6.61375632143793436117e-05
		p4 = -1.65339022054652515390e-06
		p5 = 4.13813679705723846039e-08
	)
	r := hi - lo
	t := float64(r * r)
	c := math.FMA(t, p5, p4)
	c = math.FMA(t, c, p3)
	c = math.FMA(t, c, p2)
	c = math.FMA(t, c, p1)
	c = r - float64(t*c)
	y := 1 - ((lo - float64(r*c)/(2-c)) - hi)
	return y * math.Float64frombits(uint64(1023+k/2)<<52) * math.Float64frombits(uint64(1023+k-k/2)<<52)
}

// Sincos returns the sine and cosine of x (radians, |x| < 2^29) with an error
// of about one unit in the last place (Cephes, sin.c: pi/4 in three parts).
func Sincos(x float64) (sin, cos float64) {
	const (
		pi4A = 7.85398125648498535156e-1
		pi4B = 3.77489470793079817668e-8
		pi4C = 2.69515142907905952645e-15
	)
	neg := x < 0
	x = math.Abs(x)
	j := uint64(x * (4 / math.Pi))
	j += j & 1 // the nearest multiple of pi/2
	y := float64(j)
	z := math.FMA(-y, pi4C, math.FMA(-y, pi4B, math.FMA(-y, pi4A, x)))
	zz := float64(z * z)

	s := math.FMA(1.58962301576546568060e-10, zz, -2.50507477628578072866e-8)
	s = math.FMA(s, zz, 2.75573136213857245213e-6)
	s = math.FMA(s, zz, -1.98412698295895385996e-4)
	s = math.FMA(s, zz, 8.33333333332211858878e-3)
	s = math.FMA(s, zz, -1.66666666666666307295e-1)
	s = math.FMA(float64(z*zz), s, z)

	c := math.FMA(-1.13585365213876817300e-11, zz, 2.08757008419747316778e-9)
	c = math.FMA(c, zz, -2.75573141792967388112e-7)
	c = math.FMA(c, zz, 2.48015872888517045348e-5)
	c = math.FMA(c, zz, -1.38888888888730564116e-3)
	c = math.FMA(c, zz, 4.16666666666665929218e-2)
	c = math.FMA(float64(zz*zz), c, 1-float64(0.5*zz))

	switch j & 7 { // the quadrant
	case 2:
		s, c = c, -s
	case 4:
		s, c = -s, -c
	case 6:
		s, c = -c, s
	}
	if neg {
		s = -s
	}
	return s, c
}
