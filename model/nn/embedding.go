package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Embedding is vLLM's VocabParallelEmbedding: rows of a table.
type Embedding struct {
	Base
	Weight *tensor.Tensor // (V, H)
}

// NewEmbedding makes the module of a name.
func NewEmbedding(name string, weight *tensor.Tensor) *Embedding {
	return &Embedding{Base: NewBase(name, topology.VocabParallelEmbedding), Weight: weight}
}

// Forward maps input_ids (T,) int32 to (T, H).
func (m *Embedding) Forward(s *Step, in il.Tuple) il.Value {
	return s.Embed(in.Tensor(0), m.Weight)
}

// Inputs are the ids.
func (m *Embedding) Inputs() []Input { return []Input{Ints()} }

// Params is the table.
func (m *Embedding) Params() []Param { return []Param{{"weight", m.Weight}} }
