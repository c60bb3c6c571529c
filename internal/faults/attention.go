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
				for _, l := range r.Model.Model.Layers {
					l.SelfAttn.Attn.Scale *= l.SelfAttn.Attn.Scale
				}
			},
		},
		{
			Name: "mask off by one", What: "in prefill a token sees the next one too",
			Hint:   "a mask that is off by one",
			Where:  attn(0, 0),
			Inject: func(r *Run) { r.Wrap(func(n nn.Numerics) nn.Numerics { return leakyMask{n} }) },
		},
		{
			Name: "window off by one", What: "a token sees one key more than the sliding window holds",
			Hint:  "a window, mask or context limit of about 9",
			Where: attn(0, 0),
			Needs: func(c *model.Config) bool { return c.UseSlidingWindow },
			Inject: func(r *Run) {
				for _, l := range r.Model.Model.Layers {
					l.SelfAttn.Attn.Window++
				}
			},
		},
		{
			Name: "wrong GQA mapping", What: "query head h has key head h mod nkv instead of h / group",
			Hint:   "which kv head a query head reads",
			Where:  attn(0, 0),
			Inject: func(r *Run) { r.Wrap(func(n nn.Numerics) nn.Numerics { return wrongGroups{n} }) },
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
			Inject: shadowed(func(_ int, k, v *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor) {
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
type leakyMask struct{ nn.Numerics }

func (n leakyMask) Attend(q *tensor.Tensor, layer int, shape nn.AttentionShape, spans []nn.Span) *tensor.Tensor {
	later := make([]int, q.Shape[0]) // by row: the row that it takes the place of
	for i := range later {
		later[i] = i
	}
	for _, s := range spans {
		for row := s.Lo; row < s.Hi-1; row++ {
			later[row] = row + 1
		}
	}
	out := n.Numerics.Attend(q, layer, shape, spans)
	leaked := n.Numerics.Attend(permuted(q, func(i int) int { return max(i-1, 0) }), layer, shape, spans)
	own := map[bool]*tensor.Tensor{true: out, false: leaked}
	return edited(out, func(row int, v []float64) { load(v, own[later[row] == row], later[row]) })
}

// wrongGroups lays the query heads out so that those of key head h mod nkv are
// neighbours.
type wrongGroups struct{ nn.Numerics }

func (n wrongGroups) Attend(q *tensor.Tensor, layer int, shape nn.AttentionShape, spans []nn.Span) *tensor.Tensor {
	d, group := shape.HeadDim, shape.Heads/shape.KVHeads
	there := func(i int) int { // by place: the query head
		place := i / d
		return (place%group*shape.KVHeads+place/group)*d + i%d
	}
	back := func(i int) int {
		h := i / d
		return (h%shape.KVHeads*group+h/shape.KVHeads)*d + i%d
	}
	return columns(n.Numerics.Attend(columns(q, there), layer, shape, spans), back)
}

// shadow is attention whose decode reads caches of its own, filled with keys
// and values that edit has changed.
type shadow struct {
	nn.Numerics
	*Run
	edit   func(layer int, k, v *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor)
	k, v   *tensor.Tensor // of the call
	caches map[*nn.Cache]*nn.Cache
}

// shadowed makes a fault of the cache. edit sees the rows of every call.
func shadowed(edit func(layer int, k, v *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor)) func(*Run) {
	return func(r *Run) {
		s := &shadow{Run: r, edit: edit, caches: map[*nn.Cache]*nn.Cache{}}
		attn := map[string]bool{}
		for _, l := range r.Model.Model.Layers {
			attn[l.SelfAttn.Attn.Name()] = true
		}
		r.Entering = append(r.Entering, func(at Place, args il.Tuple) il.Tuple {
			if attn[at.Module] {
				s.k, s.v = args.Tensor(1), args.Tensor(2)
			}
			return args
		})
		r.Wrap(func(n nn.Numerics) nn.Numerics {
			s.Numerics = n
			return s
		})
	}
}

func (s *shadow) Attend(q *tensor.Tensor, layer int, shape nn.AttentionShape, spans []nn.Span) *tensor.Tensor {
	mine := make([]nn.Span, len(spans))
	for i, sp := range spans {
		if s.caches[sp.Cache] == nil {
			s.caches[sp.Cache] = nn.NewCache(len(s.Model.Model.Layers))
		}
		mine[i] = nn.Span{Lo: sp.Lo, Hi: sp.Hi, Cache: s.caches[sp.Cache]}
	}
	k, v := s.edit(layer, s.k, s.v)
	// The module is what can store rows.
	attn := nn.NewAttention("shadow", layer, shape)
	out := attn.Forward(&nn.Step{Numerics: s.Numerics, Spans: mine}, il.Tuple{q, k, v}).(*tensor.Tensor)
	if s.At().Step == 0 {
		return s.Numerics.Attend(q, layer, shape, spans)
	}
	return out
}

// stale repeats the last row of the prompt in every decode.
func stale(r *Run) {
	type kv struct{ k, v *tensor.Tensor }
	last := map[int]kv{} // by layer
	shadowed(func(layer int, k, v *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor) {
		if n := k.Shape[0]; r.At().Step == 0 {
			last[layer] = kv{k.Narrow(0, n-1, n).Clone(), v.Narrow(0, n-1, n).Clone()}
			return k, v
		}
		return last[layer].k, last[layer].v
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
