package faults

import (
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// mixture is where the faults of experts are put: the first layer of a model that has any.
type mixture struct {
	block   string
	shared  bool // the block adds shared experts
	swapped [2]int
	drop    int // tokens of an expert's capacity
}

func (m mixture) at(name string) Place { return Place{Module: m.block + name} }

// mixtureFaults are what can be wrong with the experts of a model.
func mixtureFaults(m mixture) []Fault {
	name := m.block + ".experts"
	experts := func(r *Run) *nn.Experts { return get[*nn.Experts](r.Model, name) }
	a, b := m.swapped[0], m.swapped[1]
	list := []Fault{
		{
			Name: "routed scale", What: "the sum of the experts is taken 2.5 times",
			Hint: "as of the routed scale", Where: m.at(".experts"),
			Inject: leaving(name, 0, func(_ *Run, t *tensor.Tensor) {
				edit(t, func(_ int, v []float64) {
					for i := range v {
						v[i] *= 2.5
					}
				})
			}),
		},
		{
			Name: "swapped experts", What: "two experts have each other's weights",
			Hint: "taken for one another", Where: m.at(".experts"),
			Inject: func(r *Run) {
				list := experts(r).Experts
				list[a], list[b] = list[b], list[a]
			},
		},
		{
			Name: "w1 and w3 swapped", What: "gate and up of one expert have each other's weights",
			Hint: "the weights of expert", Where: m.at(".experts"),
			Inject: func(r *Run) {
				w := experts(r).Experts[a].W13
				w[0], w[1] = w[1], w[0]
			},
		},
		{
			Name: "capacity", What: "tokens behind the first so many of an expert go without it",
			Hint: "capacity dropped", Where: m.at(".experts"),
			Inject: func(r *Run) { Wrap(r, capacity(name, m.drop)) },
		},
		{
			Name: "router in bfloat16", What: "a run in float32 whose router computes in bfloat16",
			Hint: "the router computed in bfloat16", Where: m.at(".gate"), DType: tensor.Float32,
			Inject: leaving(m.block+".gate", 0, func(_ *Run, t *tensor.Tensor) {
				edit(t, func(_ int, v []float64) { roundBF16(v) })
			}),
		},
	}
	if m.shared {
		list = append(list, sharedFaults(m)...)
	}
	return list
}

// renormalisation is the softmax over the wrong experts.
func renormalisation(m mixture, name, what, hint string, routing func(k int) nn.Routing) Fault {
	return Fault{
		Name: name, What: what, Hint: hint, Where: m.at(".experts"),
		Inject: func(r *Run) {
			each(r.Model, func(e *nn.Experts) { e.Routing = routing(e.Routing.TopK()) })
		},
	}
}

func notRenormalised(m mixture) Fault {
	return renormalisation(m, "no renormalisation", "the probabilities of the chosen experts are their weights as they are", "not renormalised",
		func(k int) nn.Routing { return nn.SoftmaxTopK{K: k} })
}

func softmaxAfter(m mixture) Fault {
	return renormalisation(m, "softmax behind top-k", "the softmax is taken over the chosen scores, not over all", "are renormalised",
		func(k int) nn.Routing { return nn.TopKSoftmax{K: k} })
}

// sharedFaults are in what a block adds to the sum of its experts.
func sharedFaults(m mixture) []Fault {
	added := func(name, what, hint string, times float64) Fault {
		return Fault{
			Name: name, What: what, Hint: hint, Where: m.at(""),
			Inject: func(r *Run) {
				var routed *tensor.Tensor
				r.Leaving = append(r.Leaving, func(at Place, out il.Value) {
					switch at.Module {
					case m.block + ".experts":
						routed = first(out).Clone()
					case m.block:
						sum := make([]float64, routed.Shape[1])
						edit(first(out), func(row int, v []float64) {
							load(sum, routed, row)
							for i := range v {
								v[i] += times * (v[i] - sum[i])
							}
						})
					}
				})
			},
		}
	}
	return []Fault{
		added("shared expert missing", "what the shared expert returns is not added", "the shared experts are missing", -1),
		added("shared expert twice", "it is added twice", "the shared experts are added twice", 1),
	}
}

// capacity drops an expert from the tokens behind its first n.
func capacity(name string, n int) func(*nn.Step, *nn.Experts, il.Tuple, nn.Computation) il.Value {
	return func(s *nn.Step, m *nn.Experts, in il.Tuple, forward nn.Computation) il.Value {
		if m.Name() != name {
			return forward(s, m, in)
		}
		hidden, logits := in.Tensor(0).Clone(), in.Tensor(1)
		out := nn.One(forward(s, m, in))
		scores, seen := make([]float64, logits.Shape[1]), map[int]int{}
		missing := make([][]int, logits.Shape[0])
		for row := range missing {
			load(scores, logits, row)
			for _, e := range s.Choose(m, scores) {
				if seen[e]++; seen[e] > n {
					missing[row] = append(missing[row], e)
				}
			}
		}
		for e := range m.Experts {
			without := *m
			without.InPlace, without.Experts = false, slices.Clone(m.Experts)
			without.Experts[e].W2.Weight = nn.Dense{Weight: edited(dense(m.Experts[e].W2.Weight), func(_ int, v []float64) { clear(v) })}
			left := without.Mix(s, hidden.Clone(), logits)
			row := make([]float64, left.Shape[1])
			edit(out, func(i int, v []float64) {
				if slices.Contains(missing[i], e) {
					load(row, left, i)
					copy(v, row)
				}
			})
		}
		return out
	}
}

// roundBF16 rounds values to bfloat16.
func roundBF16(v []float64) {
	b := make([]byte, 2*len(v))
	tensor.StoreFloat64(b, tensor.BFloat16, v)
	tensor.LoadFloat64(v, tensor.BFloat16, b)
}

// closeScores makes the routers send tokens to one of two experts by their last places:
// each second one has the router's row of that before it, but for noise of some of them.
func closeScores(r *Run) {
	for _, x := range r.Model.Modules() {
		if l, ok := x.(*nn.Linear); ok && x.Spec().Kind == topology.Router {
			w := dense(l.Parts[0].Weight)
			noisy := edited(permuted(w, func(row int) int { return row &^ 1 }), noise(4e-3))
			w = edited(w, func(row int, v []float64) {
				if row%2 == 1 {
					load(v, noisy, row)
				}
			})
			l.Parts[0].Weight = nn.Dense{Weight: w}
		}
	}
}

// mixedOtherwise computes experts by f, which is given the module, and what its products
// are given.
func mixedOtherwise(r *Run, f func(s *nn.Step, m *nn.Experts, hidden, logits *tensor.Tensor) *tensor.Tensor) {
	Wrap(r, func(s *nn.Step, m *nn.Experts, in il.Tuple, forward nn.Computation) il.Value {
		if len(in) != 2 || m.Shared != nil {
			return forward(s, m, in)
		}
		plain := *m
		plain.InPlace = false
		out, hidden := f(s, &plain, in.Tensor(0), in.Tensor(1)), in.Tensor(0)
		if !m.InPlace {
			return out
		}
		row := make([]float64, out.Shape[1])
		edit(hidden, func(i int, v []float64) {
			load(row, out, i)
			copy(v, row)
		})
		return hidden
	})
}

// reversedExperts sums both products of every expert from the last k to the first: the
// inputs of the first, and with its rows those of the second, are in the other order.
func reversedExperts(r *Run) {
	cache := map[string][]nn.Expert{}
	back := func(m *tensor.Tensor) *tensor.Tensor {
		return columns(m, func(i int) int { return m.Shape[1] - 1 - i })
	}
	mixedOtherwise(r, func(s *nn.Step, m *nn.Experts, hidden, logits *tensor.Tensor) *tensor.Tensor {
		if cache[m.Name()] == nil {
			for _, x := range m.Experts {
				if len(x.W13) != 2 || x.W13[0].Bias != nil {
					return m.Mix(s, hidden, logits) // of another layout
				}
				var e nn.Expert
				for _, p := range x.W13 {
					w := back(dense(p.Weight))
					n := w.Shape[0]
					e.W13 = append(e.W13, nn.PackedWeight{Weight: nn.Dense{Weight: permuted(w, func(i int) int { return n - 1 - i })}})
				}
				e.W2 = nn.PackedWeight{Weight: nn.Dense{Weight: back(dense(x.W2.Weight))}, Bias: x.W2.Bias}
				cache[m.Name()] = append(cache[m.Name()], e)
			}
		}
		m.Experts = cache[m.Name()]
		return m.Mix(s, back(hidden), logits)
	})
}

// splitExperts adds up the second product of every expert in two halves, whose sums are
// rounded first, as two tensor-parallel ranks do.
func splitExperts(r *Run) {
	cache := map[string][2][]nn.Expert{}
	mixedOtherwise(r, func(s *nn.Step, m *nn.Experts, hidden, logits *tensor.Tensor) *tensor.Tensor {
		if _, ok := cache[m.Name()]; !ok {
			var halves [2][]nn.Expert
			for _, x := range m.Experts {
				if len(x.W13) != 2 || x.W13[0].Bias != nil {
					return m.Mix(s, hidden, logits)
				}
				n := dense(x.W13[0].Weight).Shape[0]
				for side, r := range [][2]int{{0, n / 2}, {n / 2, n}} {
					var e nn.Expert
					for _, p := range x.W13 {
						e.W13 = append(e.W13, nn.PackedWeight{Weight: nn.Dense{Weight: dense(p.Weight).Narrow(0, r[0], r[1]).Clone()}})
					}
					e.W2 = nn.PackedWeight{Weight: nn.Dense{Weight: dense(x.W2.Weight).Narrow(1, r[0], r[1]).Clone()}}
					if side == 0 {
						e.W2.Bias = x.W2.Bias
					}
					halves[side] = append(halves[side], e)
				}
			}
			cache[m.Name()] = halves
		}
		var sums [2]*tensor.Tensor
		for side, list := range cache[m.Name()] {
			m.Experts = list
			sums[side] = m.Mix(s, hidden, logits)
		}
		other := make([]float64, sums[1].Shape[1])
		edit(sums[0], func(i int, v []float64) {
			load(other, sums[1], i)
			for k := range v {
				v[k] += other[k]
			}
		})
		return sums[0]
	})
}
