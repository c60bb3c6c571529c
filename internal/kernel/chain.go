package kernel

import "math"

// The chains: s = fma(a[k], b[k], s) for k = 0, 1, …. Four at a time hide the
// latency of the addition; each is its own chain, so the order within an
// element is the same as one at a time. b holds four rows as long as a.

func chains64(s *[4]float64, a, b []float64, _, _ spread) {
	n := len(a)
	b0, b1, b2, b3 := b[:n], b[n:][:n], b[2*n:][:n], b[3*n:][:n]
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	for k, x := range a {
		s0 = math.FMA(x, b0[k], s0)
		s1 = math.FMA(x, b1[k], s1)
		s2 = math.FMA(x, b2[k], s2)
		s3 = math.FMA(x, b3[k], s3)
	}
	s[0], s[1], s[2], s[3] = s0, s1, s2, s3
}

// chains32 takes the cheapest arithmetic that rounds every step once.
func chains32(s *[4]float32, a, b []float32, sa, sb spread) {
	n := len(a)
	b0, b1, b2, b3 := b[:n], b[n:][:n], b[2*n:][:n], b[3*n:][:n]
	low := sa.low + sb.low
	switch {
	case sa.bits+sb.bits <= 24 && low >= -149 && sa.high+sb.high < 127:
		exactProducts(s, a, b0, b1, b2, b3)
	case low >= -178:
		for k := 0; k < n; k++ {
			k += normalSums(s, a[k:], b0[k:], b1[k:], b2[k:], b3[k:])
			if k < n { // a tie
				x := float64(a[k])
				for l := range s {
					s[l] = float32(fmaRound(x*float64(b[l*n+k]), float64(s[l])))
				}
			}
		}
	default:
		anySums(s, a, b0, b1, b2, b3)
	}
}

// exactProducts is for products that float32 holds exactly: a rounded addition
// of them is a fused one.
func exactProducts(s *[4]float32, a, b0, b1, b2, b3 []float32) {
	b0, b1, b2, b3 = b0[:len(a)], b1[:len(a)], b2[:len(a)], b3[:len(a)]
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	for k, x := range a {
		s0 += float32(x * b0[k])
		s1 += float32(x * b1[k])
		s2 += float32(x * b2[k])
		s3 += float32(x * b3[k])
	}
	s[0], s[1], s[2], s[3] = s0, s1, s2, s3
}

// normalSums is for products that are multiples of 2^-178: then a sum below the
// normal range, 2^-126, has at most 52 bits and is exact in float64, and above
// it rounding to 53 bits before 24 errs at ties only. It stops before the
// first step with one and returns the steps done.
func normalSums(s *[4]float32, a, b0, b1, b2, b3 []float32) int {
	b0, b1, b2, b3 = b0[:len(a)], b1[:len(a)], b2[:len(a)], b3[:len(a)]
	s0, s1, s2, s3 := s[0], s[1], s[2], s[3]
	done := len(a)
	for k := range a {
		x := float64(a[k])
		t0 := float64(x*float64(b0[k])) + float64(s0)
		t1 := float64(x*float64(b1[k])) + float64(s1)
		t2 := float64(x*float64(b2[k])) + float64(s2)
		t3 := float64(x*float64(b3[k])) + float64(s3)
		if tie(t0) || tie(t1) || tie(t2) || tie(t3) {
			done = k
			break
		}
		s0, s1, s2, s3 = float32(t0), float32(t1), float32(t2), float32(t3)
	}
	s[0], s[1], s[2], s[3] = s0, s1, s2, s3
	return done
}

func anySums(s *[4]float32, a, b0, b1, b2, b3 []float32) {
	b0, b1, b2, b3 = b0[:len(a)], b1[:len(a)], b2[:len(a)], b3[:len(a)]
	s0, s1, s2, s3 := float64(s[0]), float64(s[1]), float64(s[2]), float64(s[3])
	for k := range a {
		x := float64(a[k])
		s0 = fmaRound(x*float64(b0[k]), s0)
		s1 = fmaRound(x*float64(b1[k]), s1)
		s2 = fmaRound(x*float64(b2[k]), s2)
		s3 = fmaRound(x*float64(b3[k]), s3)
	}
	s[0], s[1], s[2], s[3] = float32(s0), float32(s1), float32(s2), float32(s3)
}

// spread bounds the bits of finite values: each is 0 or m * 2^e with m of at
// most bits bits, e >= low, and a magnitude below 2^(high+1).
type spread struct{ bits, low, high int }

// scan returns the spread of the values; infinities and NaN count as beyond
// the range.
func scan(v []float32) spread {
	var ones, most uint32
	least := ^uint32(0)
	for _, x := range v {
		u := math.Float32bits(x) &^ (1 << 31)
		ones |= u
		most = max(most, u)
		least = min(least, u-1) // of zero it is the largest of all
	}
	if most == 0 {
		return spread{bits: 1, low: 0, high: -127}
	}
	const fraction = 1<<23 - 1
	bits := 24
	for ; bits > 1 && ones&fraction&(1<<(24-bits)) == 0; bits-- {
	}
	s := spread{bits: bits, low: math.MinInt16, high: int(most>>23) - 127}
	if least+1 >= 1<<23 { // no subnormals
		s.low = int((least+1)>>23) - 127 - (bits - 1)
	}
	return s
}
