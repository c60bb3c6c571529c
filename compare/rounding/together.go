package rounding

import "github.com/ilref/ilref/topology"

// Together is how many neighbouring columns of a module's result may have one
// rounding error between them, and whether they are off by the same then.
//
//   - logits: tokens that were never trained have almost the same rows of the head,
//     such as Llama 3's 256 reserved ones. Measured: 128 columns of gopher-1m's
//     unused bytes are off alike, by 1.7 times the noise of one.
//   - attention: the rounding of a probability moves all columns of a head.
func Together(kind topology.Kind) (columns int, alike bool) {
	switch {
	case kind.IsHead():
		return 512, true
	case kind == topology.Attention:
		return 8, false
	}
	return 1, false
}
