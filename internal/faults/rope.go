package faults

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

func ropeFaults() []Fault {
	return []Fault{
		{
			Name: "wrong rope theta", What: "theta 500000 (Llama 3) instead of 10000 (Llama 2)",
			Hint:   "rope theta or rope scaling: position 0 is right, the error grows",
			Where:  Place{Module: rope},
			Inject: func(r *Run) { rotary(r).Rope.Theta = 500000 },
		},
		{
			Name: "ignored rope scaling", What: "the frequencies are not scaled for the longer context",
			Hint:  "rope theta or rope scaling",
			Where: Place{Module: rope},
			Needs: func(c *model.Config) bool { return c.Rope.Type != "default" },
			Inject: func(r *Run) {
				rope := &rotary(r).Rope
				rope.Scaling, rope.PositionFactor, rope.MScale = nil, 0, 0
			},
		},
		{
			Name: "interleaved rope", What: "GPT-J's pairs (2j, 2j+1) are turned instead of NeoX's (j, j+D/2)",
			Hint:   "rope style",
			Where:  Place{Module: rope},
			Inject: func(r *Run) { Wrap(r, interleaved) },
		},
		{
			Name: "rope one position late in decode", What: "the rope kernel of decode reads the next row of its table",
			Hint:   "rotation by other angles",
			Where:  Place{Step: 1, Module: rope},
			Inject: lateRope,
		},
		{
			Name: "positions off by one in decode", What: "the model is told the next position",
			Hint:  "counted from another start",
			Where: Place{Step: 1, Module: topology.InLayer(0, "")},
			Inject: func(r *Run) {
				r.Arriving = append(r.Arriving, func(at Place, args il.Tuple) {
					if at.Step > 0 && at.Module == topology.InLayer(0, "") { // one tensor for all layers
						p := args.Tensor(0)
						*p = *next(p)
					}
				})
			},
		},
	}
}

// rotary is the rope of a model.
func rotary(r *Run) *nn.Rotary { return get[*nn.Rotary](r.Model, rope) }

// next is positions plus one.
func next(positions *tensor.Tensor) *tensor.Tensor {
	pos, _ := positions.Ints() // int64, by the engine
	for i := range pos {
		pos[i]++
	}
	return tensor.FromInts(positions.DType, pos, len(pos))
}

// lateRope turns by the next position in decode.
func lateRope(r *Run) {
	Wrap(r, func(s *nn.Step, m *nn.Rotary, in il.Tuple, forward nn.Computation) il.Value {
		if r.At().Step > 0 {
			in = il.Tuple{next(in.Tensor(0)), in[1], in[2]}
		}
		return forward(s, m, in)
	})
}

// interleaved turns neighbours: it sorts each head's pairs as the arithmetic
// has them, and back.
func interleaved(s *nn.Step, m *nn.Rotary, in il.Tuple, forward nn.Computation) il.Value {
	pairs := func(qk il.Tuple, to, from func(j, side int) int) {
		for i := range qk {
			x := qk.Tensor(i)
			old := make([]float64, x.Shape[1])
			edit(x, func(_ int, v []float64) {
				copy(old, v)
				for h := 0; h < len(v); h += m.HeadDim {
					for j := range m.Rope.Dim / 2 {
						v[h+to(j, 0)], v[h+to(j, 1)] = old[h+from(j, 0)], old[h+from(j, 1)]
					}
				}
			})
		}
	}
	halves := func(j, side int) int { return j + side*m.Rope.Dim/2 }
	neighbours := func(j, side int) int { return 2*j + side }
	pairs(in[1:], halves, neighbours)
	out := forward(s, m, in).(il.Tuple)
	pairs(out, neighbours, halves)
	return out
}
