package rounding

import (
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Explained is the rel_l2 that rounding explains in an output of a module of a
// kind with tensors of the given types whose inputs are off by in, and the noise of one
// module of these types alone; composite is for modules that hold others. Both
// are 0 where no type is a floating-point one. noise.go says where the figures
// come from.
func Explained(kind topology.Kind, types []tensor.DType, composite bool, in float64) (explained, noise float64) {
	for _, d := range types {
		noise = max(noise, Noise(d))
	}
	own := noise
	if composite {
		own *= Composite
	}
	return Limit(own, noise, Gain(kind, 0)*in), noise
}
