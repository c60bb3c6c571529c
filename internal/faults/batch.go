package faults

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/requests"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// batchFaults are wrong for one request of a batch, or choose rows of it.
func batchFaults() []Fault {
	attn := Place{Step: 1, Module: topology.InLayer(0, topology.AttnName)}
	return []Fault{
		{
			Name: "hash collision", What: "request 4 of a batch reads the first cache block of request 5",
			Hint:  "only request 4 of 6 is wrong, at position 3",
			Where: attn, Batch: true,
			Inject: prefilled(func(r *Run, rows map[int]int, k, v *tensor.Tensor) {
				for _, x := range []*tensor.Tensor{k, v} {
					block := make([]float64, x.Shape[1])
					for i := range 3 {
						load(block, x, rows[5]+i)
						row(rows[4]+i, func(v []float64) { copy(v, block) })(r, x)
					}
				}
			}),
		},
		{
			Name: "a wrong merge", What: "the second chunk of request 1 takes what is cached of its first one for empty",
			Hint:  "only request 1 of 6 is wrong",
			Where: attn, Batch: true,
			Inject: prefilled(func(r *Run, rows map[int]int, k, v *tensor.Tensor) {
				for i := rows[1]; i < rows[2]; i++ {
					row(i, func(v []float64) { clear(v) })(r, k)
					row(i, func(v []float64) { clear(v) })(r, v)
				}
			}),
		},
		{
			Name: "logits of wrong rows", What: "logits are computed of the row before the last",
			Hint:   "each the row before the one that belongs",
			Where:  Place{Step: 1, Module: topology.LogitsProcessorName}, // of the forward of step 0
			Inject: rowBefore,
		},
	}
}

// Mixed are the steps of a batch of six: two prompts in two chunks, and four
// short ones, whose first token is decoded beside the second chunks.
func Mixed(vocabulary int) *requests.Plan {
	first, second := []int{8, 12, 7, 5, 3, 6}, []int{12, 10, 1, 1, 1, 1}
	p := &requests.Plan{Steps: []requests.Step{{Number: 0}, {Number: 1}}}
	for q := range first {
		ids := []int{1}
		for i := 1; i < first[q]+second[q]; i++ {
			ids = append(ids, 3+(i*(7+2*q)+q)%(vocabulary-4))
		}
		p.Steps[0].Chunks = append(p.Steps[0].Chunks, requests.Chunk{Request: q, IDs: ids[:first[q]], Sample: true})
		p.Steps[1].Chunks = append(p.Steps[1].Chunks, requests.Chunk{Request: q, Start: first[q], IDs: ids[first[q]:], Sample: true})
	}
	return p
}

// prefilled is a fault of the cache that step 0 fills: edit changes the keys and
// values of that step's rows in place, given where those of each request begin.
func prefilled(edit func(r *Run, rows map[int]int, k, v *tensor.Tensor)) func(*Run) {
	return func(r *Run) {
		rows := map[int]int{}
		n := 0
		for _, c := range r.Plan.Steps[0].Chunks {
			rows[c.Request] = n
			n += len(c.IDs)
		}
		shadowed(func(_ string, k, v *tensor.Tensor) (*tensor.Tensor, *tensor.Tensor) {
			if r.At().Step > 0 {
				return k, v
			}
			k, v = k.Clone(), v.Clone()
			edit(r, rows, k, v)
			return k, v
		})(r)
	}
}

// rowBefore gives the logits of a prompt the row before its last.
func rowBefore(r *Run) {
	var normed *tensor.Tensor
	r.Leaving = append(r.Leaving, func(at Place, out il.Value) {
		if at.Module == topology.FinalNormName {
			normed = first(out).Clone()
		}
	})
	r.Arriving = append(r.Arriving, func(at Place, args il.Tuple) {
		if at.Module == topology.LogitsProcessorName && normed.Shape[0] > 1 {
			n := normed.Shape[0]
			*args.Tensor(1) = *normed.Narrow(0, n-2, n-1).Clone()
		}
	})
}
