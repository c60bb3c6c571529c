package nn

import (
	"math"
	"slices"

	"github.com/ilref/ilref/internal/kernel"
)

// Groups of experts: a token's are of the few groups that are best.
type Groups struct {
	N    int // of all
	Kept int // of a token
}

// keep sets the values of experts to -Inf whose groups are not kept: those of the largest
// scores, the lower index first.
func (g Groups) keep(v []float64, score func(group []float64) float64, dropped float64) {
	if g.N <= 1 {
		return
	}
	size := len(v) / g.N
	scores, kept := make([]float64, g.N), make([]int, g.Kept)
	for i := range scores {
		scores[i] = score(v[i*size : (i+1)*size])
	}
	largest(scores, kept)
	for i := range v {
		if !slices.Contains(kept, i/size) {
			v[i] = dropped
		}
	}
}

// SigmoidTopK takes experts by their sigmoids and a bias, of the groups with the largest
// sums of two, and the sigmoids alone as weights (DeepSeek-V3; vLLM's grouped_topk,
// csrc/moe/grouped_topk_kernels.cu).
type SigmoidTopK struct {
	K           int
	Groups      Groups
	Bias        []float64 // of each expert
	Renormalise bool
	// Half says that the scores have the model's dtype, as logits in that have in 2025.
	Half bool
	// Kernel says that the sigmoid is that of the kernel of 2026, by a tangent.
	Kernel bool
	// Recovered says that a weight is what is left of the biased score: the kernel of one
	// group.
	Recovered bool
	// Scale multiplies the weights: transformers'; 0 for nothing.
	Scale float64
}

// TopK is how many experts it chooses.
func (r SigmoidTopK) TopK() int { return r.K }

func (r SigmoidTopK) choose(a *scores, logits []float64, ids []int, weights []float64) {
	round := a.kernel
	if r.Half {
		round = a.model
	}
	sigmoids, choice := make([]float64, len(logits)), make([]float64, len(logits))
	for i, x := range logits {
		s := a.sigmoid(x)
		if r.Kernel {
			s = a.sigmoidByTanh(x)
		}
		sigmoids[i], choice[i] = round(s), round(a.kernel(s+r.Bias[i]))
	}
	r.Groups.keep(choice, func(group []float64) float64 { return round(twoLargest(group)) }, math.Inf(-1))
	largest(choice, ids)
	for k, e := range ids {
		weights[k] = sigmoids[e]
		if r.Recovered {
			weights[k] = a.kernel(choice[e] - r.Bias[e])
		}
	}
	if r.Renormalise {
		sum := a.kernel(a.sum(weights) + 1e-20)
		for k, w := range weights {
			weights[k] = a.kernel(w / sum)
		}
	}
	for k, w := range weights {
		if weights[k] = round(w); r.Scale != 0 {
			weights[k] = a.kernel(weights[k] * r.Scale)
		}
	}
}

func (a *scores) sigmoid(x float64) float64 {
	return a.kernel(1 / a.kernel(1+a.kernel(kernel.Exp(-x))))
}

// sigmoidByTanh is 0.5 tanh(0.5 x) + 0.5.
func (a *scores) sigmoidByTanh(x float64) float64 {
	e := kernel.Exp(-math.Abs(x))
	return a.kernel(a.kernel(0.5*a.kernel(math.Copysign((1-e)/(1+e), x))) + 0.5)
}

// twoLargest is the sum of the two largest values.
func twoLargest(v []float64) float64 {
	first, second := math.Inf(-1), math.Inf(-1)
	for _, x := range v {
		if x > first {
			first, second = x, first
		} else {
			second = max(second, x)
		}
	}
	return first + second
}

// SoftmaxGroupedTopK takes the experts of the largest probabilities, of the groups with the
// largest, all in the model's dtype (DeepSeek-V2; vLLM's grouped_topk in torch).
type SoftmaxGroupedTopK struct {
	K           int
	Groups      Groups
	Renormalise bool
	// Float says that it is transformers': probabilities stay in float32, groups that are not
	// kept count as 0, and weights are multiplied by Scale.
	Float bool
	Scale float64
}

// TopK is how many experts it chooses.
func (r SoftmaxGroupedTopK) TopK() int { return r.K }

func (r SoftmaxGroupedTopK) choose(a *scores, logits []float64, ids []int, weights []float64) {
	round, dropped := a.model, math.Inf(-1)
	if r.Float {
		round, dropped = a.kernel, 0
	}
	a.softmaxByDivision(logits)
	for i, p := range logits {
		logits[i] = round(p)
	}
	r.Groups.keep(logits, slices.Max[[]float64], dropped)
	largest(logits, ids)
	asSelected(logits, ids)
	for k, e := range ids {
		weights[k] = logits[e]
	}
	if r.Renormalise {
		sum := round(a.sum(weights))
		for k, w := range weights {
			weights[k] = round(w / sum)
		}
	}
	if r.Float {
		for k, w := range weights {
			weights[k] = a.kernel(w * r.Scale)
		}
	}
}

// softmaxByDivision is torch's.
func (a *scores) softmaxByDivision(v []float64) {
	b := *a
	b.share = shareByDivision
	b.softmax(v)
}

// asSelected orders the places of the largest values as torch's radix selection leaves
// them: those above the least of them by place, then those equal to it.
func asSelected(v []float64, ids []int) {
	least := v[ids[len(ids)-1]]
	slices.SortFunc(ids, func(i, j int) int {
		switch over, other := v[i] > least, v[j] > least; {
		case over == other:
			return i - j
		case over:
			return -1
		}
		return 1
	})
}
