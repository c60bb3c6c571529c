package faults

import (
	"math"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// product is a matrix product with a packed weight.
type product func(x *tensor.Tensor, parts []nn.PackedWeight) *tensor.Tensor

// products computes every matrix product of a run by f, which is given how it
// is computed otherwise.
func products(r *Run, f func(module string, right product, x *tensor.Tensor, parts []nn.PackedWeight) *tensor.Tensor) {
	Wrap(r, func(s *nn.Step, m *nn.Linear, in il.Tuple, _ nn.Computation) il.Value {
		out := f(m.Name(), s.Linear, in.Tensor(0), m.Parts)
		if m.Spec().Single {
			return out
		}
		return il.Tuple{out, nil}
	})
	Wrap(r, func(s *nn.Step, m *nn.LogitsProcessor, in il.Tuple, forward nn.Computation) il.Value {
		right := func(x *tensor.Tensor, parts []nn.PackedWeight) *tensor.Tensor {
			head, limit, args := m.Head, m.Softcap, slices.Clone(in)
			m.Head, m.Softcap, args[1] = parts[0].Weight, 0, x
			defer func() { m.Head, m.Softcap = head, limit }()
			return forward(s, m, args).(*tensor.Tensor)
		}
		out := f(m.Name(), right, in.Tensor(1), []nn.PackedWeight{{Weight: m.Head}})
		if m.Softcap > 0 { // of the whole sum
			edit(out, func(_ int, v []float64) {
				for i, x := range v {
					v[i] = m.Softcap * math.Tanh(x/m.Softcap)
				}
			})
		}
		return out
	})
}

// Reversed computes every matrix product with k from the last to the first:
// another order of summation in float32, as between two kernels.
func Reversed(r *Run) {
	cache := map[*tensor.Tensor]*tensor.Tensor{} // by weight: the weight reversed
	reverse := func(m *tensor.Tensor) *tensor.Tensor {
		return columns(m, func(i int) int { return m.Shape[1] - 1 - i })
	}
	products(r, func(_ string, right product, x *tensor.Tensor, parts []nn.PackedWeight) *tensor.Tensor {
		if !allDense(parts) {
			return right(x, parts)
		}
		var mine []nn.PackedWeight
		for _, p := range parts {
			w := dense(p.Weight)
			if cache[w] == nil {
				cache[w] = reverse(w)
			}
			mine = append(mine, nn.PackedWeight{Weight: nn.Dense{Weight: cache[w]}, Bias: p.Bias})
		}
		return right(reverse(x), mine)
	})
	reversedExperts(r)
}

// SplitK computes every matrix product in two halves over k, whose sums are
// rounded to the model's dtype before they are added, as split-K kernels may.
func SplitK(r *Run) {
	split(r, func(string) bool { return true })
	splitExperts(r)
}

// RowParallel computes as two tensor-parallel ranks do: o_proj and down_proj
// are split over k and their rounded partial sums added by the all-reduce.
func RowParallel(r *Run) {
	split(r, func(module string) bool {
		return topology.Of(module).Kind == topology.RowLinear
	})
}

func split(r *Run, modules func(string) bool) {
	halves := map[*tensor.Tensor][2]nn.Dense{} // by weight
	products(r, func(module string, right product, x *tensor.Tensor, parts []nn.PackedWeight) *tensor.Tensor {
		if !modules(module) || !allDense(parts) {
			return right(x, parts)
		}
		k := x.Shape[1]
		var low, high []nn.PackedWeight
		for _, p := range parts {
			w := dense(p.Weight)
			if _, ok := halves[w]; !ok {
				halves[w] = [2]nn.Dense{{Weight: w.Narrow(1, 0, k/2).Clone()}, {Weight: w.Narrow(1, k/2, k).Clone()}}
			}
			h := halves[w]
			low, high = append(low, nn.PackedWeight{Weight: h[0], Bias: p.Bias}), append(high, nn.PackedWeight{Weight: h[1]})
		}
		sum := right(x.Narrow(1, 0, k/2), low)
		rest := right(x.Narrow(1, k/2, k), high)
		other := make([]float64, rest.Shape[1])
		edit(sum, func(row int, v []float64) {
			load(other, rest, row)
			for i := range v {
				v[i] += other[i]
			}
		})
		return sum
	})
}

// allDense reports whether weights are matrices as they are: others, of layouts of their
// family, are computed as they are.
func allDense(parts []nn.PackedWeight) bool {
	return !slices.ContainsFunc(parts, func(p nn.PackedWeight) bool {
		_, ok := p.Weight.(nn.Dense)
		return !ok
	})
}
