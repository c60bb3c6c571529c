package nn

import "github.com/ilref/ilref/internal/kernel"

// TopKSigmoid takes the K experts of the largest logits, and as weights the sigmoids of
// these (vLLM's models/llama4.py custom_routing_function).
type TopKSigmoid struct{ K int }

// TopK is how many experts it chooses.
func (r TopKSigmoid) TopK() int { return r.K }

func (r TopKSigmoid) choose(a *scores, logits []float64, ids []int, weights []float64) {
	largest(logits, ids)
	for k, e := range ids {
		weights[k] = a.kernel(1 / a.kernel(1+a.kernel(kernel.Exp(-logits[e]))))
	}
}
