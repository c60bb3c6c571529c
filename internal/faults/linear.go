package faults

import (
	"math"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

func linearFaults() []Fault {
	const q, k, v = 0, 1, 2 // the parts of qkv_proj
	biased := func(c *model.Config) bool { return c.AttentionBias }
	return []Fault{
		{
			Name: "k and v swapped", What: "layer 1's packed projection holds q, v, k",
			Hint:  "k and v in the other order",
			Where: Place{Module: topology.InLayer(1, topology.QKVProjName)},
			Inject: func(r *Run) {
				p := get[*nn.Linear](r.Model, topology.InLayer(1, topology.QKVProjName)).Parts
				p[k], p[v] = p[v], p[k]
			},
		},
		{
			Name: "gate and up swapped", What: "layer 1's packed projection holds up, gate",
			Hint:  "gate and up in the other order",
			Where: Place{Module: topology.InLayer(1, topology.GateUpProjName)},
			Inject: func(r *Run) {
				p := get[*nn.Linear](r.Model, topology.InLayer(1, topology.GateUpProjName)).Parts
				p[0], p[1] = p[1], p[0]
			},
		},
		{
			Name: "q and k rows permuted", What: "the rows of each head are in GPT-J's order, as in a checkpoint that was not converted",
			Hint:  "permuted rows of the weight|one block of columns",
			Where: Place{Module: topology.InLayer(0, topology.QKVProjName)},
			Inject: func(r *Run) {
				d := r.Model.Config.HeadDim
				for n := range r.Model.Config.NumHiddenLayers {
					for _, i := range []int{q, k} {
						p := &get[*nn.Linear](r.Model, topology.InLayer(n, topology.QKVProjName)).Parts[i]
						p.Weight = nn.Dense{Weight: permuted(dense(p.Weight), func(row int) int { return row/d*d + row%d/2 + row%2*d/2 })}
					}
				}
			},
		},
		{
			Name: "q heads swapped in the weights", What: "the first two query heads of layer 1 have each other's rows",
			Hint:  "heads in another order|one block of columns",
			Where: Place{Module: topology.InLayer(1, topology.QKVProjName)},
			Inject: func(r *Run) {
				p := &get[*nn.Linear](r.Model, topology.InLayer(1, topology.QKVProjName)).Parts[q]
				p.Weight = nn.Dense{Weight: permuted(dense(p.Weight), swapHeads(r.Model.Config.HeadDim))}
			},
		},
		{
			Name: "dropped bias", What: "q, k and v have no bias in any layer",
			Hint:  "a bias that is missing",
			Where: Place{Module: topology.InLayer(0, topology.QKVProjName)}, Needs: biased,
			Inject: func(r *Run) {
				for n := range r.Model.Config.NumHiddenLayers {
					parts := get[*nn.Linear](r.Model, topology.InLayer(n, topology.QKVProjName)).Parts
					for i := range parts {
						parts[i].Bias = nil
					}
				}
			},
		},
		{
			Name: "one linear in 8 bits", What: "layer 1's down_proj has float8_e4m3fn weights, one scale for all",
			Hint:  "a quantized weight",
			Where: Place{Module: topology.InLayer(1, topology.DownProjName)},
			Inject: func(r *Run) {
				p := &get[*nn.Linear](r.Model, topology.InLayer(1, topology.DownProjName)).Parts[0]
				p.Weight = nn.Dense{Weight: quantized(dense(p.Weight))}
			},
		},
		{
			Name: "an update twice", What: "a low-rank update of layer 0's q and v is in the weight twice",
			Hint:  "a low-rank update of the weight",
			Where: Place{Module: topology.InLayer(0, topology.QKVProjName)},
			Inject: func(r *Run) {
				parts := get[*nn.Linear](r.Model, topology.InLayer(0, topology.QKVProjName)).Parts
				for _, i := range []int{q, v} {
					parts[i].Weight = nn.Dense{Weight: updated(dense(parts[i].Weight), 0.2)}
				}
			},
		},
		{
			Name: "a LoRA", What: "layer 1's down_proj has the update of an adapter that was not asked for",
			Hint:  "a low-rank update of the weight",
			Where: Place{Module: topology.InLayer(1, topology.DownProjName)},
			Inject: func(r *Run) {
				p := &get[*nn.Linear](r.Model, topology.InLayer(1, topology.DownProjName)).Parts[0]
				p.Weight = nn.Dense{Weight: updated(dense(p.Weight), 0.3)}
			},
		},
		{
			Name: "block scales permuted", What: "layer 1's gate_up_proj has the scales of the next blocks of 16 rows",
			Hint:  "the scale factors of",
			Where: Place{Module: topology.InLayer(1, topology.GateUpProjName)},
			Inject: func(r *Run) {
				parts := get[*nn.Linear](r.Model, topology.InLayer(1, topology.GateUpProjName)).Parts
				for i := range parts {
					parts[i].Weight = nn.Dense{Weight: otherScales(dense(parts[i].Weight), 16)}
				}
			},
		},
		{
			Name: "gelu for silu", What: "every layer's activation is gelu(gate)·up",
			Hint:   "another activation function: the target's output is gelu",
			Where:  Place{Module: topology.InLayer(0, topology.ActFnName)},
			Inject: func(r *Run) { Wrap(r, gelu) },
		},
		{
			Name: "wrong embedding row", What: "one token of the prompt has the row of the next id",
			Hint:  "a wrong row of the embedding",
			Where: Place{Module: topology.EmbedTokensName},
			Inject: func(r *Run) {
				m := get[*nn.Embedding](r.Model, topology.EmbedTokensName)
				ids := r.Plan.Steps[0].Chunks[0].IDs
				wrong := ids[len(ids)/2]
				m.Weight = permuted(m.Weight, func(row int) int {
					if row == wrong {
						return (row + 1) % m.Weight.Shape[0]
					}
					return row
				})
			},
		},
		{
			Name: "stale lm_head", What: "the head is of an earlier checkpoint: 5 % of noise on its weights",
			Hint:  "the output head",
			Where: Place{Step: 1, Module: topology.LogitsProcessorName}, // of the forward of step 0
			Inject: func(r *Run) {
				each(r.Model, func(m *nn.LogitsProcessor) { m.Head = nn.Dense{Weight: edited(dense(m.Head), noise(0.05))} })
			},
		},
	}
}

// dense is the weight of a model that the suite runs: none is quantised.
func dense(w nn.LinearMethod) *tensor.Tensor { return w.(nn.Dense).Weight }

// swapHeads exchanges the first two runs of d.
func swapHeads(d int) func(i int) int {
	return func(i int) int {
		if i < 2*d {
			return (i + d) % (2 * d)
		}
		return i
	}
}

// updated adds to a weight the product of two random matrices of rank 4, of a
// size in units of the weight's own.
func updated(w *tensor.Tensor, size float64) *tensor.Tensor {
	const rank = 4
	columns := w.Shape[1]
	random := func(n int, multiply func(row int, v []float64)) []float64 {
		out := slices.Repeat([]float64{1}, n)
		multiply(0, out)
		for i := range out {
			out[i]--
		}
		return out
	}
	normal := noise(1)
	b := random(rank*columns, normal)
	square := 0.0
	edited(w, func(_ int, v []float64) {
		for _, x := range v {
			square += float64(x*x) / float64(w.Numel())
		}
	})
	scale := size * math.Sqrt(square/rank)
	return edited(w, func(_ int, v []float64) {
		a := random(rank, normal)
		for i := range v {
			for k := range rank {
				v[i] += scale * a[k] * b[k*columns+i]
			}
		}
	})
}

// otherScales multiplies each (n, n) block of a weight by the scale that
// quantizing gives the block below it, over its own: the largest value's.
func otherScales(w *tensor.Tensor, n int) *tensor.Tensor {
	blocks := (w.Shape[0] + n - 1) / n
	scales := make([]map[int]float64, blocks) // by row and column of blocks
	edited(w, func(row int, v []float64) {
		if row%n == 0 {
			scales[row/n] = map[int]float64{}
		}
		for i, x := range v {
			scales[row/n][i/n] = max(scales[row/n][i/n], math.Abs(x))
		}
	})
	return edited(w, func(row int, v []float64) {
		for i := range v {
			v[i] *= scales[(row/n+1)%blocks][i/n] / scales[row/n][i/n]
		}
	})
}

// quantized rounds a weight to float8_e4m3fn and back, the largest value
// becoming the format's.
func quantized(w *tensor.Tensor) *tensor.Tensor {
	largest := 0.0
	edited(w, func(_ int, v []float64) {
		for _, x := range v {
			largest = max(largest, math.Abs(x))
		}
	})
	scale := largest / maxE4M3
	return edited(w, func(_ int, v []float64) {
		for i, x := range v {
			v[i] = e4m3(x/scale) * scale
		}
	})
}

const maxE4M3 = 448

// e4m3 rounds to the nearest float8_e4m3fn: three bits of fraction, exponents
// from -6 (OCP 8-bit Floating Point Specification 1.0), saturating.
func e4m3(x float64) float64 {
	_, exp := math.Frexp(x)
	place := math.Ldexp(1, max(exp-1, -6)-3)
	return max(-maxE4M3, min(maxE4M3, math.RoundToEven(x/place)*place))
}

// gelu is GeluAndMul (the exact one) with the rounding of SiluAndMul.
func gelu(_ *nn.Step, _ *nn.SiluAndMul, in il.Tuple, _ nn.Computation) il.Value {
	x := in.Tensor(0)
	n := x.Shape[1] / 2
	gate := edited(x.Narrow(1, 0, n), func(_ int, v []float64) {
		for i, a := range v {
			v[i] = a / 2 * math.Erfc(-a/math.Sqrt2)
		}
	})
	factor := make([]float64, n)
	up := x.Narrow(1, n, 2*n)
	return edited(gate, func(row int, v []float64) {
		load(factor, up, row)
		for i := range v {
			v[i] *= factor[i]
		}
	})
}
