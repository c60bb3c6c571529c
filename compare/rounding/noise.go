// Package rounding says how large a gap rounding explains: of one module by its
// dtype and its inputs' gap, of a whole run by an exact one and an emulation.
package rounding

import (
	"math"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// What rounding explains. The figures come from sessions of one model that
// differ in summation order alone (split-K with rounded partial sums, tensor
// parallel) or in element type alone (bfloat16 against float32 and float64),
// and from sessions with a known fault; TestNoiseFigures measures them again.

// Noise is the rel_l2 that one module may add to equal inputs: its output's
// rounding and its own summation order.
//
//   - bfloat16 8e-3, two units of rounding (2^-8). Measured: at most 5.2e-3
//     (split-K, attention of one query); a fault of 2 % gives 2.0e-2.
//   - float16 1e-3 and the 8-bit types: the same two units.
//   - float32 1e-4, float64 1e-9: not rounding of the output but what sums and
//     rope angles lose. Measured: 2e-7 for float32 against float64 over 64 to
//     176 terms; an angle at position p is off by about p·2^-24, 1e-4 at 1,700
//     (in float64 2e-13). Faults are far above: a wrong rms eps gives 1e-3.
func Noise(d tensor.DType) float64 {
	switch d {
	case tensor.Float64, tensor.Complex128:
		return 1e-9
	case tensor.Float32, tensor.Complex64:
		return 1e-4
	case tensor.Float16, tensor.Complex32:
		return 1e-3
	case tensor.BFloat16, tensor.BComplex32:
		return 8e-3
	}
	switch {
	case d == tensor.Float8E5M2, d == tensor.Float8E5M2FNUZ, d == tensor.Float8E8M0FNU, d.Kind() == tensor.KindPacked:
		return 0.25
	case d.IsFloat(), d.Kind() == tensor.KindQuantized:
		return 0.125
	}
	return 0
}

const (
	// compositeNoise is the noise of a module whose children are not recorded,
	// in units of a leaf's. Measured: 9.3e-3 for a whole layer under split-K.
	Composite = 3
	// farNoise caps what rounding is believed to accumulate to, in units of a
	// leaf's: 0.26 in bfloat16. Measured: 2.2e-2 over 3 layers; 0.1 has been
	// seen over 24, which a random walk makes 0.23 over the 126 of the largest
	// Llama. Beyond it two sessions are not the same computation.
	Far = 32
	// equalShare of the output values of a norm or an activation in a 16-bit
	// type are equal to the bit when all its inputs are: float32 inside hides
	// the order of its sums. A wrong eps gave 0.81 with rel_l2 within noise.
	// A handful of values in a small tensor proves nothing.
	EqualShare = 0.95
	Handful    = 4
)

// Gain is how much of its inputs' gap a module may pass on to so many rows (0
// where that is unknown), noise and inherited
// gap being independent: limit² = noise² + (gain·input gap)². Beside each figure
// is the most that differences without a fault need in the fault suite
// (internal/faults/gains_test.go), whose narrow tensors fluctuate more than real ones.
func Gain(kind topology.Kind, rows int) float64 {
	few := rows < metric.ChannelRows // a single row may lie where the matrix is small
	switch {
	case kind == topology.Attention && few:
		return 6 // 5.3
	case kind == topology.Experts && few:
		return 6 // 4.7: the weights of experts are a softmax of scores that are off, and an activation lies between
	case kind == topology.Experts:
		return 4
	case kind == topology.Router && few:
		return 4.5 // of few experts, whose scores may be small together
	case kind == topology.Attention, kind.IsBlock():
		return 4 // 3.2: softmax of scores that are off
	case kind == topology.Activation && few:
		return 4.5 // 3.8, of one row in 5,000 random runs (docs/fault-search.md)
	case kind == topology.Activation:
		return 2.5 // 1.8: a product of two halves
	case kind.IsHead() && few:
		return 3.5 // 3.0, likewise
	case kind.IsHead():
		return 2 // 1.2
	case kind.IsLinear() && few:
		return 2 // 1.7
	case kind.IsLinear(), kind == topology.Rope:
		return 1.5 // 1.1: what a matrix does to noise it does to values
	}
	// Modules of other kinds are not known. Norms need 1.1, but channels that outweigh all others in a residual stream,
	// and not in what a norm makes of it, hide the gap of the others in the input.
	return 3
}

// Limit is the rel_l2 up to which rounding explains an output: noise of its
// own and a gap passed on.
func Limit(noise, floor, passed float64) float64 {
	return min(math.Hypot(noise, passed), Far*floor)
}
