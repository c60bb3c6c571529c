package nn

import (
	"slices"

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
	return s.ops.(embeddings).embed(in.Tensor(0), m.Weight)
}

// Inputs are the ids.
func (m *Embedding) Inputs() []Input { return []Input{Ints()} }

// Params is the table.
func (m *Embedding) Params() []Param { return []Param{{"weight", m.Weight}} }

// embeddings are the kernels of Embedding.
type embeddings interface {
	// embed copies rows ids (T,) of table (V, H) into a new (T, H).
	embed(ids, table *tensor.Tensor) *tensor.Tensor
}

var _, _ embeddings = (*ops[float32])(nil), (*ops[float64])(nil)

func (o *ops[F]) embed(ids, table *tensor.Tensor) *tensor.Tensor {
	idx, _ := ids.Ints() // checked against the vocabulary before the step
	h := table.Shape[1]
	out := tensor.New(o.dtype, append(slices.Clone(ids.Shape), h)...)
	row := make([]F, h)
	for i, id := range idx {
		o.weights(row, table, id*h)
		o.store(rowsOf(out).bytes(i), o.dtype, row)
	}
	return out
}
