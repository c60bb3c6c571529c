package nn

import "slices"

// Choose are the experts that a token of these router logits goes to.
func (n Numerics) Choose(m *Experts, logits []float64) []int {
	return n.ops.(mixtures).choose(m, logits)
}

func (o *ops[F]) choose(m *Experts, logits []float64) []int {
	routing := o.mix.routing(m)
	ids := make([]int, routing.TopK())
	routing.choose(newScores(o), slices.Clone(logits), ids, make([]float64, len(ids)))
	return ids
}

// byScores is a Routing that takes the experts of the largest scores. Others have a bias
// for each expert, or groups of experts.
type byScores interface{ largestScores() }

func (SoftmaxTopK) largestScores() {}
func (TopKSoftmax) largestScores() {}

// ByScores reports whether a routing takes the experts of the largest scores.
func ByScores(r Routing) bool {
	_, ok := r.(byScores)
	return ok
}
