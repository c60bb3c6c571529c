package nn

import (
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/topology"
)

// LogitsProcessor is vLLM's LogitsProcessor. The head it is given is a module,
// of which a hook records the class and the text.
type LogitsProcessor struct {
	Base
	Head   LinearMethod // (V, H)
	Object il.Object    // the head as a hook records it
	Bias   bool         // its caller passes a bias too, which is None

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
	return s.Linear(in.Tensor(1), []PackedWeight{{Weight: m.Head}})
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
