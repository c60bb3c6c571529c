package faults

import (
	"math"

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
			Inject: func(r *Run) { r.Wrap(func(n nn.Numerics) nn.Numerics { return layerNorm{n} }) },
		},
		{
			Name: "norm in bfloat16", What: "every norm takes the mean of the squares and its root in bfloat16",
			Hint:   "the type it computes in",
			Where:  Place{Module: topology.InLayer(0, topology.InputNormName)},
			Inject: func(r *Run) { r.Wrap(func(n nn.Numerics) nn.Numerics { return coarseNorm{n} }) },
		},
		{
			Name: "swapped q and k norms", What: "each has the weight of the other, in every layer",
			Hint:  "another norm's weight",
			Where: Place{Module: topology.InLayer(0, topology.QNormName)},
			Needs: func(c *model.Config) bool { return c.Architectures[0] == "Qwen3ForCausalLM" },
			Inject: func(r *Run) {
				for _, l := range r.Model.Model.Layers {
					q, k := l.SelfAttn.QNorm, l.SelfAttn.KNorm
					q.Weight, k.Weight = k.Weight, q.Weight
				}
			},
		},
		{
			Name: "dropped residual", What: "the norm after layer 1's attention does not add the residual",
			Hint:  "a residual that is not added",
			Where: Place{Module: topology.InLayer(1, topology.PostAttnNormName)},
			Inject: func(r *Run) {
				r.Wrap(func(n nn.Numerics) nn.Numerics {
					return noResidual{n, r, topology.InLayer(1, topology.PostAttnNormName)}
				})
			},
		},
	}
}

// wrongEps finds the mean square of the first token's embedding, v, and sets
// eps to 2e-3·v: the factor 1/sqrt(v+eps) is then 1e-3 smaller, which is four
// times less than the last place of bfloat16.
func wrongEps(r *Run) {
	m := r.Model.Model
	id := r.Plan.Steps[0].Chunks[0].IDs[0]
	v := 0.0
	edited(m.EmbedTokens.Weight.Narrow(0, id, id+1), func(_ int, row []float64) {
		for _, x := range row {
			v += float64(x*x) / float64(len(row))
		}
	})
	for _, l := range m.Layers {
		l.InputLayerNorm.Eps, l.PostAttentionLayerNorm.Eps = 2e-3*v, 2e-3*v
	}
	m.Norm.Eps = 2e-3 * v
}

// layerNorm is torch.nn.LayerNorm without a bias.
type layerNorm struct{ nn.Numerics }

func (n layerNorm) RMSNorm(x, weight *tensor.Tensor, eps float64) *tensor.Tensor {
	return n.Numerics.RMSNorm(edited(x, center), weight, eps)
}

func (n layerNorm) AddRMSNorm(x, residual, weight *tensor.Tensor, eps float64) {
	addNorm(n, n.Numerics, x, residual, weight, eps)
}

// addNorm is AddRMSNorm with the sum of right and the norm of n.
func addNorm(n, right nn.Numerics, x, residual, weight *tensor.Tensor, eps float64) {
	right.AddRMSNorm(x, residual, weight, eps)
	normed := n.RMSNorm(residual, weight, eps)
	edit(x, func(row int, v []float64) { load(v, normed, row) })
}

// coarseNorm rounds what a norm computes in float32 to bfloat16.
type coarseNorm struct{ nn.Numerics }

func (n coarseNorm) RMSNorm(x, weight *tensor.Tensor, eps float64) *tensor.Tensor {
	w := make([]float64, weight.Numel())
	_ = weight.Float64s(w, 0)
	round := func(v float64) float64 {
		one := tensor.New(tensor.BFloat16, 1)
		tensor.StoreFloat64(one.Data, one.DType, []float64{v})
		var out [1]float64
		tensor.LoadFloat64(out[:], one.DType, one.Data)
		return out[0]
	}
	normed := edited(x, func(_ int, v []float64) {
		squares := 0.0
		for _, a := range v {
			squares += float64(a * a)
		}
		root := round(1 / math.Sqrt(round(squares/float64(len(v)))+eps))
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
}

func (n coarseNorm) AddRMSNorm(x, residual, weight *tensor.Tensor, eps float64) {
	addNorm(n, n.Numerics, x, residual, weight, eps)
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

// noResidual forgets the residual in one module.
type noResidual struct {
	nn.Numerics
	*Run
	module string
}

func (n noResidual) AddRMSNorm(x, residual, weight *tensor.Tensor, eps float64) {
	if n.At().Module == n.module {
		clear(residual.Data)
	}
	n.Numerics.AddRMSNorm(x, residual, weight, eps)
}
