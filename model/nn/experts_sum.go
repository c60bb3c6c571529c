package nn

import (
	"slices"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// TransformersExperts says what transformers' class of a mixture has otherwise than
// vLLM's. The profiles of transformers apply it.
type TransformersExperts struct {
	Routing     Routing // nil: the same
	HalfWeights bool    // the routers' weights are cast to the model's dtype
	ByExpert    bool    // results are added up in the order of the experts (index_add_)
}

// mixPoints are the places where the profiles' kernels of experts round otherwise.
type mixPoints[F real] struct {
	// routing is who chooses.
	routing func(m *Experts) Routing
	// kept casts a token's weights to the type in which they meet the results.
	kept func(m *Experts, a *scores, weights []float64)
	// operation rounds what operations return that vLLM's kernels have in one: a product
	// before its bias is added, steps of an activation.
	operation func(o *ops[F], y []F)
	// taken and made multiply what the first product takes, or what it returns before it
	// is rounded, by the weight, where that goes on the input.
	taken func(o *ops[F], c *choice[F], x []F)
	made  func(y []F, w F)
	// weigh multiplies what the second product returns by the weight, and rounds.
	weigh func(o *ops[F], m *Experts, y []F, w F)
	// floatRouters says that routers which transformers computes in float32 do.
	floatRouters bool
	// routed multiplies that sum by a factor of the model's.
	routed func(o *ops[F], x *tensor.Tensor, factor float64) *tensor.Tensor
	// sum adds up what a token's experts return; the store rounds it.
	sum func(o *ops[F], m *Experts, out []F, ids []int, h [][]F)
}

// mixExactly are those of float32 and float64.
func mixExactly[F real]() mixPoints[F] {
	return mixPoints[F]{routing: vllmRouting, kept: keptAsTheyAre, operation: inOneKernel[F], taken: takenAsItIs[F], made: kernel.Scale[F], weigh: weighUnrounded[F], sum: sumInOrder[F], routed: (*ops[F]).times}
}

// mixOfTransformers are those of transformers' profiles.
var mixOfTransformers = mixPoints[float32]{
	routing: transformersRouting, kept: keptByTransformers, operation: eachRounded[float32], taken: takenWeighed[float32], made: madeAsItIs[float32], weigh: weighRounded[float32], sum: sumTransformers[float32], routed: inTheWeights[float32],
	floatRouters: true,
}

// ScaleRouted is the sum of a token's experts times a factor of the model's: r(x * factor).
// transformers multiplies the routers' weights by it.
func (n Numerics) ScaleRouted(x *tensor.Tensor, factor float64) *tensor.Tensor {
	return n.ops.(routedSums).scaleRouted(x, factor)
}

// routedSums are the kernels of what becomes of the sum of experts.
type routedSums interface {
	scaleRouted(x *tensor.Tensor, factor float64) *tensor.Tensor
}

var _, _ routedSums = (*ops[float32])(nil), (*ops[float64])(nil)

func (o *ops[F]) scaleRouted(x *tensor.Tensor, factor float64) *tensor.Tensor {
	return o.mix.routed(o, x, factor)
}

func inTheWeights[F real](_ *ops[F], x *tensor.Tensor, _ float64) *tensor.Tensor { return x }

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

func inOneKernel[F real](*ops[F], []F)     {}
func eachRounded[F real](o *ops[F], y []F) { o.round(y) }

func takenAsItIs[F real](*ops[F], *choice[F], []F) {}
func madeAsItIs[F real]([]F, F)                    {}

// takenWeighed is r(x * r(w)) (vLLM's fused_moe/prepare_finalize/no_dp_ep.py of 2026;
// transformers' modeling_llama4.py). In 2025 fused_moe_kernel has the sums multiplied.
func takenWeighed[F real](o *ops[F], c *choice[F], x []F) {
	width := len(x) / len(c.slots)
	w := make([]F, 1)
	for i, slot := range c.slots {
		w[0] = c.weights[slot]
		o.round(w)
		row := x[i*width:][:width]
		kernel.Scale(row, w[0])
		o.round(row)
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

// sumTransformers is torch's sum over the chosen, or its index_add_ expert after expert,
// which torch 2.14 has in float32 on a CPU (on a GPU each addition rounds).
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
	}
}
