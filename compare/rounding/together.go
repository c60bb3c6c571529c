package rounding

import "github.com/ilref/ilref/topology"

// Together is how many neighbouring columns of a module's result may have one
// rounding error between them: those of a head of attention, all of which the
// rounding of a probability moves.
func Together(kind topology.Kind) int {
	if kind == topology.Attention {
		return 8
	}
	return 1
}
