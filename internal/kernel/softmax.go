package kernel

import "math"

// softmaxKernel is SoftmaxSums for n values, a multiple of 4, nil without
// assembly: it adds to the lanes of the three sums.
var softmaxKernel func(a, b *float64, n int, most *[2]float64, s *[3 * pairLanes]float64)

// SoftmaxSums returns Σ e**x, Σ e**y and Σ e**x (x-y) for x = a - mostA and
// y = b - mostB, where mostA and mostB are the largest of a and b. The sums are
// in the order of Pairs.
func SoftmaxSums(a, b []float64, mostA, mostB float64) (za, zb, cross float64) {
	var s [3 * pairLanes]float64
	b = b[:len(a)]
	n := 0
	if softmaxKernel != nil && len(a) >= pairLanes {
		n = len(a) / pairLanes * pairLanes
		softmaxKernel(&a[0], &b[0], n, &[2]float64{mostA, mostB}, &s)
	}
	for i := n; i < len(a); i++ {
		l := i % pairLanes
		x, y := a[i]-mostA, b[i]-mostB
		e := Exp(x)
		s[l] += e
		s[pairLanes+l] += Exp(y)
		s[2*pairLanes+l] = math.FMA(e, x-y, s[2*pairLanes+l])
	}
	sum := func(i int) float64 { return sumLanes((*[pairLanes]float64)(s[i*pairLanes:])) }
	return sum(0), sum(1), sum(2)
}
