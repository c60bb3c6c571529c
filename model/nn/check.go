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
		if x == nil || input.Absent {
			continue
		}
		width := input.Width
		want := fmt.Sprintf("%s (T, %d)", dtype, width)
		ok := x.DType == dtype && len(x.Shape) >= 2 && x.Shape[len(x.Shape)-1] == width
		if input.Vector {
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

// Input describes an argument of a module.
type Input struct {
	Width  int  // last dimension of a tensor of activations
	Vector bool // integers (T,) instead
	Absent bool // None, or a module
}

// hidden describes activations (T, width), one input for each width.
func hidden(widths ...int) []Input {
	in := make([]Input, len(widths))
	for i, w := range widths {
		in[i] = Input{Width: w}
	}
	return in
}
