package model

import (
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/model/nn"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// builder makes the modules of a tree: it registers each in the one around it,
// and finds its weights in the checkpoint (the mapping of vLLM's load_weights).
// Its methods have the names of vLLM's classes. The first failure sticks.
type builder struct {
	*building
	prefix string   // of the names, "model.layers.0."
	in     *nn.Base // what modules are registered in
}

// building is what all builders of a tree share.
type building struct {
	c            *Checkpoint
	cfg          *Config
	options      Options
	arch         string // the entry of config.json's "architectures"
	root         nn.Base
	ropes        map[ropeKey]*nn.Rotary
	rope         *nn.Rope         // the config's
	ropeByLayer  bool             // layers with a window may have another; see layerRope
	latentRotary *nn.LatentRotary // of latent attention
	sharedGelu   *nn.GeluAndMul   // one for all layers, where vLLM makes one a process
	act          *nn.SiluAndMul   // likewise
	err          error
}

// ropeKey tells ropes apart, as the key of vLLM's get_rope does.
type ropeKey struct {
	rope                    nn.Rope
	heads, kvHeads, headDim int
}

func newBuilder(c *Checkpoint, o Options, arch string) *builder {
	s := &building{c: c, cfg: c.Config, options: o, arch: arch, ropes: map[ropeKey]*nn.Rotary{}, ropeByLayer: architectures[arch].ropeByLayer}
	return &builder{building: s, in: &s.root}
}

// at is the builder of an attribute that no hook is registered on: what it
// makes is listed where the attribute is.
func (b *builder) at(name string) *builder {
	return &builder{building: b.building, prefix: b.prefix + name + ".", in: b.in}
}

// block begins a module that holds others: it returns the builder of what is
// in it.
func (b *builder) block(m *nn.Base, name string, spec *topology.Spec) *builder {
	*m = nn.NewBase(b.prefix+name, spec)
	return &builder{building: b.building, prefix: b.prefix + name + ".", in: m}
}

// register adds a module to the one that b makes.
func register[M nn.Module](b *builder, m M) M {
	b.in.Register(m)
	return m
}

// refuse keeps the first failure.
func (b *builder) refuse(format string, args ...any) {
	if b.err == nil {
		b.err = fmt.Errorf("%s: "+format, append([]any{b.cfg.File}, args...)...)
	}
}

// checkHeadDim refuses another head_dim than the one that vLLM's class computes.
func (b *builder) checkHeadDim() {
	if c := b.cfg; c.HeadDim*c.NumAttentionHeads != c.HiddenSize {
		b.refuse("head_dim %d: %s takes hidden_size / num_attention_heads, which is %d", c.HeadDim, b.arch, c.HiddenSize/c.NumAttentionHeads)
	}
}

// checkFullAttention refuses windows, which vLLM's class does not read.
func (b *builder) checkFullAttention() {
	for i := range b.cfg.NumHiddenLayers {
		if b.cfg.window(i) > 0 {
			b.refuse("layer %d has a sliding window: %s attends to all positions", i, b.arch)
			return
		}
	}
}

// weight finds a tensor of the checkpoint.
func (b *builder) weight(name string, shape ...int) *tensor.Tensor {
	if b.err == nil {
		t, err := b.c.Weight(name, shape...)
		if err == nil {
			return t
		}
		b.err = err
	}
	return tensor.New(tensor.Float32, slices.Repeat([]int{0}, len(shape))...)
}

func (b *builder) vocabParallelEmbedding(name string) *nn.Embedding {
	return register(b, nn.NewEmbedding(b.prefix+name, b.weight(b.prefix+name+".weight", b.cfg.VocabSize, b.cfg.HiddenSize)))
}

// rmsNorm normalises over the last dimension; a fused one is given the residual
// too.
func (b *builder) rmsNorm(name string, spec *topology.Spec, width int, fused bool) *nn.RMSNorm {
	return register(b, nn.NewRMSNorm(b.prefix+name, spec, b.weight(b.prefix+name+".weight", width), b.cfg.RMSNormEps, fused))
}

// olmo2RMSNorm is a norm whose class in transformers is Olmo2RMSNorm.
func (b *builder) olmo2RMSNorm(name string, spec *topology.Spec, width int) *nn.RMSNorm {
	m := b.rmsNorm(name, spec, width, false)
	m.Float = true
	return m
}

// rows names a checkpoint tensor that is part of a packed one, and its rows.
type rows struct {
	name string
	n    int
}

// qkvParallelLinear packs the projections of the config's heads.
func (b *builder) qkvParallelLinear(name string, bias bool) *nn.Linear {
	q, kv := b.cfg.NumAttentionHeads*b.cfg.HeadDim, b.cfg.NumKeyValueHeads*b.cfg.HeadDim
	return b.packed(name, topology.QKVParallelLinear, b.cfg.HiddenSize, bias, rows{"q_proj", q}, rows{"k_proj", kv}, rows{"v_proj", kv})
}

func (b *builder) mergedColumnParallelLinear(name string, in int, bias bool, parts ...rows) *nn.Linear {
	return b.packed(name, topology.MergedColumnParallelLinear, in, bias, parts...)
}

func (b *builder) rowParallelLinear(name string, spec *topology.Spec, in, out int, bias bool) *nn.Linear {
	return register(b, nn.NewLinear(b.prefix+name, spec, b.part(name, "", out, in, bias)))
}

// packed is a linear over in values whose rows are those of several tensors
// one after another: one tensor of the checkpoint where it holds them packed.
func (b *builder) packed(name string, spec *topology.Spec, in int, bias bool, parts ...rows) *nn.Linear {
	if b.c.Has(b.prefix + name + ".weight") {
		out := 0
		for _, p := range parts {
			out += p.n
		}
		return b.rowParallelLinear(name, spec, in, out, bias)
	}
	// The parts are the module's siblings.
	var list []nn.PackedWeight
	for _, p := range parts {
		list = append(list, b.part(p.name, p.name, p.n, in, bias))
	}
	return register(b, nn.NewLinear(b.prefix+name, spec, list...))
}

// part is a linear's weight (out, in), with its bias (out,) where there is one.
func (b *builder) part(attribute, name string, out, in int, bias bool) nn.PackedWeight {
	p := nn.PackedWeight{Name: name, Weight: b.linearMethod(b.prefix+attribute, out, in)}
	if bias {
		p.Bias = b.weight(b.prefix+attribute+".bias", out)
	}
	return p
}

// linearMethod is a weight (out, in) of the checkpoint in the format that it is
// stored in: vLLM's get_quant_method. All that Checkpoint reads so far is dense.
func (b *builder) linearMethod(name string, out, in int) nn.LinearMethod {
	return nn.Dense{Weight: b.weight(name+".weight", out, in)}
}

// getRope is vLLM's get_rope for the config's rope: the modules that need the
// same one share an object, which has the name of the first.
func (b *builder) getRope(name string) *nn.Rotary {
	return register(b, b.ropeObject(name, *b.configRope()))
}

// ropeObject is the one of a rope, made under this name where it is the first.
func (b *builder) ropeObject(name string, rope nn.Rope) *nn.Rotary {
	shape := b.attentionShape(0)
	key := ropeKey{rope, shape.Heads, shape.KVHeads, shape.HeadDim}
	if b.ropes[key] == nil {
		b.ropes[key] = nn.NewRotary(b.prefix+name, key.rope, shape)
	}
	return b.ropes[key]
}

// configRope is the config's rope, the same for all of the tree.
func (b *builder) configRope() *nn.Rope {
	if b.rope == nil {
		rope := ropeOf(b.cfg, b.options)
		b.rope = &rope
	}
	return b.rope
}

func (b *builder) attention(name string, shape nn.AttentionShape) *nn.Attention {
	return register(b, nn.NewAttention(b.prefix+name, shape))
}

// rotated says that an attention is given what the rope beside it returns.
func rotated(attn *nn.Attention, rope *nn.Rotary) {
	for i := range 2 {
		x := nn.Result(rope, i)
		x.Compute = true
		nn.Give(attn, i, x)
	}
}

// gemmaRMSNorm is rmsNorm of Gemma's class.
func (b *builder) gemmaRMSNorm(name string, spec *topology.Spec, width int, fused bool) *nn.GemmaRMSNorm {
	return register(b, nn.NewGemmaRMSNorm(b.prefix+name, spec, b.weight(b.prefix+name+".weight", width), b.cfg.RMSNormEps, fused))
}

// geluAndMul is one for all layers where its class is shared.
func (b *builder) geluAndMul(name string, spec *topology.Spec, width int) *nn.GeluAndMul {
	if !spec.Shared {
		return register(b, nn.NewGeluAndMul(b.prefix+name, spec, width))
	}
	if b.sharedGelu == nil {
		b.sharedGelu = nn.NewGeluAndMul(b.prefix+name, spec, width)
	}
	return register(b, b.sharedGelu)
}

// layerNorm normalises over the last dimension, with weights of a shape.
func (b *builder) layerNorm(name string, spec *topology.Spec, shape ...int) *nn.LayerNorm {
	return register(b, nn.NewLayerNorm(b.prefix+name, spec, b.weight(b.prefix+name+".weight", shape...), b.cfg.RMSNormEps))
}

// projected says that the rope is given queries and keys, and the attention
// values, as the projection returns them.
func projected(qkv *nn.Linear, rope *nn.Rotary, attn *nn.Attention) {
	q, kv := attn.Heads*attn.HeadDim, attn.KVHeads*attn.HeadDim
	x := nn.Result(qkv, 0)
	nn.Give(rope, 1, x.Columns(0, q))
	nn.Give(rope, 2, x.Columns(q, q+kv))
	nn.Give(attn, 2, x.Columns(q+kv, q+2*kv))
}

// splitQKV views queries (T, Q), keys and values (T, K) in (T, Q+2K).
func splitQKV(qkv *tensor.Tensor, attn *nn.Attention) (q, k, v *tensor.Tensor) {
	x := nn.Split(qkv, attn.Heads*attn.HeadDim, attn.KVHeads*attn.HeadDim, attn.KVHeads*attn.HeadDim)
	return x[0], x[1], x[2]
}

// attentionShape is the shape of a layer's attention.
func (b *builder) attentionShape(layer int) nn.AttentionShape {
	c := b.cfg
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

func (b *builder) siluAndMul(name string, width int) *nn.SiluAndMul {
	return register(b, nn.NewSiluAndMul(b.prefix+name, width))
}

// lmHead is the logits' weight: the checkpoint's own, or the embedding's where
// the config ties them.
func (b *builder) lmHead(embed *nn.Embedding) nn.LinearMethod {
	if b.cfg.TieWordEmbeddings {
		return nn.Dense{Weight: embed.Weight}
	}
	return b.linearMethod("lm_head", b.cfg.VocabSize, b.cfg.HiddenSize)
}

// headClass is the class of a head that is the embedding itself where the two
// are tied, so that there is no lm_head module; in 2026 a tied head is one too.
func (b *builder) headClass() string {
	if b.cfg.TieWordEmbeddings && b.options.Era == topology.Era2025 {
		return "VocabParallelEmbedding"
	}
	return "ParallelLMHead"
}

// logitsProcessor is given a head of a class, the hidden states and, in 2025, no
// bias.
func (b *builder) logitsProcessor(class string, head nn.LinearMethod) *nn.LogitsProcessor {
	m := nn.NewLogitsProcessor("logits_processor", class, head)
	m.Bias = b.options.Era == topology.Era2025
	return register(b, m)
}
