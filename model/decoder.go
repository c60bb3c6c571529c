package model

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
)

// decoder says how an architecture of the Llama family differs from Llama.
type decoder struct {
	qkvBias, oBias, mlpBias bool
}

// build makes the tree of LlamaForCausalLM, and of the architectures that
// differ from it by what d says, under vLLM's names, from the checkpoint's
// tensors (the mapping of vLLM's load_weights).
func (d decoder) build(c *Checkpoint) (*CausalLM, error) {
	cfg := c.Config
	rope, err := ropeOf(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.HiddenAct != "silu" {
		return nil, fmt.Errorf("%s: hidden_act %q is not supported: expected \"silu\"", cfg.File, cfg.HiddenAct)
	}
	w := &weights{c: c}
	embed := w.get("model.embed_tokens.weight", cfg.VocabSize, cfg.HiddenSize)
	m := &CausalLM{Model: &nn.DecoderModel{EmbedTokens: nn.NewEmbedding("model.embed_tokens", embed)}}
	rotary := nn.NewRotary("model.layers.0.self_attn.rotary_emb", rope, cfg.HeadDim)
	for i := range cfg.NumHiddenLayers {
		m.Model.Layers = append(m.Model.Layers, d.layer(w, cfg, i, rotary))
	}
	m.Model.Norm = nn.NewRMSNorm("model.norm", w.get("model.norm.weight", cfg.HiddenSize), cfg.RMSNormEps)
	head := embed
	if !cfg.TieWordEmbeddings {
		head = w.get("lm_head.weight", cfg.VocabSize, cfg.HiddenSize)
	}
	if w.err != nil {
		return nil, w.err
	}
	m.logits = nn.NewLogitsProcessor(head)
	m.head = nn.HeadObject("ParallelLMHead", head)
	return m, nil
}

func (d decoder) layer(w *weights, cfg *Config, i int, rotary *nn.Rotary) *nn.DecoderLayer {
	n := fmt.Sprintf("model.layers.%d", i)
	h, q, kv := cfg.HiddenSize, cfg.NumAttentionHeads*cfg.HeadDim, cfg.NumKeyValueHeads*cfg.HeadDim
	norm := func(name string) *nn.RMSNorm {
		return nn.NewRMSNorm(name, w.get(name+".weight", h), cfg.RMSNormEps)
	}
	attn := nn.NewSelfAttention(n + ".self_attn")
	attn.QKVProj = nn.NewLinear(n+".self_attn.qkv_proj",
		w.part(n+".self_attn.q_proj", q, h, d.qkvBias),
		w.part(n+".self_attn.k_proj", kv, h, d.qkvBias),
		w.part(n+".self_attn.v_proj", kv, h, d.qkvBias))
	attn.RotaryEmb = rotary
	attn.Attn = nn.NewAttention(n+".self_attn.attn", i, nn.AttentionShape{
		Heads: cfg.NumAttentionHeads, KVHeads: cfg.NumKeyValueHeads, HeadDim: cfg.HeadDim, Scale: 1 / math.Sqrt(float64(cfg.HeadDim)),
	})
	attn.OProj = nn.NewLinear(n+".self_attn.o_proj", w.part(n+".self_attn.o_proj", h, q, d.oBias))

	mlp := nn.NewMLP(n + ".mlp")
	mlp.GateUpProj = nn.NewLinear(n+".mlp.gate_up_proj",
		w.part(n+".mlp.gate_proj", cfg.IntermediateSize, h, d.mlpBias),
		w.part(n+".mlp.up_proj", cfg.IntermediateSize, h, d.mlpBias))
	mlp.ActFn = nn.NewSiluAndMul(n + ".mlp.act_fn")
	mlp.DownProj = nn.NewLinear(n+".mlp.down_proj", w.part(n+".mlp.down_proj", h, cfg.IntermediateSize, d.mlpBias))

	layer := nn.NewDecoderLayer(n)
	layer.InputLayerNorm = norm(n + ".input_layernorm")
	layer.SelfAttn = attn
	layer.PostAttentionLayerNorm = norm(n + ".post_attention_layernorm")
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
