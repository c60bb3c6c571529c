package model

import (
	"fmt"
	"math"
	"strings"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// decoder says how an architecture of the Llama family differs from Llama.
type decoder struct {
	qkvBias, oBias, mlpBias bool
	qkNorm                  bool // RMSNorm over each head of q and k
	tiedHead                bool // tied embeddings leave no lm_head module
}

// build makes the tree of LlamaForCausalLM, and of the architectures that
// differ from it by what d says, under vLLM's names, from the checkpoint's
// tensors (the mapping of vLLM's load_weights).
func (d decoder) build(c *Checkpoint, o Options) (*CausalLM, error) {
	cfg := c.Config
	if cfg.HiddenAct != "silu" {
		return nil, fmt.Errorf("%s: hidden_act %q is not supported: expected \"silu\"", cfg.File, cfg.HiddenAct)
	}
	if cfg.MLPBias && !d.mlpBias {
		return nil, fmt.Errorf("%s: mlp_bias is true, but %s has no such biases", cfg.File, cfg.Architectures[0])
	}
	if cfg.AttentionBias && !d.oBias {
		return nil, fmt.Errorf("%s: attention_bias is true, but %s has no bias in o_proj", cfg.File, cfg.Architectures[0])
	}
	w := &weights{c: c}
	embed := w.get("model.embed_tokens.weight", cfg.VocabSize, cfg.HiddenSize)
	m := &CausalLM{Model: &nn.DecoderModel{EmbedTokens: nn.NewEmbedding("model.embed_tokens", embed)}}
	rotary := nn.NewRotary("model.layers.0.self_attn.rotary_emb", ropeOf(cfg, o), cfg.attention(0))
	for i := range cfg.NumHiddenLayers {
		m.Model.Layers = append(m.Model.Layers, d.layer(w, cfg, i, rotary))
	}
	m.Model.Norm = nn.NewRMSNorm("model.norm", w.get("model.norm.weight", cfg.HiddenSize), cfg.RMSNormEps, true)
	head := embed
	if !cfg.TieWordEmbeddings {
		head = w.get("lm_head.weight", cfg.VocabSize, cfg.HiddenSize)
	}
	if w.err != nil {
		return nil, w.err
	}
	m.logits = nn.NewLogitsProcessor(head)
	m.head = nn.HeadObject("ParallelLMHead", head)
	if cfg.TieWordEmbeddings && d.tiedHead {
		m.head = nn.HeadObject("VocabParallelEmbedding", head)
	}
	return m, nil
}

func (d decoder) layer(w *weights, cfg *Config, i int, rotary *nn.Rotary) *nn.DecoderLayer {
	n := fmt.Sprintf("model.layers.%d", i)
	h, q, kv := cfg.HiddenSize, cfg.NumAttentionHeads*cfg.HeadDim, cfg.NumKeyValueHeads*cfg.HeadDim
	norm := func(name string, width int, fused bool) *nn.RMSNorm {
		return nn.NewRMSNorm(name, w.get(name+".weight", width), cfg.RMSNormEps, fused)
	}
	attn := nn.NewSelfAttention(n + ".self_attn")
	attn.QKVProj = w.packed(n+".self_attn.qkv_proj", h, d.qkvBias, rows{"q_proj", q}, rows{"k_proj", kv}, rows{"v_proj", kv})
	if d.qkNorm {
		attn.QNorm = norm(n+".self_attn.q_norm", cfg.HeadDim, false)
		attn.KNorm = norm(n+".self_attn.k_norm", cfg.HeadDim, false)
	}
	attn.RotaryEmb = rotary
	attn.Attn = nn.NewAttention(n+".self_attn.attn", i, cfg.attention(i))
	attn.OProj = nn.NewLinear(n+".self_attn.o_proj", w.part(n+".self_attn.o_proj", h, q, d.oBias))

	mlp := nn.NewMLP(n + ".mlp")
	mlp.GateUpProj = w.packed(n+".mlp.gate_up_proj", h, d.mlpBias, rows{"gate_proj", cfg.IntermediateSize}, rows{"up_proj", cfg.IntermediateSize})
	mlp.ActFn = nn.NewSiluAndMul(n+".mlp.act_fn", cfg.IntermediateSize)
	mlp.DownProj = nn.NewLinear(n+".mlp.down_proj", w.part(n+".mlp.down_proj", h, cfg.IntermediateSize, d.mlpBias))

	layer := nn.NewDecoderLayer(n)
	layer.InputLayerNorm = norm(n+".input_layernorm", h, i > 0)
	layer.SelfAttn = attn
	layer.PostAttentionLayerNorm = norm(n+".post_attention_layernorm", h, true)
	layer.MLP = mlp
	return layer
}

// weights finds the checkpoint's tensors; the first failure sticks.
type weights struct {
	c   *Checkpoint
	err error
}

func (w *weights) get(name string, shape ...int) *tensor.Tensor {
	if w.err != nil {
		return nil
	}
	t, err := w.c.Weight(name, shape...)
	w.err = err
	return t
}

// part is a linear's weight (out, in), with its bias (out,) where there is one.
func (w *weights) part(name string, out, in int, bias bool) nn.Part {
	p := nn.Part{Weight: w.get(name+".weight", out, in)}
	if bias {
		p.Bias = w.get(name+".bias", out)
	}
	return p
}

// rows names a checkpoint tensor that is part of a packed one, and its rows.
type rows struct {
	name string
	n    int
}

// packed is a linear over in values whose rows are those of several tensors
// one after another: one tensor of the checkpoint where it holds them packed.
func (w *weights) packed(name string, in int, bias bool, parts ...rows) *nn.Linear {
	if w.c.Has(name + ".weight") {
		out := 0
		for _, p := range parts {
			out += p.n
		}
		return nn.NewLinear(name, w.part(name, out, in, bias))
	}
	parent := name[:strings.LastIndexByte(name, '.')+1]
	var list []nn.Part
	for _, p := range parts {
		list = append(list, w.part(parent+p.name, p.n, in, bias))
	}
	return nn.NewLinear(name, list...)
}

// attention is the shape of a layer's attention.
func (c *Config) attention(layer int) nn.AttentionShape {
	return nn.AttentionShape{
		Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		Window: c.window(layer), Scale: 1 / math.Sqrt(float64(c.HeadDim)),
	}
}

// window returns how many positions a layer's attention sees, 0 for all.
func (c *Config) window(layer int) int {
	switch {
	case c.LayerTypes != nil && c.LayerTypes[layer] != "sliding_attention":
		return 0
	case c.LayerTypes == nil && (!c.UseSlidingWindow || layer < c.MaxWindowLayers):
		return 0
	}
	return c.SlidingWindow
}
