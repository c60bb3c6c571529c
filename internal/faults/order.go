package faults

import (
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Reversed computes every matrix product with k from the last to the first:
// another order of summation in float32, as between two kernels.
func Reversed(r *Run) {
	cache := map[*tensor.Tensor]*tensor.Tensor{}
	r.Wrap(func(n nn.Numerics) nn.Numerics { return reversed{n, cache} })
}

type reversed struct {
	nn.Numerics
	cache map[*tensor.Tensor]*tensor.Tensor // by weight: the weight reversed
}

func (n reversed) Linear(x *tensor.Tensor, parts []nn.Part) *tensor.Tensor {
	reverse := func(m *tensor.Tensor) *tensor.Tensor {
		return columns(m, func(i int) int { return m.Shape[1] - 1 - i })
	}
	var mine []nn.Part
	for _, p := range parts {
		if n.cache[p.Weight] == nil {
			n.cache[p.Weight] = reverse(p.Weight)
		}
		mine = append(mine, nn.Part{Weight: n.cache[p.Weight], Bias: p.Bias})
	}
	return n.Numerics.Linear(reverse(x), mine)
}

// SplitK computes every matrix product in two halves over k, whose sums are
// rounded to the model's dtype before they are added, as split-K kernels may.
func SplitK(r *Run) { split(r, func(string) bool { return true }) }

// RowParallel computes as two tensor-parallel ranks do: o_proj and down_proj
// are split over k and their rounded partial sums added by the all-reduce.
func RowParallel(r *Run) {
	split(r, func(module string) bool {
		return topology.Of(module).Kind == topology.RowLinear
	})
}

func split(r *Run, modules func(string) bool) {
	halves := map[*tensor.Tensor][2]*tensor.Tensor{}
	r.Wrap(func(n nn.Numerics) nn.Numerics { return splitK{n, r, modules, halves} })
}

type splitK struct {
	nn.Numerics
	*Run
	modules func(string) bool
	halves  map[*tensor.Tensor][2]*tensor.Tensor // by weight
}

func (n splitK) Linear(x *tensor.Tensor, parts []nn.Part) *tensor.Tensor {
	if !n.modules(n.At().Module) {
		return n.Numerics.Linear(x, parts)
	}
	k := x.Shape[1]
	var low, high []nn.Part
	for _, p := range parts {
		if _, ok := n.halves[p.Weight]; !ok {
			n.halves[p.Weight] = [2]*tensor.Tensor{p.Weight.Narrow(1, 0, k/2).Clone(), p.Weight.Narrow(1, k/2, k).Clone()}
		}
		h := n.halves[p.Weight]
		low, high = append(low, nn.Part{Weight: h[0], Bias: p.Bias}), append(high, nn.Part{Weight: h[1]})
	}
	sum := n.Numerics.Linear(x.Narrow(1, 0, k/2), low)
	rest := n.Numerics.Linear(x.Narrow(1, k/2, k), high)
	other := make([]float64, rest.Shape[1])
	edit(sum, func(row int, v []float64) {
		load(other, rest, row)
		for i := range v {
			v[i] += other[i]
		}
	})
	return sum
}
