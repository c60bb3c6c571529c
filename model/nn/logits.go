package nn

import (
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// LogitsProcessor is vLLM's LogitsProcessor. The head it is given is a module,
// of which a hook records the class and the text.
type LogitsProcessor struct {
	Base
	Head   LinearMethod // (V, H)
	Object il.Object    // the head as a hook records it
	Bias   bool         // its caller passes a bias too, which is None

	// Divisor is what the logits are divided by, after they have been rounded (logits_scaling).
	// 1, or 0, is none.
	Divisor float64
	// Factor is what they are multiplied by then (logit_scale). 1, or 0, is none.
	Factor float64

	// Softcap c makes of them c*tanh(logits/c) (final_logit_softcapping); 0 for none.
	Softcap float64

	alike alikeRows // of the head
}

// NewLogitsProcessor makes the module. Class is that of the head:
// ParallelLMHead, or VocabParallelEmbedding where the head is the embedding
// (vLLM v0.10.2, vocab_parallel_embedding.py extra_repr).
func NewLogitsProcessor(name, class string, head LinearMethod) *LogitsProcessor {
	v, h := head.Shape()
	padded := (v + 63) / 64 * 64
	return &LogitsProcessor{
		Base: NewBase(name, topology.LogitsProcessor),
		Head: head,
		Object: il.Object{Type: class, Repr: fmt.Sprintf(
			"%s(num_embeddings=%d, embedding_dim=%d, org_vocab_size=%d, num_embeddings_padded=%d, tp_size=1)", class, v, h, v, padded)},
	}
}

// Forward maps (lm_head, hidden (N, H), None) to logits (N, V).
func (m *LogitsProcessor) Forward(s *Step, in il.Tuple) il.Value {
	logits := s.Linear(in.Tensor(1), []PackedWeight{{Weight: m.Head}})
	if m.Divisor != 0 && m.Divisor != 1 {
		logits = s.ops.(divisions).divide(logits, m.Divisor)
	}
	if m.Factor != 0 && m.Factor != 1 {
		logits = s.Times(logits, m.Factor)
	}
	if m.Softcap > 0 {
		s.ops.(divisions).cap(logits, m.Softcap)
	}
	return logits
}

// Inputs are the head, which is a module, the hidden states and, of some callers, None.
func (m *LogitsProcessor) Inputs() []Input {
	_, h := m.Head.Shape()
	in := []Input{Fixed(m.Object), Hidden(h), Fixed(nil)}
	if !m.Bias {
		in = in[:2]
	}
	return in
}

// divisions are the kernels of scaled logits.
type divisions interface {
	divide(x *tensor.Tensor, divisor float64) *tensor.Tensor
	cap(x *tensor.Tensor, c float64)
}

var _, _ divisions = (*ops[float32])(nil), (*ops[float64])(nil)

// divide is r(x / divisor), as the profile divides.
func (o *ops[F]) divide(x *tensor.Tensor, divisor float64) *tensor.Tensor {
	rows := rowsOf(x)
	v := make([]F, rows.width)
	for i := range rows.n {
		o.load(v, o.dtype, rows.bytes(i))
		o.quotient(v, divisor)
		o.store(rows.bytes(i), o.dtype, v)
	}
	return x
}

// cap is c*tanh(x/c) in place, in three operations that each round (vLLM
// logits_processor.py).
func (o *ops[F]) cap(x *tensor.Tensor, c float64) {
	rows := rowsOf(x)
	v := make([]F, rows.width)
	for i := range rows.n {
		o.load(v, o.dtype, rows.bytes(i))
		o.quotient(v, c)
		o.round(v)
		tanh(v)
		o.round(v)
		kernel.Scale(v, F(c))
		o.store(rows.bytes(i), o.dtype, v)
	}
}

// byReciprocal is vLLM's, whose LogitsProcessor is given 1/logits_scaling as a factor.
func byReciprocal[F real](v []F, divisor float64) { kernel.Scale(v, F(1/divisor)) }

// byDivision is transformers' (models/granitemoe/modeling_granitemoe.py).
func byDivision[F real](v []F, divisor float64) {
	for i := range v {
		v[i] /= F(divisor)
	}
}
