package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// newLlama4ForCausalLM builds Llama4ForCausalLM (vLLM's models/llama4.py).
func newLlama4ForCausalLM(b *builder) *CausalLM {
	b.checkLlama4()
	b.llama4Rope()
	m := newLlamaModel(b, func(b *builder, i int) nn.Module {
		var attention *llama4Attention
		layer := newLlamaDecoderLayer(
			b, i,
			func(b *builder) nn.Module { attention = newLlama4Attention(b, i); return attention },
			func(b *builder) nn.Module { return newLlama4FeedForward(b, i) },
		)
		attention.sources(layer)
		return layer
	})
	return &CausalLM{model: m, logits: b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))}
}

// llama4Attention is vLLM's Llama4Attention. Some layers rotate, normalise what they have
// rotated and attend within a chunk; the others do nothing of it, and may temper queries.
type llama4Attention struct {
	nn.Base
	qkNorm      *nn.UnitNorm // nil for none
	qkvProj     *nn.Linear
	oProj       *nn.Linear
	rotaryEmb   *nn.Rotary // nil for none
	attn        *nn.Attention
	temperature *nn.Temperature // nil for none
}

func newLlama4Attention(b *builder, i int) *llama4Attention {
	cfg, shape := b.cfg.Llama4, b.attentionShape(i)
	q, kv := shape.Heads*shape.HeadDim, shape.KVHeads*shape.HeadDim
	rotates := cfg.rotates(i)
	m := &llama4Attention{}
	b = b.block(&m.Base, topology.SelfAttnName, topology.SelfAttention)
	if rotates && cfg.QKNorm {
		m.qkNorm = register(b, nn.NewUnitNorm(b.prefix+"qk_norm", topology.HeadsNorm, shape.HeadDim, b.cfg.RMSNormEps))
	}
	m.qkvProj = b.linearOf("qkv_proj", topology.QKVParallelLinear, b.halved("q_proj", q), b.halved("k_proj", kv), b.part("v_proj", "v_proj", kv, b.cfg.HiddenSize, false))
	m.oProj = b.rowParallelLinear("o_proj", topology.OProj, q, b.cfg.HiddenSize, false)
	if rotates {
		m.rotaryEmb = b.getRope("rotary_emb")
		shape.Chunk = cfg.Chunk
	} else if b.llama4Tempered() {
		m.temperature = &cfg.Temperature
	}
	m.attn = b.attention("attn", shape)
	return m
}

// halved is a projection of heads whose rows vLLM loads in the order of its rope, in
// layers that do not rotate as well.
func (b *builder) halved(name string, out int) nn.PackedWeight {
	return nn.PackedWeight{Name: name, Weight: nn.Halved{Weight: b.weight(b.prefix+name+".weight", out, b.cfg.HiddenSize), HeadDim: b.cfg.HeadDim}}
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *llama4Attention) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	q, k, v := splitQKV(nn.One(s.Call(m.qkvProj, hidden)), m.attn)
	if m.rotaryEmb != nil {
		q, k = nn.Two(s.Call(m.rotaryEmb, positions, q, k))
	}
	if m.qkNorm != nil {
		q, k = m.normed(s, q), m.normed(s, k)
	}
	if m.temperature != nil {
		q = s.Tempered(q, positions, *m.temperature)
	}
	out := nn.One(s.Call(m.attn, q, k, v)) // (T, Q)
	return nn.One(s.Call(m.oProj, out))    // (T, H)
}

// normed normalises each head in float32.
func (m *llama4Attention) normed(s *nn.Step, x *tensor.Tensor) *tensor.Tensor {
	y := nn.One(s.Call(m.qkNorm, s.Float(x, m.attn.HeadDim))) // (T*n, D)
	return s.Half(y, x.Shape[1])
}

// Inputs are positions and hidden.
func (m *llama4Attention) Inputs() []nn.Input {
	return append([]nn.Input{nn.Ints()}, m.qkvProj.Inputs()...)
}

// sources says where what hooks may not have recorded comes from.
func (m *llama4Attention) sources(layer nn.Module) {
	a := m.attn
	q, kv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	x := nn.Result(m.qkvProj, 0)
	x.Compute = true
	queries, keys := x.Columns(0, q), x.Columns(q, q+kv)
	nn.Give(a, 2, x.Columns(q+kv, q+2*kv))
	if m.rotaryEmb != nil {
		positions := nn.Argument(m.rotaryEmb, 0)
		positions.Any = true
		nn.Give(m, 0, positions)
		nn.Give(m.rotaryEmb, 1, queries)
		nn.Give(m.rotaryEmb, 2, keys)
		queries, keys = nn.Result(m.rotaryEmb, 0), nn.Result(m.rotaryEmb, 1)
		queries.Compute, keys.Compute = true, true
	}
	var direct []nn.Source // where no call of the norm is recorded
	switch {
	case m.qkNorm != nil:
		direct = []nn.Source{m.afterNorm(queries), m.afterNorm(keys)}
		queries, keys = m.normSource(queries, 0, q), m.normSource(keys, 1, kv)
	case m.temperature != nil:
		queries.With = []nn.Source{nn.Argument(layer, 0)}
		queries.Made = func(s *nn.Step, x, positions *tensor.Tensor) *tensor.Tensor {
			return s.Tempered(x, positions, *m.temperature)
		}
	}
	nn.Give(a, 0, queries)
	nn.Give(a, 1, keys)
	for i, s := range direct {
		nn.Give(a, i, s)
	}
}

