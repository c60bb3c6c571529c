package kernel

import "math"

// The chains: s = fma(a[k], b[k], s) for k = 0, 1, …. Four at a time hide the
// latency of the addition; each is its own chain, so the order within an
// element is the same as one at a time.

func chain4(s *[4]float64, a, b0, b1, b2, b3 []float64) {
	b0, b1, b2, b3 = b0[:len(a)], b1[:len(a)], b2[:len(a)], b3[:len(a)]
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	for k, x := range a {
		s0 = fmaRound(x*b0[k], s0)
		s1 = fmaRound(x*b1[k], s1)
		s2 = fmaRound(x*b2[k], s2)
		s3 = fmaRound(x*b3[k], s3)
	}
	s[0], s[1], s[2], s[3] = s0, s1, s2, s3
}

func chain1(s float64, a, b []float64) float64 {
	b = b[:len(a)]
	for k, x := range a {
		s = fmaRound(x*b[k], s)
	}
	return s
}

func dchain4(s *[4]float64, a, b0, b1, b2, b3 []float64) {
	b0, b1, b2, b3 = b0[:len(a)], b1[:len(a)], b2[:len(a)], b3[:len(a)]
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	for k, x := range a {
		s0 = math.FMA(x, b0[k], s0)
		s1 = math.FMA(x, b1[k], s1)
		s2 = math.FMA(x, b2[k], s2)
		s3 = math.FMA(x, b3[k], s3)
	}
	s[0], s[1], s[2], s[3] = s0, s1, s2, s3
}

func dchain1(s float64, a, b []float64) float64 {
	b = b[:len(a)]
	for k, x := range a {
		s = math.FMA(x, b[k], s)
	}
	return s
}
