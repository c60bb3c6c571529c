package nn

import (
	"math"

	"github.com/ilref/ilref/internal/kernel"
)

// SoftmaxTopK takes the K experts of the largest probabilities, and these as weights
// (vLLM's fused_topk: csrc/moe/topk_softmax_kernels.cu).
type SoftmaxTopK struct {
	K           int
	Renormalise bool // the weights of a token add up to one
}

// TopK is how many experts it chooses.
func (r SoftmaxTopK) TopK() int { return r.K }

func (r SoftmaxTopK) choose(a *scores, logits []float64, ids []int, weights []float64) {
	a.softmax(logits)
	for i, p := range logits {
		if math.IsNaN(p) || math.IsInf(p, 0) {
			logits[i] = 0
		}
	}
	largest(logits, ids)
	for k, e := range ids {
		weights[k] = logits[e]
	}
	if r.Renormalise {
		a.renormalise(a, weights)
	}
}

// softmax of v in place.
func (a *scores) softmax(v []float64) {
	most := math.Inf(-1)
	for _, x := range v {
		most = max(most, x)
	}
	for i, x := range v {
		v[i] = a.kernel(kernel.Exp(a.kernel(x - most)))
	}
	sum := a.sum(v)
	for i, p := range v {
		v[i] = a.share(a, p, sum)
	}
}

// TopKSoftmax takes the K experts of the largest logits, and as weights the softmax of
// these (transformers' GraniteMoeTopKGating).
type TopKSoftmax struct{ K int }

// TopK is how many experts it chooses.
func (r TopKSoftmax) TopK() int { return r.K }

func (r TopKSoftmax) choose(a *scores, logits []float64, ids []int, weights []float64) {
	largest(logits, ids)
	for k, e := range ids {
		weights[k] = logits[e]
	}
	a.softmax(weights)
}
