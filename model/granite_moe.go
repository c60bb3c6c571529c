package model

import (
	"slices"
	"strconv"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// GraniteMoeConfig is what a Granite mixture multiplies by.
type GraniteMoeConfig struct {
	Embedding, Residual float64
	Attention           float64 // the scale of attention, in the place of D^-0.5; 0 for D^-1
	Logits              float64 // logits are divided by it
}

// graniteMoeDialect has transformers' defaults (configuration_granitemoe.py).
var graniteMoeDialect = dialect{
	fields: []string{
		"num_local_experts", "num_experts_per_tok", "output_router_logits", "router_aux_loss_coef",
		"embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling",
	},
	defaults: map[string]string{"num_local_experts": "8", "num_experts_per_tok": "2", "rms_norm_eps": "1e-6"},
	read: func(c *Config, o *object) {
		c.readExperts(o, "num_local_experts", "num_experts_per_tok")
		g := &GraniteMoeConfig{
			Embedding: o.float("embedding_multiplier", 1),
			Residual:  o.float("residual_multiplier", 1),
			Attention: o.above("attention_multiplier", 0, 1),
			Logits:    o.above("logits_scaling", 0, 1),
		}
		if !o.has("attention_multiplier") && slices.Contains(o.keys, "attention_multiplier") {
			g.Attention = 0 // null, of which vLLM makes D^-1
		}
		c.GraniteMoe = g
	},
}

// newGraniteMoeForCausalLM builds GraniteMoeForCausalLM (vLLM's models/granitemoe.py).
func newGraniteMoeForCausalLM(b *builder) *CausalLM {
	b.checkAct("silu")
	b.checkBiases(false, false)
	b.checkHeadDim()
	b.checkFullAttention()
	b.intTheta()
	m := newGraniteMoeModel(b)
	logits := b.logitsProcessor("ParallelLMHead", b.lmHead(m.embedTokens))
	logits.Divisor = b.cfg.GraniteMoe.Logits
	return &CausalLM{model: m, logits: logits}
}

// graniteMoeModel is vLLM's GraniteMoeModel.
type graniteMoeModel struct {
	embedTokens *nn.Embedding
	multiplier  float64 // of the embeddings
	layers      []nn.Module
	norm        *nn.RMSNorm
}

func newGraniteMoeModel(b *builder) *graniteMoeModel {
	b = b.at("model")
	m := &graniteMoeModel{embedTokens: b.vocabParallelEmbedding("embed_tokens"), multiplier: b.cfg.GraniteMoe.Embedding}
	for i := 0; i < b.cfg.NumHiddenLayers && b.err == nil; i++ {
		m.layers = append(m.layers, register(b, newGraniteMoeDecoderLayer(b.at("layers"), i)))
	}
	m.norm = b.rmsNorm("norm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	return m
}

// Forward implements decoder.
func (m *graniteMoeModel) Forward(s *nn.Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := nn.One(s.Call(m.embedTokens, inputIDs)) // (T, H)
	hidden = s.Times(hidden, m.multiplier)
	for _, layer := range m.layers {
		hidden = nn.One(s.Call(layer, positions, hidden))
	}
	return nn.One(s.Call(m.norm, hidden))
}

// graniteMoeDecoderLayer is vLLM's GraniteMoeDecoderLayer: branches are multiplied before
// they are added to the stream.
type graniteMoeDecoderLayer struct {
	nn.Base
	selfAttn               *llamaAttention
	blockSparseMoE         *mixtralMoE
	inputLayerNorm         *nn.RMSNorm
	postAttentionLayerNorm *nn.RMSNorm
	multiplier             float64 // of the branches
}

func newGraniteMoeDecoderLayer(b *builder, i int) *graniteMoeDecoderLayer {
	m := &graniteMoeDecoderLayer{multiplier: b.cfg.GraniteMoe.Residual}
	b = b.block(&m.Base, strconv.Itoa(i), topology.GraniteMoeDecoderLayer)
	m.selfAttn = register(b, newLlamaAttention(b, i, false, false))
	m.selfAttn.attn.Scale = b.cfg.GraniteMoe.Attention
	if m.selfAttn.attn.Scale == 0 {
		m.selfAttn.attn.Scale = 1 / float64(b.cfg.HeadDim)
	}
	m.blockSparseMoE = register(b, newMixtralMoE(b, "router.layer", graniteExperts))
	m.inputLayerNorm = b.rmsNorm("input_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	m.postAttentionLayerNorm = b.rmsNorm("post_attention_layernorm", topology.PlainRMSNorm, b.cfg.HiddenSize, false)
	nn.Give(m.selfAttn, 0, nn.Argument(m, 0))
	nn.Give(m.selfAttn, 1, nn.Result(m.inputLayerNorm, 0))
	return m
}

// graniteExperts has all experts' weights in two tensors. transformers' GraniteMoeMoE
// casts the weights to the model's dtype, and adds up by index_add.
func graniteExperts(b *builder, spec *topology.Spec) *nn.Experts {
	k := b.cfg.Experts.TopK
	m := b.fusedMoE3D("experts", spec, "input_linear.weight", "output_linear.weight", nn.SoftmaxTopK{K: k, Renormalise: true})
	m.Like = nn.TransformersExperts{Routing: nn.TopKSoftmax{K: k}, HalfWeights: true, ByExpert: true}
	return m
}

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *graniteMoeDecoderLayer) Forward(s *nn.Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	x := nn.One(s.Call(m.inputLayerNorm, hidden))
	x = nn.One(s.Call(m.selfAttn, positions, x))
	hidden = s.Add(hidden, s.Times(x, m.multiplier))
	x = nn.One(s.Call(m.postAttentionLayerNorm, hidden))
	x = nn.One(s.Call(m.blockSparseMoE, x))
	return s.Add(hidden, s.Times(x, m.multiplier))
}

// Inputs are positions and hidden.
func (m *graniteMoeDecoderLayer) Inputs() []nn.Input {
	return append([]nn.Input{nn.Ints()}, m.inputLayerNorm.Inputs()...)
}
