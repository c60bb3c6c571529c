package model

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// vLLM's transformers backend (models/transformers.py, since 2026 models/transformers/): a model of
// transformers with vLLM's linears, norms and embedding in it. See topology's file of that name.

// backendParts are what a family builds of its own.
type backendParts struct {
	rope  func(b *builder) *nn.CosSin
	layer func(b *builder, i int) backendLayer
	seen  bool // the hooks of the model fire, and the root's do not
	float bool // the norms' class in transformers multiplies by the weight in float32
}

// backendLayer is a decoder layer, given hidden states, cosines and sines.
type backendLayer interface {
	nn.Module
	attention() *backendAttention
}

// newBackend builds a model of the backend. Its root's hooks fire unless the class of the
// root is decorated and that of the model is not.
func newBackend(b *builder, parts backendParts) *CausalLM {
	m := &backendModel{}
	in := b.at("model")
	if parts.seen {
		register(b, m)
		in = b.block(&m.Base, "model", topology.BackendModel)
	}
	m.embedTokens = in.backendEmbedding()
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(in, parts.layer(in.at("layers"), i)))
	}
	m.norm = in.rmsNorm("norm", topology.BackendNorm, b.cfg.HiddenSize, false)
	m.norm.Float = parts.float
	m.rotaryEmb = register(in, parts.rope(in))
	m.wire()
	logits := b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))
	logits.Bias = true // the head's, in both eras
	return &CausalLM{model: backendRoot{m, parts.seen}, logits: logits, RootBypassed: parts.seen}
}

// backendRoot calls the model as the backend's root does, with a batch of one.
type backendRoot struct {
	model *backendModel
	seen  bool
}

// Forward implements decoder.
func (r backendRoot) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	ids, at := nn.Batched(inputIDs), nn.Batched(positions)
	if r.seen {
		return nn.Unbatched(nn.One(s.Call(r.model, ids, at)))
	}
	return nn.Unbatched(nn.One(r.model.Forward(s, il.Tuple{ids, at})))
}

// backendModel is a decoder of transformers.
type backendModel struct {
	nn.Base
	embedTokens *nn.Embedding
	layers      []backendLayer
	norm        *nn.RMSNorm
	rotaryEmb   *nn.CosSin
}

// wire says what is given by keyword, where no hook sees it.
func (m *backendModel) wire() {
	nn.Give(m, 0, nn.Argument(m.embedTokens, 0))
	nn.Give(m, 1, nn.Argument(m.rotaryEmb, 1))
	for i := range 2 {
		turns := nn.Result(m.rotaryEmb, i)
		turns.Compute = true
		for _, l := range m.layers {
			nn.Give(l, 1+i, turns)
			nn.Give(l.attention(), 1+i, turns)
		}
	}
}

// Forward maps (input_ids (1, T), positions (1, T)) to (hidden (1, T, H),).
func (m *backendModel) Forward(s *nn.Step, in il.Tuple) il.Value {
	hidden := nn.One(s.Call(m.embedTokens, in[0]))
	cos, sin := nn.Two(s.Call(m.rotaryEmb, hidden, in[1]))
	for _, l := range m.layers {
		hidden = nn.One(s.Call(l, hidden, cos, sin))
	}
	return il.Tuple{nn.One(s.Call(m.norm, hidden))}
}

// Inputs are ids and positions.
func (m *backendModel) Inputs() []nn.Input { return []nn.Input{nn.Ints(), nn.Ints()} }

func (b *builder) backendEmbedding() *nn.Embedding {
	name := b.prefix + "embed_tokens"
	return register(b, &nn.Embedding{Base: nn.NewBase(name, topology.BackendEmbedding), Weight: b.weight(name+".weight", b.cfg.VocabSize, b.cfg.HiddenSize)})
}

// backendAttention is the attention of a layer. vLLM's Attention is no module of it: it keeps
// the keys and values itself, as far as anyone can see.
type backendAttention struct {
	nn.Base
	qkv          []*nn.Linear // one, or three
	oProj        *nn.Linear
	qNorm, kNorm *nn.RMSNorm // nil for none
	rotates      bool
	attn         *nn.Attention
}

// newBackendAttention builds the attention of layer i. full says that queries and keys are
// normalised whole.
func newBackendAttention(b *builder, i int, bias, full, rotates bool) *backendAttention {
	shape := b.attentionShape(i)
	h, q, kv := b.cfg.HiddenSize, shape.Heads*shape.HeadDim, shape.KVHeads*shape.HeadDim
	m := &backendAttention{rotates: rotates}
	b = b.block(&m.Base, "self_attn", topology.BackendAttention)
	m.attn = nn.NewAttention(b.prefix+"attn", shape)
	m.attn.Owner = m
	parts := []rows{{"q_proj", q}, {"k_proj", kv}, {"v_proj", kv}}
	oProj := func() { m.oProj = b.rowParallelLinear("o_proj", topology.BackendOProj, q, h, bias) }
	if b.options.Era == topology.Era2025 {
		for _, p := range parts {
			m.qkv = append(m.qkv, b.rowParallelLinear(p.name, topology.BackendColumn(p.name), h, p.n, bias))
		}
		oProj()
		return m
	}
	oProj()
	if full {
		m.qNorm = b.olmo2RMSNorm("q_norm", topology.BackendQNorm, q)
		m.kNorm = b.olmo2RMSNorm("k_norm", topology.BackendKNorm, kv)
	}
	m.qkv = []*nn.Linear{b.packed("qkv_proj", topology.BackendQKV, h, bias, parts...)}
	return m
}

