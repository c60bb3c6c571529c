package nn

import (
	"fmt"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// CheckInputs reports arguments from elsewhere (a recorded session) that a
// module cannot take: another dtype, rank or width, or rows that do not match.
func CheckInputs(m Module, dtype tensor.DType, in il.Tuple) error {
	rows := -1
	for i, input := range m.Inputs() {
		x := in.Tensor(i)
		if x == nil || input.Fixed {
			continue
		}
		width := input.Width
		want := fmt.Sprintf("%s (T, %d)", dtype, width)
		ok := (x.DType == dtype || input.Wide && isWider(x.DType, dtype)) && len(x.Shape) >= 2 && x.Shape[len(x.Shape)-1] == width
		if input.Ints {
			want = "integers (T,)"
			ok = x.DType.IsInt() && len(x.Shape) == 1+batchOf(m, i, x)
		}
		if !ok {
			return fmt.Errorf("input %d is %s, expected %s", i, x, want)
		}
		n := x.Shape[batchOf(m, i, x)]
		if rows >= 0 && n != rows {
			return fmt.Errorf("input %d has %d rows, another input %d", i, n, rows)
		}
		rows = n
	}
	return nil
}

// isWider reports whether a residual stream may have type x where the modules
// compute in dtype.
func isWider(x, dtype tensor.DType) bool { return x == tensor.Float32 && dtype.Size() == 2 }

// batchOf is how many dimensions stand before that of the tokens in argument i: one of
// 1 where the class has a batch dimension, unless it was taken off.
func batchOf(m Module, i int, x *tensor.Tensor) int {
	shape := m.Spec().In[i].Shape
	if len(shape) > 0 && shape[0] == topology.One && len(x.Shape) == len(shape) && x.Shape[0] == 1 {
		return 1
	}
	return 0
}

// Rows is the number of tokens of a call's arguments.
func Rows(m Module, in il.Tuple) int {
	for i := range min(len(in), len(m.Spec().In)) {
		if x := in.Tensor(i); x != nil {
			return x.Shape[batchOf(m, i, x)]
		}
	}
	return 0
}
