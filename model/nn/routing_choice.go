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

// partedChoice is a Routing whose experts are not those of the largest scores alone.
type partedChoice interface {
	// without are the routings that it would be with a part of its choice left out, by
	// what that is; none where it chooses the largest scores.
	without() map[string]Routing
}

// Without are the routings that one would be with a part of its choice left out, by what
// that is; none where the experts are those of the largest scores.
func Without(r Routing) map[string]Routing {
	if p, ok := r.(partedChoice); ok {
		return p.without()
	}
	return nil
}

// ByScores reports whether a routing takes the experts of the largest scores.
func ByScores(r Routing) bool { return len(Without(r)) == 0 }

// The parts.
const (
	correctionBias = "the correction bias"
	groupLimit     = "the limit to the best groups of experts"
)

func (r SigmoidTopK) without() map[string]Routing {
	out := map[string]Routing{}
	if slices.ContainsFunc(r.Bias, func(b float64) bool { return b != r.Bias[0] }) {
		plain := r
		plain.Bias = make([]float64, len(r.Bias))
		out[correctionBias] = plain
	}
	if r.Groups.N > 1 {
		plain := r
		plain.Groups = Groups{}
		out[groupLimit] = plain
	}
	return out
}

func (r SoftmaxGroupedTopK) without() map[string]Routing {
	if r.Groups.N <= 1 {
		return nil
	}
	r.Groups = Groups{}
	return map[string]Routing{groupLimit: r}
}

// OtherWeights are the routings that choose the same experts and weigh them otherwise, as is
// easily done, by what that is.
func OtherWeights(r Routing) map[string]Routing {
	if s, ok := r.(SigmoidTopK); ok && len(s.without()) > 0 {
		return map[string]Routing{correctionBias + " in the weights of the experts": biasedWeights{s}}
	}
	return nil
}

// biasedWeights takes the biased scores as weights.
type biasedWeights struct{ SigmoidTopK }

func (r biasedWeights) choose(a *scores, logits []float64, ids []int, weights []float64) {
	plain := slices.Clone(logits)
	r.SigmoidTopK.choose(a, logits, ids, weights)
	for k, e := range ids {
		weights[k] = a.kernel(a.sigmoid(plain[e]) + r.Bias[e])
	}
	if r.Renormalise {
		renormaliseInTorch(a, weights)
	}
	for k, w := range weights {
		if r.Scale != 0 {
			weights[k] = a.kernel(w * r.Scale)
		}
	}
}
