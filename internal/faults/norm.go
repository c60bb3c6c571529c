package faults

import (
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

func normFaults() []Fault {
	return []Fault{
		{
			Name: "wrong eps", What: "every RMSNorm has an eps that makes the first one's rows 1e-3 smaller or larger",
			Hint:   "the norm's eps",
			Where:  Place{Module: topology.InLayer(0, topology.InputNormName)},
			Inject: wrongEps,
		},
		{
			Name: "LayerNorm for RMSNorm", What: "every norm takes the mean away first",
			Hint:   "another kind of norm",
			Where:  Place{Module: topology.InLayer(0, topology.InputNormName)},
			Inject: func(r *Run) { Wrap(r, layerNorm) },
		},
		{
			Name: "norm in bfloat16", What: "every norm takes the mean of the squares and its root in bfloat16",
			Hint:   "the type it computes in",
			Where:  Place{Module: topology.InLayer(0, topology.InputNormName)},
			Inject: func(r *Run) { Wrap(r, coarseNorm) },
		},
		{
			Name: "swapped q and k norms", What: "each has the weight of the other, in every layer",
			Hint:  "another norm's weight",
			Where: Place{Module: topology.InLayer(0, topology.QNormName)},
			Needs: func(c *model.Config) bool { return c.Architectures[0] == "Qwen3ForCausalLM" },
			Inject: func(r *Run) {
				for n := range r.Model.Config.NumHiddenLayers {
					q, k := get[*nn.RMSNorm](r.Model, topology.InLayer(n, topology.QNormName)), get[*nn.RMSNorm](r.Model, topology.InLayer(n, topology.KNormName))
					q.Weight, k.Weight = k.Weight, q.Weight
				}
			},
		},
		{
			Name: "dropped residual", What: "the norm after layer 1's attention does not add the residual",
			Hint:  "a residual that is not added",
			Where: Place{Module: topology.InLayer(1, topology.PostAttnNormName)},
			Inject: func(r *Run) {
				Wrap(r, func(s *nn.Step, m *nn.RMSNorm, in il.Tuple, forward nn.Computation) il.Value {
					if m.Name() == topology.InLayer(1, topology.PostAttnNormName) {
						clear(in.Tensor(1).Data)
					}
					return forward(s, m, in)
				})
			},
		},
	}
}

// wrongEps finds the mean square of the first token's embedding, v, and sets
// eps to 2e-3·v: the factor 1/sqrt(v+eps) is then 1e-3 smaller, which is four
// times less than the last place of bfloat16.
func wrongEps(r *Run) {
	id := r.Plan.Steps[0].Chunks[0].IDs[0]
	v := 0.0
	edited(get[*nn.Embedding](r.Model, topology.EmbedTokensName).Weight.Narrow(0, id, id+1), func(_ int, row []float64) {
		for _, x := range row {
			v += float64(x*x) / float64(len(row))
		}
	})
	each(r.Model, func(m *nn.RMSNorm) {
		if m.Spec().Kind == topology.Norm {
			m.Eps = 2e-3 * v
		}
	})
}

// layerNorm is torch.nn.LayerNorm without a bias.
func layerNorm(s *nn.Step, m *nn.RMSNorm, in il.Tuple, forward nn.Computation) il.Value {
	return renormed(s, m, in, forward, func(x *tensor.Tensor) *tensor.Tensor {
		plain := *m
		plain.Fused = false
		return plain.Forward(s, il.Tuple{edited(x, center)}).(*tensor.Tensor)
	})
}

// coarseNorm rounds what a norm computes in float32 to bfloat16.
func coarseNorm(s *nn.Step, m *nn.RMSNorm, in il.Tuple, forward nn.Computation) il.Value {
	w := make([]float64, m.Weight.Numel())
	_ = m.Weight.Float64s(w, 0)
	round := func(v float64) float64 {
		one := tensor.New(tensor.BFloat16, 1)
		tensor.StoreFloat64(one.Data, one.DType, []float64{v})
		var out [1]float64
		tensor.LoadFloat64(out[:], one.DType, one.Data)
		return out[0]
	}
	return renormed(s, m, in, forward, func(x *tensor.Tensor) *tensor.Tensor {
		normed := edited(x, func(_ int, v []float64) {
			squares := 0.0
			for _, a := range v {
				squares += float64(a * a)
			}
			root := round(1 / math.Sqrt(round(squares/float64(len(v)))+m.Eps))
			for i := range v {
				v[i] *= root
			}
		})
		edit(normed, func(_ int, v []float64) {
			for i := range v {
				v[i] *= w[i]
			}
		})
		return normed
	})
}

// renormed is a norm that adds the residual as it should and normalises by f.
func renormed(s *nn.Step, m *nn.RMSNorm, in il.Tuple, forward nn.Computation, f func(x *tensor.Tensor) *tensor.Tensor) il.Value {
	if !m.Fused {
		return f(in.Tensor(0))
	}
	out := forward(s, m, in).(il.Tuple)
	normed := f(out.Tensor(1))
	edit(out.Tensor(0), func(row int, v []float64) { load(v, normed, row) })
	return out
}

func center(_ int, v []float64) {
	mean := 0.0
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for i := range v {
		v[i] -= mean
	}
}

// load reads a row of a matrix.
func load(v []float64, m *tensor.Tensor, row int) {
	_ = m.Narrow(0, row, row+1).Float64s(v, 0) // floating point, by the engine
}
