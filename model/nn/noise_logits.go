package nn

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// deviation is that of the head. Tokens that were never trained have almost the
// same row of it, such as Llama 3's 256 reserved ones: whatever rounds their
// sums rounds them alike, so that of each group of them in a row of logits the
// one that is farthest off stands for all, and the others count as within rounding.
func (m *LogitsProcessor) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	d.divisor = m.Divisor
	if m.Factor != 0 {
		d.divisor = 1 / m.Factor
	}
	d.cap = m.Softcap
	d.linear(o, in.Tensor(1), []PackedWeight{{Weight: m.Head}})
	groups := m.alike.of(o, m.Head)
	v := make([]float32, d.z.width)
	for i := range d.z.n {
		row := d.z.bytes(i)
		if bytes.Count(row, []byte{0}) == len(row) {
			continue
		}
		tensor.LoadFloat32(v, tensor.BFloat16, row)
		for _, g := range groups {
			far := slices.MaxFunc(g, func(a, b int) int { return cmp.Compare(math.Abs(float64(v[a])), math.Abs(float64(v[b]))) })
			for _, j := range g {
				if j != far {
					v[j] = 0
				}
			}
		}
		tensor.StoreFloat32(row, tensor.BFloat16, v)
	}
}

// alikeRows are the groups of a matrix's rows that are almost the same, found
// once.
type alikeRows struct {
	once   sync.Once
	groups [][]int
}

// distinct is the distance of two rows, relative to the first, from which on
// their products are rounded apart. Untrained rows of gopher-1m's head are 0.005 from
// one another, and 0.12 and more from all others.
const distinct = 0.02

// alikeWithin is how many rows are searched together: a group is near its like.
const alikeWithin = 4096

// of finds the groups of a weight (out, in): every row is held against the one before
// it and the first one of the latest group.
func (a *alikeRows) of(o *ops[float32], w LinearMethod) [][]int {
	a.once.Do(func() {
		out, in := w.Shape()
		found := make([][][]int, (out+alikeWithin-1)/alikeWithin)
		o.parallel(len(found), func() func(int) {
			row, before, first := make([]float32, in), make([]float32, in), make([]float32, in)
			return func(task int) {
				var groups [][]int
				for j := task * alikeWithin; j < min((task+1)*alikeWithin, out); j++ {
					w.row(o, row, j)
					n := len(groups) - 1
					switch {
					case n >= 0 && near(row, first):
						groups[n] = append(groups[n], j)
					case j > task*alikeWithin && near(row, before):
						groups = append(groups, []int{j - 1, j})
						copy(first, before)
					}
					row, before = before, row
				}
				found[task] = groups
			}
		})
		a.groups = slices.Concat(found...)
	})
	return a.groups
}

// near reports whether two rows are almost the same. Most are told apart by
// their first values.
func near(x, y []float32) bool {
	const some = 64
	return closeTo(x[:min(some, len(x))], y, 4*distinct) && closeTo(x, y, distinct)
}

func closeTo(x, y []float32, relative float32) bool {
	var difference, square float32
	for i, a := range x {
		b := a - y[i]
		difference += float32(b * b)
		square += float32(a * a)
	}
	return difference <= relative*relative*square
}
