package nn

import (
	"slices"

	"github.com/ilref/ilref/internal/kernel"
)

// TransformersExperts says what transformers' class of a mixture has otherwise than
// vLLM's. The profiles of transformers apply it.
type TransformersExperts struct {
	Routing     Routing // nil: the same
	HalfWeights bool    // the routers' weights are cast to the model's dtype
	ByExpert    bool    // results are added up in the order of the experts, in the model's dtype (index_add_)
}

// mixPoints are the places where the profiles' kernels of experts round otherwise.
type mixPoints[F real] struct {
	// routing is who chooses.
	routing func(m *Experts) Routing
	// kept casts a token's weights to the type in which they meet the results.
	kept func(m *Experts, a *scores, weights []float64)
	// weigh multiplies what the second product returns by the weight, and rounds.
	weigh func(o *ops[F], m *Experts, y []F, w F)
	// sum adds up what a token's experts return; the store rounds it.
	sum func(o *ops[F], m *Experts, out []F, ids []int, h [][]F)
}

// mixExactly are those of float32 and float64.
func mixExactly[F real]() mixPoints[F] {
	return mixPoints[F]{routing: vllmRouting, kept: keptAsTheyAre, weigh: weighUnrounded[F], sum: sumInOrder[F]}
}

// mixOfTransformers are those of transformers' profiles.
var mixOfTransformers = mixPoints[float32]{
	routing: transformersRouting, kept: keptByTransformers, weigh: weighRounded[float32], sum: sumTransformers[float32],
}

func vllmRouting(m *Experts) Routing { return m.Routing }

func transformersRouting(m *Experts) Routing {
	if m.Like.Routing != nil {
		return m.Like.Routing
	}
	return m.Routing
}

func keptAsTheyAre(*Experts, *scores, []float64) {}

func keptByTransformers(m *Experts, a *scores, w []float64) {
	if m.Like.HalfWeights {
		for i := range w {
			w[i] = a.model(w[i])
		}
	}
}

// weighUnrounded is r((acc + b) * w): vLLM's fused_moe_kernel has it in float32.
func weighUnrounded[F real](o *ops[F], _ *Experts, y []F, w F) {
	kernel.Scale(y, w)
	o.round(y)
}

// weighRounded is r(acc) * w, which is rounded again unless w is float32 (transformers
// 5.12, integrations/moe.py).
func weighRounded[F real](o *ops[F], m *Experts, y []F, w F) {
	o.round(y)
	kernel.Scale(y, w)
	if m.Like.HalfWeights {
		o.round(y)
	}
}

// sumInOrder adds in the order of choice in float32 (vLLM e8c24a7695, moe_sum_vec_kernel;
// torch's sum).
func sumInOrder[F real](_ *ops[F], _ *Experts, out []F, _ []int, h [][]F) {
	clear(out)
	for _, y := range h {
		kernel.Add(out, y)
	}
}

// sumHalf adds 2, 3 or 4 results in the model's dtype, and others as at::sum
// (vLLM v0.10.2, csrc/moe/moe_align_sum_kernels.cu moe_sum_kernel).
func sumHalf[F real](o *ops[F], m *Experts, out []F, ids []int, h [][]F) {
	if len(h) < 2 || len(h) > 4 {
		sumInOrder(o, m, out, ids, h)
		return
	}
	clear(out)
	for _, y := range h {
		kernel.Add(out, y)
		o.round(out)
	}
}

// sumTransformers is torch's sum over the chosen, or index_add_ expert after expert.
func sumTransformers[F real](o *ops[F], m *Experts, out []F, ids []int, h [][]F) {
	if !m.Like.ByExpert {
		sumInOrder(o, m, out, ids, h)
		return
	}
	order := make([]int, len(ids))
	for k := range order {
		order[k] = k
	}
	slices.SortFunc(order, func(a, b int) int { return ids[a] - ids[b] })
	clear(out)
	for _, k := range order {
		o.round(h[k]) // cast before it is added
		kernel.Add(out, h[k])
		o.round(out)
	}
}
