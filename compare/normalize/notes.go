package normalize

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Finding tells which ranks do not hold what they must in a tensor of a
// prepared session that has been opened, and is empty where all is well.
func (n *Notes) Finding(f *il.TensorFile) string {
	var out []string
	x := n.ranks[f]
	if x == nil {
		return ""
	}
	for _, a := range x.from {
		a.mu.Lock()
		if a.finding != "" && !slices.Contains(out, a.finding) {
			out = append(out, a.finding)
		}
		a.mu.Unlock()
	}
	return strings.Join(out, "; ")
}

// Findings lists, a line each, the findings of a prepared session's tensors
// that have been opened; of a step, for what parts once stays apart, the first.
func (n *Notes) Findings(s *il.Session) []string {
	var out []string
	for _, st := range s.Steps {
		more, first := 0, ""
		for _, c := range st.Calls {
			for _, slot := range c.Slots {
				for _, f := range slot.Tensors {
					switch why := n.Finding(f); {
					case why != "" && first == "":
						first = f.File + ": " + why
					case why != "":
						more++
					}
				}
			}
		}
		if more > 0 {
			first = fmt.Sprintf("%s; so too in %d more tensors of step %d", first, more, st.Number)
		}
		if first != "" {
			out = append(out, first)
		}
	}
	return out
}

// RankOf names the device that an element of a tensor put together of several
// ranks came from, and is empty for other tensors. The tensor was opened
// before.
func (n *Notes) RankOf(f *il.TensorFile, at []int) string {
	dim, columns := n.columns(f, len(at))
	for _, c := range columns {
		if dim < len(at) && c.lo <= at[dim] && at[dim] < c.hi {
			return c.device
		}
	}
	return ""
}

// Whole reports whether all ranks must hold the whole of a tensor that is put
// together, and not parts of it.
func (n *Notes) Whole(f *il.TensorFile) bool {
	x := n.ranks[f]
	return x != nil && x.from[0].sharding == topology.Replicated
}

// Part is what one rank holds of a tensor: views of it.
type Part struct {
	Device string
	Views  []*tensor.Tensor
}

// Parts cuts a tensor, opened from f or of the same shape, into what came from
// each rank; none for a tensor that is not put together.
func (n *Notes) Parts(f *il.TensorFile, t *tensor.Tensor) []Part {
	dim, columns := n.columns(f, len(t.Shape))
	var out []Part
	for _, c := range columns {
		if dim >= len(t.Shape) || c.hi > t.Shape[dim] {
			return nil
		}
		i := slices.IndexFunc(out, func(p Part) bool { return p.Device == c.device })
		if i < 0 {
			i = len(out)
			out = append(out, Part{Device: c.device})
		}
		out[i].Views = append(out[i].Views, t.Narrow(dim, c.lo, c.hi))
	}
	return out
}

func (n *Notes) columns(f *il.TensorFile, dims int) (int, []column) {
	x := n.ranks[f]
	if x == nil || dims == 0 {
		return 0, nil
	}
	a := x.from[0]
	dim := a.dim
	if dim < 0 {
		dim = joinedDim(a.sharding, dims)
	}
	return dim, a.columnsOf(x.copy)
}

// Compose puts a tensor like f together of whole ones, every part of it taken from
// the one of the rank that f has it from: that of rank r is number r modulo how
// many there are. It is the first where no part of f is a rank's own.
func (n *Notes) Compose(f *il.TensorFile, wholes []*tensor.Tensor) (*tensor.Tensor, error) {
	if err := f.With(func(*tensor.Tensor) error { return nil }); err != nil {
		return nil, err
	}
	dim, columns := n.columns(f, len(wholes[0].Shape))
	if columns == nil {
		return wholes[0], nil
	}
	var pieces []piece
	for _, c := range columns {
		pieces = append(pieces, piece{c.rank % len(wholes), c.lo, c.hi - c.lo})
	}
	return join(wholes, dim, pieces)
}
