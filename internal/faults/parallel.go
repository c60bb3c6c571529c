package faults

import (
	"errors"
	"sync"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/ref"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Parallel is a run of n tensor-parallel ranks, each of which computes from what it
// holds itself: a fault of one spreads as far as on GPUs. A rank computes the whole
// model, and what it holds of others' heads and columns is never used: o_proj and
// down_proj sum over the ranks, and logits are gathered.
type Parallel struct {
	Ranks int
	// Inject changes the run of a rank; nil for none.
	Inject func(rank int, r *Run)
	// Torn tells calls whose sum over the ranks a rank does not take; nil for none.
	Torn func(rank int, at Place) bool
}

// exchange is where ranks wait for each other and see what all have brought.
type exchange struct {
	mu      sync.Mutex
	arrived *sync.Cond
	brought []*tensor.Tensor // of the round that is not complete
	last    []*tensor.Tensor // of the one before
	n       int
	round   int
}

func newExchange(ranks int) *exchange {
	x := &exchange{n: ranks, brought: make([]*tensor.Tensor, ranks)}
	x.arrived = sync.NewCond(&x.mu)
	return x
}

// all brings a rank's tensor, waits for the others and returns theirs too.
func (x *exchange) all(rank int, t *tensor.Tensor) []*tensor.Tensor {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.brought[rank] = t
	if x.n--; x.n == 0 {
		x.last, x.brought, x.n = x.brought, make([]*tensor.Tensor, len(x.brought)), len(x.brought)
		x.round++
		x.arrived.Broadcast()
		return x.last
	}
	for round := x.round; round == x.round; {
		x.arrived.Wait()
	}
	return x.last
}

// Compute runs all ranks, rank i's run by engine i with hooks i.
func (p *Parallel) Compute(runs []*Run, cfg ref.Config, hooks []*Rank) error {
	x := newExchange(p.Ranks)
	errs := make([]error, p.Ranks)
	var wait sync.WaitGroup
	for i, r := range runs {
		p.wire(i, r, x, hooks[i])
		wait.Go(func() { _, errs[i] = r.Compute(cfg, hooks[i]) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// wire lets a rank's run meet the others. The first rank's part of a sum has the
// bias.
func (p *Parallel) wire(rank int, r *Run, x *exchange, own *Rank) {
	each(r.Model, func(m *nn.Linear) {
		for i := range m.Parts {
			if rank > 0 && m.Spec().Kind == topology.RowLinear {
				m.Parts[i].Bias = nil
			}
		}
	})
	Wrap(r, func(s *nn.Step, m *nn.Linear, in il.Tuple, forward nn.Computation) il.Value {
		if m.Spec().Kind != topology.RowLinear {
			return forward(s, m, in)
		}
		part := first(forward(s, m, il.Tuple{own.alone(in.Tensor(0))}))
		all := x.all(rank, part)
		if p.Torn != nil && p.Torn(rank, r.At()) {
			return il.Tuple{part.Clone(), nil} // the others read what was brought
		}
		return il.Tuple{added(all), nil}
	})
	Wrap(r, func(s *nn.Step, m *nn.LogitsProcessor, in il.Tuple, forward nn.Computation) il.Value {
		return gathered(x.all(rank, first(forward(s, m, in))))
	})
}

// alone is a tensor with zeros in the columns of the other ranks.
func (r *Rank) alone(t *tensor.Tensor) *tensor.Tensor {
	lo, hi := r.own(columnRun{t.Shape[1], r.n})
	return edited(t, func(_ int, v []float64) {
		clear(v[:lo])
		clear(v[hi:])
	})
}

// added is the sum of tensors of one shape, rounded once.
func added(all []*tensor.Tensor) *tensor.Tensor {
	other := make([]float64, all[0].Shape[1])
	return edited(all[0], func(row int, v []float64) {
		for _, t := range all[1:] {
			load(other, t, row)
			for i := range v {
				v[i] += other[i]
			}
		}
	})
}

// gathered takes of each rank's tensor its columns.
func gathered(all []*tensor.Tensor) *tensor.Tensor {
	n, width := len(all), all[0].Shape[1]
	other := make([]float64, width)
	return edited(all[0], func(row int, v []float64) {
		for rank, t := range all {
			load(other, t, row)
			lo, hi := rank*width/n, (rank+1)*width/n
			copy(v[lo:hi], other[lo:hi])
		}
	})
}