// afterNorm is what the norm makes of what the rope returns.
func (m *llama4Attention) afterNorm(rotated nn.Source) nn.Source {
	rotated.Made = func(s *nn.Step, x, _ *tensor.Tensor) *tensor.Tensor {
		y := m.qkNorm.Forward(s, il.Tuple{s.Float(x, m.attn.HeadDim)})
		return s.Half(nn.One(y), x.Shape[1])
	}
	return rotated
}

// normSource says that a call of the norm is given what the rope returns, and what is made
// of its result.
func (m *llama4Attention) normSource(rotated nn.Source, call, width int) nn.Source {
	if call > 0 {
		m.Register(m.qkNorm) // it is called once more
	}
	rotated.Made = func(s *nn.Step, x, _ *tensor.Tensor) *tensor.Tensor { return s.Float(x, m.attn.HeadDim) }
	nn.Give(m.qkNorm, 0, rotated)
	result := nn.Result(m.qkNorm, 0)
	result.Compute = true
	result.Made = func(s *nn.Step, x, _ *tensor.Tensor) *tensor.Tensor { return s.Half(x, width) }
	return result
}

// newLlama4FeedForward is the feed-forward part of a layer: a mixture, or Llama's MLP of a
// width of its own.
func newLlama4FeedForward(b *builder, i int) nn.Module {
	b.checkMoELayer(i)
	spec := byEra(b, topology.FeedForward, topology.FeedForward2026)
	if b.cfg.Experts.sparse(i) {
		return newLlama4MoE(b, spec)
	}
	m := &llamaMLP{}
	m.build(b, topology.FeedForwardName, b.cfg.Llama4.IntermediateSize, false, spec, topology.DownProj)
	return m
}

// llama4MoE is vLLM's Llama4MoE: one expert a token, and one that all share.
type llama4MoE struct {
	nn.Base
	router       *nn.Linear
	sharedExpert *llamaMLP
	experts      nn.Module
}

func newLlama4MoE(b *builder, spec *topology.Spec) *llama4MoE {
	c := b.cfg
	m := &llama4MoE{sharedExpert: &llamaMLP{}}
	b = b.block(&m.Base, topology.FeedForwardName, spec)
	m.router = b.replicatedLinear("router", topology.GateLinear, c.HiddenSize, c.Experts.Num, false)
	m.sharedExpert.build(b, "shared_expert", c.Experts.Intermediate, false, topology.SharedExpert, topology.DownProjPart)
	register(b, m.sharedExpert)
	experts := nn.NewExperts(b.prefix+"experts", byEra(b, topology.SharedFusedMoE, topology.SharedMoERunner),
		nn.TopKSigmoid{K: c.Experts.TopK}, nn.SiluMul{}, b.llama4Experts("experts")...)
	experts.ScaleInput = true
	experts.Like = nn.TransformersExperts{HalfWeights: true}
	if b.options.Era == topology.Era2025 {
		experts.InPlace = true
		m.experts = register(b, &nn.SharedFusedMoE{Experts: *experts, Layer: m.sharedExpert})
	} else {
		experts.Shared = nn.NewSharedExperts(b.prefix+"experts._shared_experts", m.sharedExpert, c.HiddenSize)
		m.experts = register(b, experts)
		experts.Register(experts.Shared)
	}
	routed(m.experts, m, m.router)
	shared := nn.Result(m.sharedExpert, 0)
	shared.Compute = true
	nn.Give(m.experts, 2, shared)
	return m
}

// llama4Experts finds the experts' weights: three dimensions (E, in, out), or a tensor each.
func (b *builder) llama4Experts(name string) []nn.Expert {
	c, at := b.cfg, b.prefix+name+"."
	if !b.c.Has(at + "gate_up_proj") {
		return b.expertsApart(name, projNames)
	}
	n, h, i := c.Experts.Num, c.HiddenSize, c.Experts.Intermediate
	up, down := b.weight(at+"gate_up_proj", n, h, 2*i), b.weight(at+"down_proj", n, i, h)
	experts := make([]nn.Expert, n)
	for e := range experts {
		if b.err != nil {
			break
		}
		experts[e] = nn.Expert{
			W13: []nn.PackedWeight{{Weight: nn.Transposed{Weight: matrixOf(up, e)}}},
			W2:  nn.PackedWeight{Weight: nn.Transposed{Weight: matrixOf(down, e)}},
		}
	}
	return experts
}

// Forward maps (T, H) to (T, H): of 2025 the experts return two results, and the block
// adds them.
func (m *llama4MoE) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := in.Tensor(0)
	logits := nn.One(s.Call(m.router, hidden)) // (T, E)
	var out il.Value
	if shared, isTuple := m.experts.(*nn.SharedFusedMoE); isTuple {
		a, routed := nn.Two(s.Call(shared, hidden, logits))
		out = s.Add(routed, a)
	} else {
		out = s.Call(m.experts, hidden, logits)
	}
	return nn.One(out)
}

// Inputs are the hidden states.
func (m *llama4MoE) Inputs() []nn.Input { return m.router.Inputs() }