func (m *backendAttention) attention() *backendAttention { return m }

// Forward maps hidden (1, T, H), cos and sin (1, T, D) to (hidden, None).
func (m *backendAttention) Forward(s *nn.Step, in il.Tuple) il.Value {
	q, k, v := m.project(s, in)
	out := nn.One(m.attn.Forward(s, il.Tuple{nn.Unbatched(q), nn.Unbatched(k), nn.Unbatched(v)})) // (T, Q)
	if len(q.Shape) == 3 {
		out = nn.Batched(out)
	}
	return il.Tuple{nn.One(s.Call(m.oProj, out)), nil}
}

// project makes queries, keys and values, turned where the layer turns them.
func (m *backendAttention) project(s *nn.Step, in il.Tuple) (q, k, v *tensor.Tensor) {
	var made []*tensor.Tensor
	for _, l := range m.qkv {
		made = append(made, nn.One(s.Call(l, in[0])))
	}
	if len(made) == 1 {
		q, kv := m.attn.Heads*m.attn.HeadDim, m.attn.KVHeads*m.attn.HeadDim
		made = nn.Split(made[0], q, kv, kv)
	}
	q, k, v = made[0], made[1], made[2]
	if m.qNorm != nil {
		q, k = nn.One(s.Call(m.qNorm, q)), nn.One(s.Call(m.kNorm, k))
	}
	if m.rotates {
		cos, sin := in.Tensor(1), in.Tensor(2)
		q, k = s.Turned(q, cos, sin, m.attn.HeadDim), s.Turned(k, cos, sin, m.attn.HeadDim)
	}
	return q, k, v
}

// NewState is an empty list of keys and values.
func (m *backendAttention) NewState() nn.State { return m.attn.NewState() }

// Store stores keys and values as Forward does.
func (m *backendAttention) Store(s *nn.Step, in il.Tuple) {
	bare := *s
	bare.Hooks = nn.NoHooks{}
	q, k, v := m.project(&bare, in)
	m.attn.Store(s, il.Tuple{q, nn.Unbatched(k), nn.Unbatched(v)})
}

// Inputs are hidden states, cosines and sines.
func (m *backendAttention) Inputs() []nn.Input {
	turns := nn.Residual(m.attn.HeadDim) // float32 of some
	return []nn.Input{m.qkv[0].Inputs()[0], turns, turns}
}

// backendMLP is the feed-forward part of a layer.
type backendMLP struct {
	nn.Base
	gateProj, upProj *nn.Linear // apart in 2025
	silu             *nn.SiLU
	gateUpProj       *nn.Linear
	actFn            *nn.SiluAndMul
	downProj         *nn.Linear
}

func newBackendMLP(b *builder, bias bool) *backendMLP {
	h, i := b.cfg.HiddenSize, b.cfg.IntermediateSize
	m := &backendMLP{}
	b = b.block(&m.Base, "mlp", topology.BackendMLP)
	down := func() { m.downProj = b.rowParallelLinear("down_proj", topology.BackendDownProj, i, h, bias) }
	if b.options.Era == topology.Era2025 {
		m.gateProj = b.rowParallelLinear("gate_proj", topology.BackendColumn("gate_proj"), h, i, bias)
		m.upProj = b.rowParallelLinear("up_proj", topology.BackendColumn("up_proj"), h, i, bias)
		down()
		m.silu = register(b, nn.NewSiLU(b.prefix+"act_fn", i))
		return m
	}
	down()
	if b.act == nil { // vLLM makes one of a kind in a process (layers/activation.py)
		b.act = &nn.SiluAndMul{Base: nn.NewBase(b.prefix+"act_fn", topology.BackendSiluAndMul), Width: i}
	}
	m.actFn = register(b, b.act)
	m.gateUpProj = b.packed("gate_up_proj", topology.BackendGateUp, h, bias, rows{"gate_proj", i}, rows{"up_proj", i})
	return m
}

// Forward maps (1, T, H) to (1, T, H).
func (m *backendMLP) Forward(s *nn.Step, in il.Tuple) il.Value {
	if m.gateUpProj != nil {
		x := nn.One(s.Call(m.gateUpProj, in[0]))
		return s.Call(m.downProj, s.Call(m.actFn, x))
	}
	gate := nn.One(s.Call(m.silu, s.Call(m.gateProj, in[0])))
	up := nn.One(s.Call(m.upProj, in[0]))
	return s.Call(m.downProj, s.Mul(gate, up))
}

// Inputs are the hidden states.
func (m *backendMLP) Inputs() []nn.Input {
	if m.gateUpProj != nil {
		return m.gateUpProj.Inputs()
	}
	return m.gateProj.Inputs()
}
