// Package kernel is the arithmetic under the engine: matrix products behind
// gonum's blas interfaces whose every output element is one chain of fused
// multiply-adds in increasing k, and elementary functions that give the same
// bits on every platform.
//
// The chain is the project's contract: an element's bits depend on its row of
// A and its column of B alone, not on the size of the batch, the number of
// threads, the blocking or the width of the CPU's vectors. A NaN is always the
// positive quiet one, since CPUs differ in the signs and payloads they make.
//
// The products and the loops over float32 run in assembly: on amd64 for AVX-512
// or AVX2, written by the generator in avo and chosen at start by what the CPU
// has, on arm64 for NEON, written by the generator in neon, whose speed is
// unmeasured. Elsewhere, and with the build tags noasm, purego or safe, plain
// Go computes the same bits; it is also what the tests compare the kernels with.
package kernel

import "math"

// FMA32 returns a*b + c rounded once to float32, as the hardware's fused
// multiply-add does (IEEE 754-2019 section 5.4.1).
func FMA32(a, b, c float32) float32 {
	return float32(fmaRound(float64(a)*float64(b), float64(c)))
}

// fmaRound returns p + c rounded once to float32, as a float64. p is the
// product of two float32 and so exact. The sum is rounded to 53 bits first;
// rounding that to 24 bits errs only where it lies half-way between two
// float32, or below their normal range: those few go the long way.
func fmaRound(p, c float64) float64 {
	s := p + c
	if tie(s) || math.Float64bits(s)<<1 < 897<<53 {
		s = roundToOdd(p, c, s)
	}
	return float64(float32(s))
}

// roundToOdd returns p + c, whose rounded sum is s, truncated to 53 bits with
// the last bit set if anything was cut off; rounding that to 24 bits is exact
// (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums:
// proved algorithms using rounding to odd", 2008).//
//
//go:noinline
func roundToOdd(p, c, s float64) float64 {
	bb := s - p
	err := (p - (s - bb)) + (c - bb) // Knuth's TwoSum: p + c == s + err
	if err == 0 || err != err {
		return s
	}
	b := math.Float64bits(s)
	if (err > 0) != (s > 0) { // s was rounded away from zero
		b--
	}
	return math.Float64frombits(b | 1)
}

// tie reports whether the last of 53 bits lie half-way between two float32.
func tie(s float64) bool { return math.Float64bits(s)&0x1fffffff == 0x10000000 }
