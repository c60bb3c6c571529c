package faults

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

func attentionFaults() []Fault {
	attn := func(step, i int) Place { return Place{Step: step, Module: topology.InLayer(i, topology.AttnName)} }
	return []Fault{
		{
			Name: "attention scale", What: "scores are divided by D instead of its root",
			Hint:  "attention's scale",
			Where: attn(0, 0),
			Inject: func(r *Run) {
				each(r.Model, func(m *nn.Attention) { m.Scale *= m.Scale })
			},
		},
		{
			Name: "mask off by one", What: "in prefill a token sees the next one too",
			Hint:   "a mask that is off by one",
			Where:  attn(0, 0),
			Inject: func(r *Run) { Wrap(r, leakyMask) },
		},
		{
			Name: "window off by one", What: "a token sees one key more than the sliding window holds",
			Hint:  "a window, mask or context limit of about 9",
			Where: attn(0, 0),
			Needs: func(c *model.Config) bool { return c.UseSlidingWindow },
			Inject: func(r *Run) {
				each(r.Model, func(m *nn.Attention) { m.Window++ })
			},
		},
		{
			Name: "wrong GQA mapping", What: "query head h has key head h mod nkv instead of h / group",
			Hint:   "which kv head a query head reads",
			Where:  attn(0, 0),
			Inject: func(r *Run) { Wrap(r, wrongGroups) },
		},
		{
			Name: "swapped heads", What: "layer 1's attention returns its first two heads exchanged",
			Hint:  "heads in another order",
			Where: attn(0, 1),
			Inject: leaving(topology.InLayer(1, topology.AttnName), 0, func(r *Run, t *tensor.Tensor) {
				*t = *columns(t, swapHeads(r.Model.Config.HeadDim))
			}),
		},
		{
			Name: "fp8 kv cache", What: "decode reads keys and values that were stored as float8_e4m3fn",
			Hint:  "the kv cache",
			Where: attn(1, 0),
			Inject: shadowed(func(_ string, k, v *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor) {
				round := func(_ int, x []float64) {
					for i := range x {
						x[i] = e4m3(x[i])
					}
				}
				return edited(k, round), edited(v, round)
			}),
		},
		{
			Name: "stale kv cache", What: "decode stores its row in a wrong slot and reads what the slot held: the last row of the prompt",
			Hint:   "the kv cache",
			Where:  attn(1, 0),
			Inject: stale,
		},
	}
}

// leakyMask gives each query the place of the next row, so that it sees that
// row's key; the last has no next and stays.
func leakyMask(s *nn.Step, m *nn.Attention, in il.Tuple, forward nn.Computation) il.Value {
	out := forward(s, m, in).(*tensor.Tensor)
	q := in.Tensor(0)
	later := make([]int, q.Shape[0]) // by row: the row that it takes the place of
	for i := range later {
		later[i] = i
	}
	for _, span := range s.Spans {
		for row := span.Lo; row < span.Hi-1; row++ {
			later[row] = row + 1
		}
	}
	leaked := m.Attend(s, permuted(q, func(i int) int { return max(i-1, 0) }))
	own := map[bool]*tensor.Tensor{true: out, false: leaked}
	return edited(out, func(row int, v []float64) { load(v, own[later[row] == row], later[row]) })
}

// wrongGroups lays the query heads out so that those of key head h mod nkv are
// neighbours.
func wrongGroups(s *nn.Step, m *nn.Attention, in il.Tuple, forward nn.Computation) il.Value {
	d, group := m.HeadDim, m.Heads/m.KVHeads
	there := func(i int) int { // by place: the query head
		place := i / d
		return (place%group*m.KVHeads+place/group)*d + i%d
	}
	back := func(i int) int {
		h := i / d
		return (h%m.KVHeads*group+h/m.KVHeads)*d + i%d
	}
	return columns(forward(s, m, il.Tuple{columns(in.Tensor(0), there), in[1], in[2]}).(*tensor.Tensor), back)
}

// shadowed makes a fault of the cache: attention's decode reads caches of its
// own, filled with keys and values that edit has changed. Edit sees the rows of
// every call.
func shadowed(edit func(attn string, k, v *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor)) func(*Run) {
	return func(r *Run) {
		caches := map[*nn.Cache]*nn.Cache{}
		Wrap(r, func(s *nn.Step, m *nn.Attention, in il.Tuple, forward nn.Computation) il.Value {
			right := forward(s, m, in)
			shadow := &nn.Step{Numerics: s.Numerics, Hooks: nn.NoHooks{}}
			for _, sp := range s.Spans {
				if caches[sp.Cache] == nil {
					caches[sp.Cache] = nn.NewCache()
				}
				shadow.Spans = append(shadow.Spans, nn.Span{Lo: sp.Lo, Hi: sp.Hi, Cache: caches[sp.Cache]})
			}
			k, v := edit(m.Name(), in.Tensor(1), in.Tensor(2))
			if out := m.Forward(shadow, il.Tuple{in[0], k, v}); r.At().Step > 0 {
				return out
			}
			return right
		})
	}
}

// stale repeats the last row of the prompt in every decode.
func stale(r *Run) {
	type kv struct{ k, v *tensor.Tensor }
	last := map[string]kv{} // by attention
	shadowed(func(attn string, k, v *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor) {
		if n := k.Shape[0]; r.At().Step == 0 {
			last[attn] = kv{k.Narrow(0, n-1, n).Clone(), v.Narrow(0, n-1, n).Clone()}
			return k, v
		}
		return last[attn].k, last[attn].v
	})(r)
}

// leaving is a fault in the first result of a module, from a step on.
func leaving(module string, from int, f func(*Run, *tensor.Tensor)) func(*Run) {
	return func(r *Run) {
		r.Leaving = append(r.Leaving, func(at Place, out il.Value) {
			if at.Module == module && at.Step >= from {
				f(r, first(out))
			}
		})
	}
}

// noise multiplies each value by 1 plus a normal number of a size. The numbers
// are the same in every run.
func noise(size float64) func(row int, v []float64) {
	state := uint64(1)
	uniform := func() float64 { // xorshift64* (Vigna, ACM TOMS 42, 2016)
		state ^= state >> 12
		state ^= state << 25
		state ^= state >> 27
		return (float64(state*0x2545F4914F6CDD1D>>11) + 0.5) / (1 << 53)
	}
	return func(_ int, v []float64) {
		for i := range v {
			v[i] *= 1 + size*math.Sqrt(-2*math.Log(uniform()))*math.Cos(2*math.Pi*uniform())
		}
	}
}
