package model

import (
	"math"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// deepseekAttention is vLLM's DeepseekV2MLAAttention: it holds the modules of latent
// attention, and mla_attn calls them.
type deepseekAttention struct {
	nn.Base
	mlaAttn *latentAttention
	scaled  []il.Value
}

// latentAttention is vLLM's MultiHeadLatentAttention (MultiHeadLatentAttentionWrapper in
// 2026; layers/mla.py). The modules of queries are those of the attention around it.
type latentAttention struct {
	nn.Base
	fusedQKVA       *nn.Linear // or, without a latent of queries:
	kvAProj, qProj  *nn.Linear
	qANorm, kvANorm *nn.RMSNorm
	qBProj, kvBProj *nn.Linear
	oProj           *nn.Linear
	rotaryEmb       *nn.LatentRotary
	attn            *nn.LatentAttention
	queriesFirst    bool // before the norm of the latents of keys and values: 2025
	qRank           int
	scaled          []il.Value
}

func newDeepseekAttention(b *builder) *deepseekAttention {
	m := &deepseekAttention{scaled: byEra(b, nil, []il.Value{nil})}
	a := &latentAttention{queriesFirst: b.options.Era == topology.Era2025, qRank: b.cfg.Deepseek.QRank, scaled: m.scaled}
	m.mlaAttn = a
	b = b.block(&m.Base, "self_attn", byEra(b, topology.DeepseekAttention, topology.DeepseekAttention2026))
	shape := b.latentShape()
	a.projections(b, shape)
	a.kvANorm = b.rmsNorm("kv_a_layernorm", topology.KVLatentNorm, shape.Latent, false)
	a.kvBProj = b.rowParallelLinear("kv_b_proj", topology.KVBProj, shape.Latent, shape.Heads*(shape.Nope+shape.Value), false)
	a.oProj = b.rowParallelLinear("o_proj", topology.LatentOProj, shape.Heads*shape.Value, b.cfg.HiddenSize, false)
	a.rotaryEmb = b.latentRope("rotary_emb", shape.Heads)
	inner := b.block(&a.Base, "mla_attn", byEra(b, topology.MultiHeadLatentAttention, topology.MultiHeadLatentAttention2026))
	register(b, a)
	a.attn = inner.latentAttention("mla_attn", shape, a.kvBProj)
	a.give(shape)
	positions := nn.Argument(a.rotaryEmb, 0)
	positions.Any = true
	nn.Give(m, 0, positions)
	nn.Give(a, 0, positions)
	return m
}

// projections makes those of the hidden states, and of queries.
func (m *latentAttention) projections(b *builder, s nn.LatentShape) {
	h, q := b.cfg.HiddenSize, s.Heads*(s.Nope+s.Rope)
	if m.qRank == 0 {
		m.kvAProj = b.rowParallelLinear("kv_a_proj_with_mqa", topology.KVAProj, h, s.Latent+s.Rope, false)
		m.qProj = b.rowParallelLinear("q_proj", topology.LatentQProj, h, q, false)
		return
	}
	m.fusedQKVA = b.packed("fused_qkv_a_proj", topology.FusedQKVAProj, h, false, rows{"q_a_proj", m.qRank}, rows{"kv_a_proj_with_mqa", s.Latent + s.Rope})
	m.qANorm = b.rmsNorm("q_a_layernorm", topology.QLatentNorm, m.qRank, false)
	m.qBProj = b.rowParallelLinear("q_b_proj", topology.QBProj, m.qRank, q, false)
}

// latentShape is the shape of a layer's latent attention.
func (b *builder) latentShape() nn.LatentShape {
	d := b.cfg.Deepseek
	return nn.LatentShape{
		Heads: b.cfg.NumAttentionHeads, Nope: d.Nope, Rope: d.Rope, Latent: d.KVRank, Value: d.Value,
		Scale: latentScale(b.cfg),
	}
}

// latentScale is that of q·k: with a scaled rope it has the square of yarn's factor for all
// dimensions.
func latentScale(c *Config) float64 {
	scale := 1 / math.Sqrt(float64(c.Deepseek.Nope+c.Deepseek.Rope))
	if c.Rope.Type == "yarn" {
		m := nn.YarnMScale(c.Rope.Factor, c.Rope.MScaleAllDim)
		scale = float64(scale*m) * m
	}
	return scale
}

// threshold is the most new tokens of a request that decodes. In 2025 all backends of latent
// attention have 1; in 2026 that of an H100, FLASH_ATTN_MLA, has 512 (vLLM's
// v1/attention/backends/mla/flashattn_mla.py).
func (b *builder) threshold() int { return byEra(b, 1, 512) }

func (b *builder) latentAttention(name string, shape nn.LatentShape, kvB *nn.Linear) *nn.LatentAttention {
	spec := byEra(b, topology.LatentAttentionLayer, topology.MLAAttention)
	return register(b, nn.NewLatentAttention(b.prefix+name, spec, shape, kvB, b.threshold()))
}

// latentRope is vLLM's get_rope for the part of a head that is rotated: one object for all
// layers. With a scaling it is computed in torch's operations into new tensors, in all eras;
// in 2026 FlashInfer, where it has a kernel for the dimensions, takes a table in float32 and
// rotates in place (rotary_embedding/deepseek_scaling_rope.py).
func (b *builder) latentRope(name string, heads int) *nn.LatentRotary {
	if b.latentRotary == nil {
		c := b.cfg
		rope := ropeOf(c, b.options)
		if c.Rope.Type == "yarn" {
			rope.MScale = deepseekMScale(c.Rope)
			inPlace := b.options.Era == topology.Era2026 && slices.Contains([]int{64, 128, 256, 512}, rope.Dim)
			rope.OutOfPlace, rope.InTorch, rope.FloatTable = !inPlace, !inPlace, inPlace
		}
		rope.Float = b.arch == "DeepseekV2ForCausalLM" // transformers turns complex numbers in float32
		b.latentRotary = nn.NewLatentRotary(b.prefix+name, topology.LatentRotaryEmbedding, rope, heads)
	}
	return register(b, b.latentRotary)
}

// deepseekMScale is the factor on cosines and sines of deepseek_yarn.
func deepseekMScale(r Rope) float64 {
	mscale := r.MScale
	if mscale == 0 {
		mscale = 1
	}
	return nn.YarnMScale(r.Factor, mscale) / nn.YarnMScale(r.Factor, r.MScaleAllDim) * r.AttnFactor
}

// give says where arguments come from that were not recorded.
func (m *latentAttention) give(s nn.LatentShape) {
	q, latents, lo := m.qBProj, m.fusedQKVA, m.qRank
	if m.qRank == 0 {
		q, latents = m.qProj, m.kvAProj
	}
	queries := nn.Result(q, 0)
	nn.Give(m.rotaryEmb, 1, nn.Made(func(x []*tensor.Tensor) *tensor.Tensor {
		return nn.ByHead(x[0], s.Nope+s.Rope).Narrow(2, s.Nope, s.Nope+s.Rope).Clone()
	}, queries))
	nn.Give(m.rotaryEmb, 2, nn.Made(func(x []*tensor.Tensor) *tensor.Tensor {
		return nn.ByHead(x[0], s.Rope)
	}, nn.Result(latents, 0).Columns(lo+s.Latent, lo+s.Latent+s.Rope)))
	nn.Give(m.kvANorm, 0, nn.Result(latents, 0).Columns(lo, lo+s.Latent))
	nn.Give(m.attn, 0, nn.Made(func(x []*tensor.Tensor) *tensor.Tensor {
		joined := nn.ByHead(x[0], s.Nope+s.Rope)
		nn.CopyRows(joined.Narrow(2, s.Nope, s.Nope+s.Rope), x[1])
		return joined
	}, queries, nn.Result(m.rotaryEmb, 0).Computed()))
	nn.Give(m.attn, 1, nn.Result(m.kvANorm, 0).Computed())
	nn.Give(m.attn, 2, nn.Result(m.rotaryEmb, 1).Computed())
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *deepseekAttention) Forward(s *nn.Step, in il.Tuple) il.Value {
	return nn.One(s.Call(m.mlaAttn, append([]il.Value{in.Tensor(0), in.Tensor(1)}, m.scaled...)...))
}

// Inputs are positions and hidden.
func (m *deepseekAttention) Inputs() []nn.Input { return m.mlaAttn.Inputs() }

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *latentAttention) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	shape := m.attn.LatentShape
	var x *tensor.Tensor // what queries are made of
	var latent *tensor.Tensor
	if m.qRank > 0 {
		lora := nn.Split(nn.One(s.Call(m.fusedQKVA, hidden)), m.qRank, shape.Latent+shape.Rope)
		x, latent = nn.One(s.Call(m.qANorm, lora[0])), lora[1]
	} else {
		x, latent = hidden, nn.One(s.Call(m.kvAProj, hidden))
	}
	parts := nn.Split(latent, shape.Latent, shape.Rope)
	q, kv := m.queries(s, x, parts[0])
	heads := nn.ByHead(q, shape.Nope+shape.Rope)
	turned := heads.Narrow(2, shape.Nope, shape.Nope+shape.Rope)
	qPE, kPE := nn.Two(s.Call(m.rotaryEmb, positions, turned, nn.ByHead(parts[1], shape.Rope)))
	nn.CopyRows(turned, qPE)
	out := nn.One(s.Call(m.attn, heads, kv, kPE)) // (T, nh*Vd)
	return nn.One(s.Call(m.oProj, out))           // (T, H)
}

// queries are those of x, and the normed latents, in the order of the era's calls.
func (m *latentAttention) queries(s *nn.Step, x, latent *tensor.Tensor) (q, kv *tensor.Tensor) {
	project := m.qBProj
	if m.qRank == 0 {
		project = m.qProj
	}
	if m.queriesFirst {
		q = nn.One(s.Call(project, x))
		return q, nn.One(s.Call(m.kvANorm, latent))
	}
	kv = nn.One(s.Call(m.kvANorm, latent))
	return nn.One(s.Call(project, x)), kv
}

// Inputs are positions and hidden.
func (m *latentAttention) Inputs() []nn.Input {
	first := m.fusedQKVA
	if m.qRank == 0 {
		first = m.kvAProj
	}
	return append([]nn.Input{nn.Ints(), first.Inputs()[0]}, fixed(m.scaled)...)
}
