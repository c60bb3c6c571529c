package ref

import (
	"errors"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// Ranks tells of tensors that were put together of tensor-parallel ranks what
// each rank holds.
type Ranks interface {
	// Copies are what the ranks hold of a tensor that all must hold alike, and do
	// not: that of rank r is number r modulo their number. nil where they agree.
	// The tensor was opened before.
	Copies(f *il.TensorFile) []*il.TensorFile
	// Compose gives every part of f as the rank computed it that holds the part:
	// that of rank r is taken from whole number r modulo their number.
	Compose(f *il.TensorFile, wholes []*tensor.Tensor) (*tensor.Tensor, error)
}

// view is what a rank sees of a session: where ranks do not hold alike what they
// must, its own copy.
type view struct {
	*replayer
	rank   int
	caches map[int]*nn.Cache // of each request, as recorded
	spans  []nn.Span         // of the step, with the recorded caches
}

// begin lays out the rows of the step.
func (r *view) begin() {
	r.spans = nil
	row := 0
	for _, c := range r.plans[r.step.Number].Chunks {
		cache := r.caches[c.Request]
		if cache == nil || c.Request < 0 {
			cache = nn.NewCache()
			r.caches[c.Request] = cache
		}
		cache.Truncate(c.Start) // draft tokens that were rejected
		r.spans = append(r.spans, nn.Span{Lo: row, Hi: row + len(c.IDs), Cache: cache})
		row += len(c.IDs)
	}
}

// readRank returns a copy of what the rank holds of a tensor.
func (r *view) readRank(f *il.TensorFile) (*tensor.Tensor, error) {
	x, err := readCopy(f)
	if err != nil || r.part.Ranks == nil {
		return x, err
	}
	copies := r.part.Ranks.Copies(f)
	r.apart = max(r.apart, len(copies))
	if len(copies) > 0 && r.rank%len(copies) > 0 {
		return readCopy(copies[r.rank%len(copies)])
	}
	return x, nil
}

// prepare finds what a call needs, on each rank where ranks were given other
// things: what a module returns for one rank's inputs says nothing of another's.
func (r *replayer) prepare(c *il.Call) (nn.Module, []run, error) {
	m := r.engine.Model.Module(c.Module)
	if m == nil {
		return nil, nil, errors.New("the model has no module of this name")
	}
	r.apart = 1
	first, err := r.views[0].run(c, m)
	if err != nil {
		return nil, nil, err
	}
	n := r.apart
	if _, own := m.(nn.Stateful); own {
		r.remember(n)
	}
	if len(nn.StatesOf(m)) > 0 {
		n = max(n, len(r.views))
	}
	if spec := m.Spec(); n > 1 && (len(m.Children()) > 0 || spec.Reduces || spec.Kind.IsHead()) {
		return nil, nil, errors.New("its ranks hold different tensors where all must be alike, and what it returns depends on all of them")
	}
	runs := []run{first}
	for k := 1; k < n; k++ {
		x, err := r.view(k).run(c, m)
		if err != nil {
			return nil, nil, err
		}
		runs = append(runs, x)
	}
	return m, runs, nil
}

// view is that of a rank; what it remembers is that of all unless its copies of
// keys and values have differed.
func (r *replayer) view(rank int) *view {
	if rank < len(r.views) {
		return r.views[rank]
	}
	return &view{replayer: r, rank: rank}
}

// remember keeps, from here on, what each of n ranks stores.
func (r *replayer) remember(n int) {
	for k, before := len(r.views), len(r.views); k < n; k++ {
		v := &view{replayer: r, rank: k, caches: map[int]*nn.Cache{}}
		for request, cache := range r.views[k%before].caches {
			v.caches[request] = cache.Fork()
		}
		v.begin()
		r.views = append(r.views, v)
	}
}

// together gives of each result what every rank holds of it.
func (r *replayer) together(c *il.Call, runs []run) (il.Value, error) {
	if len(runs) == 1 {
		return runs[0].out, nil
	}
	list, ok := runs[0].out.(il.Tuple)
	if !ok {
		return r.compose(c, 0, resultsOf(runs, 0))
	}
	out := make(il.Tuple, len(list))
	for i, v := range list {
		if out[i] = v; list.Tensor(i) == nil {
			continue
		}
		x, err := r.compose(c, i, resultsOf(runs, i))
		if err != nil {
			return nil, err
		}
		out[i] = x
	}
	return out, nil
}

func resultsOf(runs []run, i int) []*tensor.Tensor {
	var out []*tensor.Tensor
	for k := range runs {
		out = append(out, runs[k].result(i))
	}
	return out
}

// compose takes of what each rank has for result i of a call what the rank holds
// of the recorded one.
func (r *replayer) compose(c *il.Call, i int, wholes []*tensor.Tensor) (*tensor.Tensor, error) {
	slot := slotOf(c, il.Outputs, i)
	if slot == nil || len(slot.Tensors) == 0 || len(wholes) == 1 {
		return wholes[0], nil
	}
	return r.part.Ranks.Compose(slot.Tensors[0], wholes)
}
