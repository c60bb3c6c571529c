package faults

import (
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/topology"
)

// rankFaults are of one of several tensor-parallel ranks.
func rankFaults() []Fault {
	return []Fault{
		{
			Name: "a rank with another's key heads", What: "four ranks, two key heads: rank 1 of every layer has the second head, which belongs to ranks 2 and 3",
			Hint:     "rank cuda:1 holds the key and value heads that belong to rank cuda:3",
			Where:    Place{Module: topology.InLayer(0, topology.QKVProjName)},
			Needs:    func(c *model.Config) bool { return c.NumKeyValueHeads == 2 && c.NumAttentionHeads%4 == 0 },
			Parallel: &Parallel{Ranks: 4, Inject: only(1, keyHead(0, 1))},
		},
		{
			Name: "a torn all-reduce", What: "two ranks: in decode rank 1 goes on with its part of the sum of layer 1's o_proj",
			Hint:  "rank cuda:1 holds what looks like its partial sum, recorded before or without the all-reduce",
			Where: Place{Step: 1, Module: topology.InLayer(1, topology.OProjName)},
			Parallel: &Parallel{Ranks: 2, Torn: func(rank int, at Place) bool {
				return rank == 1 && at == Place{Step: 1, Module: topology.InLayer(1, topology.OProjName)}
			}},
		},
		{
			Name: "no all-reduce", What: "two ranks: in decode neither takes the sum of layer 1's o_proj",
			Hint:  "the partial sum of each rank, recorded before or without the all-reduce",
			Where: Place{Step: 1, Module: topology.InLayer(1, topology.OProjName)},
			Parallel: &Parallel{Ranks: 2, Torn: func(_ int, at Place) bool {
				return at == Place{Step: 1, Module: topology.InLayer(1, topology.OProjName)}
			}},
		},
	}
}

// only changes the run of one rank.
func only(rank int, f func(*Run)) func(int, *Run) {
	return func(i int, r *Run) {
		if i == rank {
			f(r)
		}
	}
}

// keyHead puts the rows of key and value head from in the place of those of head
// to, in every layer.
func keyHead(to, from int) func(*Run) {
	return func(r *Run) {
		d := r.Model.Config.HeadDim
		for n := range r.Model.Config.NumHiddenLayers {
			parts := get[*nn.Linear](r.Model, topology.InLayer(n, topology.QKVProjName)).Parts
			for i := range parts[1:] {
				p, row := &parts[1+i], func(row int) int {
					if row/d == to {
						return from*d + row%d
					}
					return row
				}
				p.Weight = nn.Dense{Weight: permuted(dense(p.Weight), row)}
				if p.Bias != nil {
					p.Bias = permuted(p.Bias, row)
				}
			}
		}
	}
}
