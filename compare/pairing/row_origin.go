package pairing

import (
	"fmt"
	"slices"
	"strings"
)

// RowOrigin is which rows of an output made before are the rows of a tensor, by
// the bits: logits are computed of the last row of each request, and their input
// is a selection of what the final norm returned.
type RowOrigin struct {
	Of     string `json:"of"`     // the module that returned them
	Ref    []int  `json:"ref"`    // by row
	Target []int  `json:"target"` // by row; -1 for none
}

// Other lists the rows that are not those of the reference, in words; "" where
// all are.
func (o *RowOrigin) Other() string {
	if o == nil {
		return ""
	}
	var out []string
	for i, r := range o.Ref {
		switch t := o.Target[i]; {
		case t == r:
		case t < 0:
			out = append(out, fmt.Sprintf("none in place of row %d", r))
		default:
			out = append(out, fmt.Sprintf("row %d in place of row %d", t, r))
		}
	}
	if n := len(out); n > 3 {
		out = append(out[:3], fmt.Sprintf("and %d more", n-3))
	}
	return strings.Join(out, ", ")
}

// Offset is how far every row of the target is from the one that belongs; not ok
// where they are not all as far off.
func (o *RowOrigin) Offset() (n int, ok bool) {
	for i, r := range o.Ref {
		if o.Target[i] < 0 || i > 0 && o.Target[i]-r != n {
			return 0, false
		}
		n = o.Target[i] - r
	}
	return n, len(o.Ref) > 0
}

// NewRowOrigin chooses among the rows that each row equals: the same on both
// sides where it can. nil where the reference has rows that equal none.
func NewRowOrigin(of string, ref, target [][]int) *RowOrigin {
	if len(ref) != len(target) {
		return nil
	}
	o := &RowOrigin{Of: of}
	for i := range ref {
		if len(ref[i]) == 0 {
			return nil
		}
		r, t := ref[i][0], -1
		if len(target[i]) > 0 {
			t = target[i][0]
		}
		for _, x := range ref[i] {
			if slices.Contains(target[i], x) {
				r, t = x, x
				break
			}
		}
		o.Ref, o.Target = append(o.Ref, r), append(o.Target, t)
	}
	return o
}
