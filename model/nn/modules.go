package nn

import (
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Embedding is vLLM's VocabParallelEmbedding: rows of a table.
type Embedding struct {
	name
	Weight *tensor.Tensor // (V, H)
}

// NewEmbedding makes the module of a name.
func NewEmbedding(n string, weight *tensor.Tensor) *Embedding {
	return &Embedding{name: name(n), Weight: weight}
}

// Forward maps input_ids (T,) int32 to (T, H).
func (m *Embedding) Forward(s *Step, in il.Tuple) il.Value {
	return s.Embed(in.Tensor(0), m.Weight)
}

// Inputs are the ids.
func (m *Embedding) Inputs() []Input { return []Input{{Vector: true}} }

// Linear is vLLM's QKVParallelLinear, MergedColumnParallelLinear and
// RowParallelLinear: y = x Wᵀ + b, the weight being the rows of several
// checkpoint tensors one after another.
type Linear struct {
	name
	Parts []Part
}

// Part is one checkpoint tensor of a packed linear.
type Part struct {
	Weight *tensor.Tensor // (out, in)
	Bias   *tensor.Tensor // (out,) or nil
}

// NewLinear makes the module of a name.
func NewLinear(n string, parts ...Part) *Linear { return &Linear{name: name(n), Parts: parts} }

// Forward maps (T, in) to the tuple ((T, sum of out), None).
func (m *Linear) Forward(s *Step, in il.Tuple) il.Value {
	return il.Tuple{s.Linear(in.Tensor(0), m.Parts), nil}
}

// Inputs are the activations.
func (m *Linear) Inputs() []Input { return hidden(m.Parts[0].Weight.Shape[1]) }

// RMSNorm is vLLM's RMSNorm.
type RMSNorm struct {
	name
	Weight *tensor.Tensor // (H,)
	Eps    float64
	Fused  bool // it takes the residual too
}

// NewRMSNorm makes the module of a name.
func NewRMSNorm(n string, weight *tensor.Tensor, eps float64, fused bool) *RMSNorm {
	return &RMSNorm{name: name(n), Weight: weight, Eps: eps, Fused: fused}
}

// Forward maps x (…, H) to a new tensor of its shape. With a residual (T, H)
// it is vLLM's fused_add_rms_norm, in place: residual += x, x = norm(residual),
// and returns both.
func (m *RMSNorm) Forward(s *Step, in il.Tuple) il.Value {
	x := in.Tensor(0)
	if !m.Fused {
		return s.RMSNorm(x, m.Weight, m.Eps)
	}
	residual := in.Tensor(1)
	s.AddRMSNorm(x, residual, m.Weight, m.Eps)
	return il.Tuple{x, residual}
}

// Inputs are x and, where it is fused, the residual.
func (m *RMSNorm) Inputs() []Input {
	if m.Fused {
		return hidden(m.Weight.Shape[0], m.Weight.Shape[0])
	}
	return hidden(m.Weight.Shape[0])
}

// Rotary is vLLM's RotaryEmbedding, one object for all layers.
type Rotary struct {
	name
	AttentionShape
	Rope Rope
}

// NewRotary makes the module of a name.
func NewRotary(n string, rope Rope, shape AttentionShape) *Rotary {
	return &Rotary{name: name(n), AttentionShape: shape, Rope: rope}
}

// Forward rotates q (T, nh*D) and k (T, nkv*D) by positions (T,) int64, in
// place unless the rope says otherwise, and returns both.
func (m *Rotary) Forward(s *Step, in il.Tuple) il.Value {
	positions, q, k := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if m.Rope.OutOfPlace {
		q, k = q.Clone(), k.Clone()
	}
	s.Rotate(m.Rope, m.HeadDim, positions, q, k)
	return il.Tuple{q, k}
}

// Inputs are positions, q and k.
func (m *Rotary) Inputs() []Input {
	return []Input{{Vector: true}, {Width: m.Heads * m.HeadDim}, {Width: m.KVHeads * m.HeadDim}}
}

// Attention is vLLM's Attention over the requests' paged keys and values.
type Attention struct {
	name
	AttentionShape
	Layer int // index into the cache
}

// AttentionShape is what the arithmetic of attention needs to know.
type AttentionShape struct {
	Heads, KVHeads, HeadDim int
	Window                  int     // a query sees its own and Window-1 earlier keys; 0 = all
	Scale                   float64 // of q·k, D^-0.5 in the Llama family
}

// NewAttention makes the module of a name.
func NewAttention(n string, layer int, shape AttentionShape) *Attention {
	return &Attention{name: name(n), AttentionShape: shape, Layer: layer}
}

// Forward stores k and v (T, nkv*D) in the requests' caches and maps q
// (T, nh*D) to (T, nh*D). Rows of no request give zeros.
func (m *Attention) Forward(s *Step, in il.Tuple) il.Value {
	m.Store(s, in)
	return s.Attend(in.Tensor(0), m.Layer, m.AttentionShape, s.Spans)
}

// Store stores k and v as Forward does, and computes nothing.
func (m *Attention) Store(s *Step, in il.Tuple) {
	k, v := in.Tensor(1), in.Tensor(2)
	for _, span := range s.Spans {
		span.Cache.append(m.Layer, k.Narrow(0, span.Lo, span.Hi), v.Narrow(0, span.Lo, span.Hi))
	}
}

// Inputs are q, k and v.
func (m *Attention) Inputs() []Input {
	return hidden(m.Heads*m.HeadDim, m.KVHeads*m.HeadDim, m.KVHeads*m.HeadDim)
}

// Holds returns the module itself.
func (m *Attention) Holds() *Attention { return m }

// SiluAndMul is vLLM's SiluAndMul.
type SiluAndMul struct {
	name
	Width int // I
}

// NewSiluAndMul makes the module of a name.
func NewSiluAndMul(n string, width int) *SiluAndMul { return &SiluAndMul{name(n), width} }

// Forward maps [gate | up] (T, 2I) to silu(gate)*up (T, I).
func (m *SiluAndMul) Forward(s *Step, in il.Tuple) il.Value { return s.SiluAndMul(in.Tensor(0)) }

// Inputs are gate and up, one after the other.
func (m *SiluAndMul) Inputs() []Input { return hidden(2 * m.Width) }

// LogitsProcessor is vLLM's LogitsProcessor. The head it is given is a module,
// of which a hook records the class and the text.
type LogitsProcessor struct {
	name
	Head *tensor.Tensor // (V, H)
}

// NewLogitsProcessor makes the module.
func NewLogitsProcessor(head *tensor.Tensor) *LogitsProcessor {
	return &LogitsProcessor{name: "logits_processor", Head: head}
}

// Forward maps (lm_head, hidden (N, H), None) to logits (N, V).
func (m *LogitsProcessor) Forward(s *Step, in il.Tuple) il.Value {
	return s.Linear(in.Tensor(1), []Part{{Weight: m.Head}})
}

// Inputs are the head, which is a module, the hidden states and None.
func (m *LogitsProcessor) Inputs() []Input {
	return []Input{{Absent: true}, {Width: m.Head.Shape[1]}, {Absent: true}}
}

// HeadObject is the lm_head module as a hook records it: class is
// ParallelLMHead, or VocabParallelEmbedding where the head is the embedding
// (vLLM v0.10.2, vocab_parallel_embedding.py extra_repr).
func HeadObject(class string, head *tensor.Tensor) il.Object {
	v, h := head.Shape[0], head.Shape[1]
	padded := (v + 63) / 64 * 64
	return il.Object{Type: class, Repr: fmt.Sprintf(
		"%s(num_embeddings=%d, embedding_dim=%d, org_vocab_size=%d, num_embeddings_padded=%d, tp_size=1)", class, v, h, v, padded)}
}
