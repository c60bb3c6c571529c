package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// newDeepseekMLP builds the feed-forward part of layer i: dense, or a mixture.
func newDeepseekMLP(b *builder, i int) nn.Module {
	spec := byEra(b, topology.DeepseekMLP, topology.DeepseekMLP2026)
	if !b.cfg.Deepseek.sparse(i) {
		m := &llamaMLP{}
		m.build(b, "mlp", b.cfg.IntermediateSize, false, spec, topology.DownProj)
		return m
	}
	return newDeepseekMoE(b, spec)
}

// deepseekMoE is vLLM's DeepseekV2MoE. Its experts call the shared ones, and in 2026 the gate,
// multiply and add.
type deepseekMoE struct {
	nn.Base
	gate    *nn.Router
	experts *nn.Experts
	scale   float64 // of the chosen experts' sum
}

func newDeepseekMoE(b *builder, spec *topology.Spec) *deepseekMoE {
	m := &deepseekMoE{scale: b.cfg.Deepseek.RoutedScale}
	b = b.block(&m.Base, "mlp", spec)
	m.gate = b.deepseekGate()
	shared := &llamaMLP{}
	shared.build(b, "shared_experts", b.cfg.Experts.Shared, false, topology.SharedExpert, topology.DownProjPart)
	register(b, shared)
	m.experts = b.fusedMoE("experts", byEra(b, topology.SharedFusedMoE, topology.SharedMoERunner), projNames, b.deepseekRouting(m.gate.Bias))
	m.experts.Like.Routing = b.deepseekRoutingInTransformers(m.gate.Bias)
	if b.options.Era == topology.Era2025 {
		m.experts.Beside = shared
	} else {
		b.runner(m.experts, shared, m.scale)
		m.experts.Gate = m.gate
	}
	routed(m.experts, m, m.gate)
	nn.Give(m.experts, 2, nn.Result(shared, 0).Computed())
	return m
}

// runner makes experts those of 2026, which add the shared ones' result to theirs.
func (b *builder) runner(experts *nn.Experts, shared nn.Module, scale float64) {
	experts.Shared = nn.NewSharedExperts(b.prefix+"experts._shared_experts", shared, b.cfg.HiddenSize)
	experts.Register(experts.Shared)
	if scale != 1 {
		experts.Scale = scale
	}
}

// deepseekGate makes the router.
func (b *builder) deepseekGate() *nn.Router {
	m := b.biasedGate(topology.GateLinear)
	m.Float = b.cfg.Deepseek.FloatRouter && b.options.Era == topology.Era2026 // 2025 does not read moe_router_dtype
	m.LikeFloat = true
	return m
}

// biasedGate is a router, with the bias by which experts are chosen where it has one.
func (b *builder) biasedGate(spec *topology.Spec) *nn.Router {
	c := b.cfg
	var bias *tensor.Tensor
	if c.Deepseek.Method == "noaux_tc" {
		bias = b.weight(b.prefix+"gate.e_score_correction_bias", c.Experts.Num)
	}
	return register(b, nn.NewRouter(b.prefix+"gate", spec, b.linearMethod(b.prefix+"gate", c.Experts.Num, c.HiddenSize), bias))
}

// deepseekRouting chooses as vLLM does.
func (b *builder) deepseekRouting(bias *tensor.Tensor) nn.Routing {
	e, d := &b.cfg.Experts, b.cfg.Deepseek
	groups := nn.Groups{N: d.Groups, Kept: d.TopKGroup}
	if d.Method == "noaux_tc" {
		r := nn.SigmoidTopK{K: e.TopK, Groups: groups, Bias: b.floats(bias), Renormalise: e.Renormalise, Half: true}
		if b.options.Era == topology.Era2026 {
			r.Kernel, r.Half = true, !floatGroups(e.Num, e.TopK, groups)
			r.Recovered = groups.N == 1
		}
		return r
	}
	if b.options.Era == topology.Era2026 && d.Groups <= 1 && d.TopKGroup <= 1 {
		return nn.SoftmaxTopK{K: e.TopK, Renormalise: e.Renormalise}
	}
	return nn.SoftmaxGroupedTopK{K: e.TopK, Groups: groups, Renormalise: e.Renormalise}
}

// floatGroups reports whether the kernel of 2026 has scores in float32: within its limits, or
// for one group (vLLM's grouped_topk_kernels.cu).
func floatGroups(experts, k int, g nn.Groups) bool {
	size := experts / g.N
	return g.N == 1 || experts <= 256 && size <= 32 && g.Kept*size <= 128 && k <= 8
}

// deepseekRoutingInTransformers is that of modeling_deepseek_v2.py and _v3.py: in float32, and
// with the factor in the weights.
func (b *builder) deepseekRoutingInTransformers(bias *tensor.Tensor) nn.Routing {
	e, d := &b.cfg.Experts, b.cfg.Deepseek
	groups := nn.Groups{N: d.Groups, Kept: d.TopKGroup}
	if d.Method == "noaux_tc" {
		return nn.SigmoidTopK{K: e.TopK, Groups: groups, Bias: b.floats(bias), Renormalise: e.Renormalise, Scale: d.RoutedScale}
	}
	return nn.SoftmaxGroupedTopK{K: e.TopK, Groups: groups, Float: true, Scale: d.RoutedScale}
}

// floats are the values of a vector of the checkpoint.
func (b *builder) floats(t *tensor.Tensor) []float64 {
	v := make([]float64, t.Numel())
	if err := t.Float64s(v, 0); err != nil && b.err == nil {
		b.err = err
	}
	return v
}

// Forward maps (T, H) to (T, H).
func (m *deepseekMoE) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	if m.experts.Gate != nil { // 2026
		return nn.One(s.Call(m.experts, hidden))
	}
	logits := nn.One(s.Call(m.gate, hidden)) // (T, E)
	shared, out := nn.Two(s.Call(m.experts, hidden, logits))
	if m.scale != 1 {
		nn.CopyRows(out, s.ScaleRouted(out, m.scale)) // in place, and so over hidden
	}
	nn.CopyRows(out, s.Add(out, shared))
	return out
}

// Inputs are the hidden states.
func (m *deepseekMoE) Inputs() []nn.Input { return m.gate.Inputs() }

// sparse reports whether a layer is a mixture.
func (d *DeepseekConfig) sparse(layer int) bool {
	return layer >= d.FirstDense && layer%d.LayerFreq == 0
}
