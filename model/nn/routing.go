package nn

import "math"

// Routing chooses a token's experts by its router logits: vLLM's select_experts. Each
// way to do so is a file of its own, with its rounding points.
type Routing interface {
	// TopK is how many experts it chooses.
	TopK() int
	// choose sets the experts of one token, in the order of vLLM's sum over them, and
	// their weights. It may overwrite the logits.
	choose(a *scores, logits []float64, ids []int, weights []float64)
}

// scores is the arithmetic of routers. It computes in float64 and rounds every result to
// the type of the kernels: that of one operation is the same as if they computed in
// their own type, since float64 has more than twice its digits.
type scores struct {
	kernel func(float64) float64 // to float32, in which the kernels compute; nothing in float64
	model  func(float64) float64 // to the model's dtype
	routerPoints
}

// routerPoints are the places where the profiles' routers differ.
type routerPoints struct {
	share       func(a *scores, p, sum float64) float64 // of one softmax's term in the sum
	renormalise func(a *scores, weights []float64)      // chosen weights, to a sum of one
}

// routersInTorch are those of torch's own operations.
var routersInTorch = routerPoints{shareByDivision, renormaliseInTorch}

// vLLM's softmax multiplies by the reciprocal (csrc/moe/topk_softmax_kernels.cu), torch's
// divides.
func shareByReciprocal(a *scores, p, sum float64) float64 { return a.kernel(p * a.kernel(1/sum)) }
func shareByDivision(a *scores, p, sum float64) float64   { return a.kernel(p / sum) }

// renormaliseInTorch is w / w.sum() (vLLM v0.10.2 fused_moe.py; transformers).
func renormaliseInTorch(a *scores, w []float64) {
	sum := a.sum(w)
	for i := range w {
		w[i] = a.kernel(w[i] / sum)
	}
}

// renormaliseInKernel multiplies by the reciprocal (vLLM 75c7ad9918, topk_softmax_kernels.cu).
func renormaliseInKernel(a *scores, w []float64) {
	sum := a.sum(w)
	if !(sum > 0) {
		sum = 1
	}
	scale := a.kernel(1 / sum)
	for i := range w {
		w[i] = a.kernel(w[i] * scale)
	}
}

// sum adds in order.
func (a *scores) sum(v []float64) float64 {
	sum := 0.
	for _, x := range v {
		sum = a.kernel(sum + x)
	}
	return sum
}

// largest sets ids to the places of the largest values, in descending order; of equal
// ones the lowest place comes first, and NaN is below all.
func largest(v []float64, ids []int) {
	taken := make([]bool, len(v))
	for k := range ids {
		best := -1
		for i, x := range v {
			if !taken[i] && (best < 0 || x > v[best] || math.IsNaN(v[best]) && !math.IsNaN(x)) {
				best = i
			}
		}
		ids[k], taken[best] = best, true
	}
}

// newScores is the arithmetic in the type F of ops.
func newScores[F real](o *ops[F]) *scores {
	one := make([]F, 1)
	return &scores{
		kernel: func(x float64) float64 { return float64(F(x)) },
		model: func(x float64) float64 {
			one[0] = F(x)
			o.round(one)
			return float64(one[0])
		},
		routerPoints: o.routers,
	}
}
