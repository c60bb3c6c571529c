package normalize

import (
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// headDimOf is the width of the heads that a session of transformers shows apart, where it
// normalises what it has rotated (Llama 4); 0 where it shows none.
func headDimOf(hf *il.Session) int {
	for _, st := range hf.Steps {
		for _, c := range st.Calls {
			if topology.LastWord(c.Module) != topology.LastWord(topology.QKNormName) {
				continue
			}
			if shape := slotShape(c.Slot(il.Outputs, "")); len(shape) == 4 {
				return shape[3]
			}
		}
	}
	return 0
}

// halved puts the first of all pairs of each head before the second (vLLM models/llama4.py
// permute_qk_weight_for_rotary), in what a projection (T, n*D) returned.
func halved(t *tensor.Tensor, headDim int) (*tensor.Tensor, error) {
	if len(t.Shape) != 2 || t.Shape[1]%headDim != 0 || headDim%2 != 0 {
		return nil, fmt.Errorf("is %s, expected heads of %d", t, headDim)
	}
	if err := copyable(t); err != nil {
		return nil, err
	}
	from := t.Clone()
	to, size, half := tensor.New(t.DType, t.Shape...), t.DType.Size(), headDim/2
	for i := range t.Numel() {
		j := i % headDim
		at := i - j + j%2*half + j/2
		copy(to.Data[at*size:][:size], from.Data[i*size:])
	}
	return to, nil
}
