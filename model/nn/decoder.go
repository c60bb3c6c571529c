package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// DecoderModel is vLLM's LlamaModel: embedding, layers, final norm. Its own
// hooks never fire (vLLM replaces its __call__), so it is no Module.
type DecoderModel struct {
	EmbedTokens *Embedding
	Layers      []*DecoderLayer
	Norm        *RMSNorm
}

// Forward maps input_ids (T,) int32 and positions (T,) int64 to hidden states
// (T, H).
func (m *DecoderModel) Forward(s *Step, inputIDs, positions *tensor.Tensor) *tensor.Tensor {
	hidden := one(s.Call(m.EmbedTokens, inputIDs)) // (T, H)
	var residual il.Value                          // None before the first layer
	for _, layer := range m.Layers {
		hidden, residual = two(s.Call(layer, positions, hidden, residual))
	}
	hidden, _ = two(s.Call(m.Norm, hidden, residual))
	return hidden
}

// Modules returns the modules that are called, in the order in which PyTorch's
// named_modules lists them.
func (m *DecoderModel) Modules() []Module {
	l := []Module{m.EmbedTokens}
	for _, layer := range m.Layers {
		l = append(l, layer)
	}
	return Named(append(l, m.Norm)...)
}

// Named returns modules and all that is inside them, parents first, as PyTorch's
// named_modules does: an object that is registered twice is listed at the first.
func Named(modules ...Module) []Module {
	var list []Module
	seen := map[Module]bool{}
	var walk func([]Module)
	walk = func(modules []Module) {
		for _, m := range modules {
			if !seen[m] {
				seen[m] = true
				list = append(list, m)
				walk(m.Children())
			}
		}
	}
	walk(modules)
	return list
}

// DecoderLayer is vLLM's LlamaDecoderLayer.
type DecoderLayer struct {
	name
	InputLayerNorm         *RMSNorm
	SelfAttn               *SelfAttention
	PostAttentionLayerNorm *RMSNorm
	MLP                    *MLP
}

// NewDecoderLayer makes the module of a name; its children are set by the
// caller.
func NewDecoderLayer(n string) *DecoderLayer { return &DecoderLayer{name: name(n)} }

// Forward maps (positions (T,), hidden (T, H), residual (T, H) or None) to
// (hidden, residual).
func (m *DecoderLayer) Forward(s *Step, in il.Tuple) il.Value {
	positions, hidden, residual := in.Tensor(0), in.Tensor(1), in.Tensor(2)
	if residual == nil {
		residual = hidden
		hidden = one(s.Call(m.InputLayerNorm, hidden))
	} else {
		hidden, residual = two(s.Call(m.InputLayerNorm, hidden, residual))
	}
	hidden = one(s.CallKwargs(m.SelfAttn, positions, hidden))
	hidden, residual = two(s.Call(m.PostAttentionLayerNorm, hidden, residual))
	hidden = one(s.Call(m.MLP, hidden))
	return il.Tuple{hidden, residual}
}

// Inputs are positions, hidden and residual, which is None before the first
// layer.
func (m *DecoderLayer) Inputs() []Input {
	h := m.MLP.Inputs()[0]
	residual := h
	if !m.InputLayerNorm.Fused {
		residual = Input{Absent: true}
	}
	return []Input{{Vector: true}, h, residual}
}

// Children are in the order of vLLM's LlamaDecoderLayer.
func (m *DecoderLayer) Children() []Module {
	return []Module{m.SelfAttn, m.MLP, m.InputLayerNorm, m.PostAttentionLayerNorm}
}

// Holds returns the layer's attention.
func (m *DecoderLayer) Holds() *Attention { return m.SelfAttn.Attn }

// SelfAttention is vLLM's LlamaAttention.
type SelfAttention struct {
	name
	QKVProj      *Linear
	QNorm, KNorm *RMSNorm // over each head of q and k (Qwen3), or nil
	RotaryEmb    *Rotary
	Attn         *Attention
	OProj        *Linear
}

// NewSelfAttention makes the module of a name; its children are set by the
// caller.
func NewSelfAttention(n string) *SelfAttention { return &SelfAttention{name: name(n)} }

// Forward maps positions (T,) and hidden (T, H) to (T, H).
func (m *SelfAttention) Forward(s *Step, in il.Tuple) il.Value {
	positions, hidden := in.Tensor(0), in.Tensor(1)
	qSize, kvSize := m.Attn.Heads*m.Attn.HeadDim, m.Attn.KVHeads*m.Attn.HeadDim
	qkv := one(s.Call(m.QKVProj, hidden)) // (T, Q+2K)
	q := qkv.Narrow(1, 0, qSize)
	k := qkv.Narrow(1, qSize, qSize+kvSize)
	v := qkv.Narrow(1, qSize+kvSize, qSize+2*kvSize)
	if m.QNorm != nil {
		q = flatten(one(s.Call(m.QNorm, byHead(q, m.Attn.HeadDim))))
		k = flatten(one(s.Call(m.KNorm, byHead(k, m.Attn.HeadDim))))
	}
	q, k = two(s.Call(m.RotaryEmb, positions, q, k))
	out := one(s.Call(m.Attn, q, k, v)) // (T, Q)
	return one(s.Call(m.OProj, out))    // (T, H)
}

// Inputs are positions and hidden.
func (m *SelfAttention) Inputs() []Input {
	return append([]Input{{Vector: true}}, m.QKVProj.Inputs()...)
}

// Children are in the order of vLLM's LlamaAttention and Qwen3Attention.
func (m *SelfAttention) Children() []Module {
	l := []Module{m.QKVProj, m.OProj, m.RotaryEmb, m.Attn}
	if m.QNorm != nil {
		l = append(l, m.QNorm, m.KNorm)
	}
	return l
}

// Holds returns its attention.
func (m *SelfAttention) Holds() *Attention { return m.Attn }

// ByKeyword is true: vLLM's decoder layer names the arguments.
func (m *SelfAttention) ByKeyword() bool { return true }

// byHead views (T, n*D) as (T, n, D).
func byHead(x *tensor.Tensor, headDim int) *tensor.Tensor {
	v := *x
	v.Shape = []int{x.Shape[0], x.Shape[1] / headDim, headDim}
	v.Stride = []int{x.Stride[0], headDim, 1}
	return &v
}

// flatten views a contiguous (T, n, D) as (T, n*D).
func flatten(x *tensor.Tensor) *tensor.Tensor {
	v := *x
	v.Shape = []int{x.Shape[0], x.Shape[1] * x.Shape[2]}
	v.Stride = tensor.ContiguousStride(v.Shape)
	return &v
}

// MLP is vLLM's LlamaMLP.
type MLP struct {
	name
	GateUpProj *Linear
	ActFn      *SiluAndMul
	DownProj   *Linear
}

// NewMLP makes the module of a name; its children are set by the caller.
func NewMLP(n string) *MLP { return &MLP{name: name(n)} }

// Forward maps (T, H) to (T, H).
func (m *MLP) Forward(s *Step, in il.Tuple) il.Value {
	x := one(s.Call(m.GateUpProj, in.Tensor(0))) // (T, 2I)
	x = one(s.Call(m.ActFn, x))                  // (T, I)
	return one(s.Call(m.DownProj, x))            // (T, H)
}

// Inputs are the hidden states.
func (m *MLP) Inputs() []Input { return m.GateUpProj.Inputs() }

// Children are in the order of vLLM's LlamaMLP.
func (m *MLP) Children() []Module { return []Module{m.GateUpProj, m.DownProj, m.ActFn} }
