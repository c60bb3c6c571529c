package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Attention is vLLM's Attention over the requests' paged keys and values.
type Attention struct {
	Base
	AttentionShape
	ContiguousValues bool // its caller copies the values (GPT-OSS in 2025)
	// Owner keeps its keys and values where vLLM runs it by its forward, without a module that
	// hooks see; nil for itself.
	Owner Stateful
}

// owner is what keeps its keys and values.
func (m *Attention) owner() Stateful {
	if m.Owner != nil {
		return m.Owner
	}
	return m
}

// AttentionShape is what the arithmetic of attention needs to know.
type AttentionShape struct {
	Heads, KVHeads, HeadDim int
	Window                  int     // a query sees its own and Window-1 earlier keys; 0 = all
	Chunk                   int     // a query sees those from the last multiple of it on; 0 = all (Llama 4)
	Scale                   float64 // of q·k, D^-0.5 in the Llama family
	// Softcap c makes of a score s c*tanh(s/c), before the mask; 0 for none (Gemma 2).
	Softcap float64
	// Sinks (nh,) are logits that join the softmax of each query head, unscaled and
	// without a value (GPT-OSS); nil for none.
	Sinks *tensor.Tensor
}

// first is the first key that a query at a position sees.
func (a *AttentionShape) first(pos int) int {
	first := 0
	if a.Window > 0 {
		first = max(0, pos-a.Window+1)
	}
	if a.Chunk > 0 {
		first = max(first, pos/a.Chunk*a.Chunk)
	}
	return first
}

// NewAttention makes the module of a name.
func NewAttention(name string, shape AttentionShape) *Attention {
	return &Attention{Base: NewBase(name, topology.PagedAttention), AttentionShape: shape}
}

// Forward stores k and v (T, nkv*D) in the requests' caches and maps q
// (T, nh*D) to (T, nh*D). Rows of no request give zeros.
func (m *Attention) Forward(s *Step, in il.Tuple) il.Value {
	m.Store(s, in)
	return m.Attend(s, in.Tensor(0))
}

// Attend maps q (T, nh*D) to (T, nh*D) over what is stored, the rows' own keys
// and values being the last of it.
func (m *Attention) Attend(s *Step, q *tensor.Tensor) *tensor.Tensor {
	spans := make([]attended, len(s.Spans))
	for i, span := range s.Spans {
		spans[i] = attended{span, span.Cache.State(m.owner()).(*KeysAndValues)}
	}
	return s.ops.(attentions).attend(q, m.AttentionShape, spans)
}

// NewState is an empty list of keys and values.
func (m *Attention) NewState() State { return &KeysAndValues{} }

// Store stores k and v as Forward does, and computes nothing.
func (m *Attention) Store(s *Step, in il.Tuple) {
	k, v := in.Tensor(1), in.Tensor(2)
	for _, span := range s.Spans {
		span.Cache.State(m.owner()).(*KeysAndValues).append(k.Narrow(0, span.Lo, span.Hi), v.Narrow(0, span.Lo, span.Hi))
	}
}

// Inputs are q, k and v.
func (m *Attention) Inputs() []Input {
	return []Input{Hidden(m.Heads * m.HeadDim), Hidden(m.KVHeads * m.HeadDim), Hidden(m.KVHeads * m.HeadDim)}
}

// Params are the sinks, where it has some.
func (m *Attention) Params() []Param {
	if m.Sinks == nil {
		return nil
	}
	return []Param{{"sinks", m.Sinks}}
}

// attentions are the kernels of Attention.
type attentions interface {
	// attend maps queries (T, nh*D) to a new (T, nh*D) over keys and values
	// that already hold the rows of the spans.
	attend(q *tensor.Tensor, shape AttentionShape, spans []attended) *tensor.Tensor
}

var _, _ attentions = (*ops[float32])(nil), (*ops[float64])(nil)

// attended is the rows of one request and the keys and values they look at.
type attended struct {
	Span
	keys *KeysAndValues
}
