package nn

import (
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// CheckInputs reports arguments from elsewhere (a recorded session) that a
// module cannot take: another dtype, rank or width, or rows that do not match.
func CheckInputs(m Module, dtype tensor.DType, in il.Tuple) error {
	rows := -1
	for i, width := range widths(m) {
		x := in.Tensor(i)
		if x == nil { // None, or a module
			continue
		}
		want := fmt.Sprintf("%s (T, %d)", dtype, width)
		ok := x.DType == dtype && len(x.Shape) >= 2 && x.Shape[len(x.Shape)-1] == width
		if width == vector {
			want = "integers (T,)"
			ok = x.DType.IsInt() && len(x.Shape) == 1
		}
		if !ok {
			return fmt.Errorf("input %d is %s, expected %s", i, x, want)
		}
		if rows >= 0 && x.Shape[0] != rows {
			return fmt.Errorf("input %d has %d rows, another input %d", i, x.Shape[0], rows)
		}
		rows = x.Shape[0]
	}
	return nil
}

// vector is the width of an argument that is a vector of integers.
const vector = -1

// widths returns the last dimension of each argument of a module.
func widths(m Module) []int {
	switch m := m.(type) {
	case *Embedding:
		return []int{vector}
	case *Linear:
		return []int{m.Parts[0].Weight.Shape[1]}
	case *RMSNorm:
		if m.Fused {
			return []int{m.Weight.Shape[0], m.Weight.Shape[0]}
		}
		return []int{m.Weight.Shape[0]}
	case *Rotary:
		return []int{vector, m.Heads * m.HeadDim, m.KVHeads * m.HeadDim}
	case *Attention:
		return []int{m.Heads * m.HeadDim, m.KVHeads * m.HeadDim, m.KVHeads * m.HeadDim}
	case *SiluAndMul:
		return []int{2 * m.Width}
	case *LogitsProcessor:
		return []int{0, m.Head.Shape[1], 0}
	case *SelfAttention:
		return []int{vector, m.QKVProj.Parts[0].Weight.Shape[1]}
	case *MLP:
		return widths(m.GateUpProj)
	case *DecoderLayer:
		h := m.MLP.GateUpProj.Parts[0].Weight.Shape[1]
		if !m.InputLayerNorm.Fused { // the first layer's residual is None
			return []int{vector, h, 0}
		}
		return []int{vector, h, h}
	}
	return nil
}

// Args returns how many arguments hooks see of a module.
func Args(m Module) int {
	if _, ok := m.(*SelfAttention); ok {
		return 0 // keyword arguments only
	}
	return len(widths(m))
}
