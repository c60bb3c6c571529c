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
			Inject: func(r *Run) { r.Wrap(func(n nn.Numerics) nn.Numerics { return interleaved{n} }) },
		},
		{
			Name: "rope one position late in decode", What: "the rope kernel of decode reads the next row of its table",
			Hint:   "rotation by other angles",
			Where:  Place{Step: 1, Module: rope},
			Inject: func(r *Run) { r.Wrap(func(n nn.Numerics) nn.Numerics { return lateRope{n, r} }) },
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
func rotary(r *Run) *nn.Rotary { return r.Model.Model.Layers[0].SelfAttn.RotaryEmb }

// next is positions plus one.
func next(positions *tensor.Tensor) *tensor.Tensor {
	pos, _ := positions.Ints() // int64, by the engine
	for i := range pos {
		pos[i]++
	}
	return tensor.FromInts(positions.DType, pos, len(pos))
}

// lateRope turns by the next position in decode.
type lateRope struct {
	nn.Numerics
	*Run
}

func (l lateRope) Rotate(rope nn.Rope, headDim int, positions, q, k *tensor.Tensor) {
	if l.At().Step > 0 {
		positions = next(positions)
	}
	l.Numerics.Rotate(rope, headDim, positions, q, k)
}

// interleaved turns neighbours: it sorts each head's pairs as the arithmetic
// has them, and back.
type interleaved struct{ nn.Numerics }

func (n interleaved) Rotate(rope nn.Rope, headDim int, positions, q, k *tensor.Tensor) {
	pairs := func(to, from func(j, side int) int) {
		for _, x := range []*tensor.Tensor{q, k} {
			old := make([]float64, x.Shape[1])
			edit(x, func(_ int, v []float64) {
				copy(old, v)
				for h := 0; h < len(v); h += headDim {
					for j := range rope.Dim / 2 {
						v[h+to(j, 0)], v[h+to(j, 1)] = old[h+from(j, 0)], old[h+from(j, 1)]
					}
				}
			})
		}
	}
	halves := func(j, side int) int { return j + side*rope.Dim/2 }
	neighbours := func(j, side int) int { return 2*j + side }
	pairs(halves, neighbours)
	n.Numerics.Rotate(rope, headDim, positions, q, k)
	pairs(neighbours, halves)
}
