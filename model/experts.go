package model

import (
	"slices"
	"strconv"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// ExpertsConfig is what config.json says of a mixture of experts.
type ExpertsConfig struct {
	Num          int   // experts of a layer; 0 where none has any
	TopK         int   // experts of a token
	Intermediate int   // width of an expert
	Shared       int   // width of the expert that all tokens go through; 0 for none
	Renormalise  bool  // the weights of a token's experts add up to one
	Step         int   // every so many layers one has experts
	Dense        []int // layers that have none
}

// readExperts reads the numbers of experts under a family's names.
func (c *Config) readExperts(o *object, num, topK string) {
	c.Experts = ExpertsConfig{Num: o.natural(num, 0), TopK: o.positive(topK, 0), Intermediate: c.IntermediateSize, Step: 1}
	if c.Experts.Num > 0 && c.Experts.TopK > c.Experts.Num {
		o.failKey(topK, "is %d, but there are only %d experts", c.Experts.TopK, c.Experts.Num)
	}
}

// sparse reports whether a layer has experts.
func (e *ExpertsConfig) sparse(layer int) bool {
	return e.Num > 0 && (layer+1)%e.Step == 0 && !slices.Contains(e.Dense, layer)
}

// expertNames are the names of an expert's weights in the checkpoint.
type expertNames struct{ gate, up, down string }

// The names: Mixtral's, and those of Qwen and its kin.
var (
	wNames    = expertNames{"w1", "w3", "w2"}
	projNames = expertNames{"gate_proj", "up_proj", "down_proj"}
)

// fusedMoE makes the experts of a mixture, each of whose weights are tensors of their
// own in the checkpoint: experts.0.w1.weight (vLLM's make_expert_params_mapping).
func (b *builder) fusedMoE(name string, spec *topology.Spec, names expertNames, routing nn.Routing) *nn.Experts {
	h, intermediate := b.cfg.HiddenSize, b.cfg.Experts.Intermediate
	experts := make([]nn.Expert, b.cfg.Experts.Num)
	for e := range experts {
		at := name + "." + strconv.Itoa(e) + "."
		experts[e].W13 = []nn.PackedWeight{
			b.part(at+names.gate, names.gate, intermediate, h, false),
			b.part(at+names.up, names.up, intermediate, h, false),
		}
		experts[e].W2 = b.part(at+names.down, names.down, h, intermediate, false)
	}
	return b.mixture(name, spec, routing, experts)
}

// fusedMoE3D makes the experts of a mixture whose weights are two tensors of three
// dimensions, (E, 2I, H) and (E, H, I), gate before up.
func (b *builder) fusedMoE3D(name string, spec *topology.Spec, w13, w2 string, routing nn.Routing) *nn.Experts {
	h, n, intermediate := b.cfg.HiddenSize, b.cfg.Experts.Num, b.cfg.Experts.Intermediate
	first, second := b.weight(b.prefix+w13, n, 2*intermediate, h), b.weight(b.prefix+w2, n, h, intermediate)
	experts := make([]nn.Expert, n)
	for e := range experts {
		if b.err != nil {
			break
		}
		experts[e] = nn.Expert{
			W13: []nn.PackedWeight{{Weight: nn.Dense{Weight: matrixOf(first, e)}}},
			W2:  nn.PackedWeight{Weight: nn.Dense{Weight: matrixOf(second, e)}},
		}
	}
	return b.mixture(name, spec, routing, experts)
}

// matrixOf views matrix i of a tensor of three dimensions.
func matrixOf(t *tensor.Tensor, i int) *tensor.Tensor {
	m := t.Narrow(0, i, i+1)
	m.Shape, m.Stride = m.Shape[1:], m.Stride[1:]
	return m
}

// mixture registers experts whose activation is silu. Those of 2025 write over what
// they are given.
func (b *builder) mixture(name string, spec *topology.Spec, routing nn.Routing, experts []nn.Expert) *nn.Experts {
	m := nn.NewExperts(b.prefix+name, spec, routing, nn.SiluMul{}, experts...)
	m.InPlace = b.options.Era == topology.Era2025
	return register(b, m)
}

// replicatedLinear is a linear that every rank has whole.
func (b *builder) replicatedLinear(name string, spec *topology.Spec, in, out int, bias bool) *nn.Linear {
	return b.rowParallelLinear(name, spec, in, out, bias)
}

// byEra is what vLLM has in the era of the options.
func byEra[V any](b *builder, of2025, of2026 V) V {
	if b.options.Era == topology.Era2025 {
		return of2025
	}
	return of2026
}
