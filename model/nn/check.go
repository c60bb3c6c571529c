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

// isWider reports whether a residual stream may have type x where the modules
// compute in dtype.
func isWider(x, dtype tensor.DType) bool { return x == tensor.Float32 && dtype.Size() == 2 }
