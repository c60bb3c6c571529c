package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// ranks finds tensors that all ranks of tensor parallelism must hold alike,
// but do not. What is computed from them is not listed.
func (l *linter) ranks() {
	for _, s := range l.steps {
		of, other := map[*callFacts]state{}, map[*callFacts]*fact{}
		var first *callFacts // with inputs that differ
		found := false
		for _, c := range s.calls {
			st := state{}
			for _, pair := range c.unlikeRanks() {
				if pair[0].slot.Direction == il.Outputs {
					st.out = pair[0]
				} else {
					st.in = pair[0]
				}
				if other[c] == nil || pair[0].slot.Direction == il.Outputs {
					other[c] = pair[1]
				}
			}
			if of[c] = st; st.in != nil && first == nil {
				first = c
			}
		}
		for _, c := range origins(s.calls, of) {
			found = true
			if !reducedLater(s.calls[:c.order], c, of) {
				l.rankFinding(c, of[c].out, other[c])
			}
		}
		if !found && first != nil {
			l.rankFinding(first, of[first].in, other[first])
		}
	}
}

// unlikeRanks returns, for each slot that every rank must hold alike, the
// first rank and the first that differs from it.
func (c *callFacts) unlikeRanks() [][2]*fact {
	var out [][2]*fact
	first := map[*il.Slot]*fact{}
	done := map[*il.Slot]bool{}
	for _, f := range c.facts {
		if !f.whole || done[f.slot] || !replicated(c, f.slot) {
			continue
		}
		switch x := first[f.slot]; {
		case x == nil:
			first[f.slot] = f
		case x.hash != f.hash || !slices.Equal(x.shape, f.shape):
			done[f.slot] = true
			out = append(out, [2]*fact{x, f})
		}
	}
	return out
}

// replicated tells which tensors the ranks hold alike.
func replicated(c *callFacts, s *il.Slot) bool {
	return c.spec.Sharding(s.Direction == il.Outputs, s.Path) == topology.Replicated
}

// reducedLater reports whether a module around a call gives the same output on
// every rank: the sum over the ranks is then taken there, as in models that add
// up several parts first (shared experts, parallel attention and mlp).
func reducedLater(before []*callFacts, c *callFacts, of map[*callFacts]state) bool {
	if !c.spec.Reduces {
		return false
	}
	for _, x := range before {
		if strings.HasPrefix(c.path(), x.path()+".") && of[x].out == nil && x.ranks() > 1 &&
			slices.ContainsFunc(x.facts, func(f *fact) bool { return f.slot.Direction == il.Outputs && f.whole && replicated(x, f.slot) }) {
			return true
		}
	}
	return false
}

// PartialSum is the rel_l2 between two ranks from which on they are no two
// roundings of one sum: parts of a sum differ by about their own size.
const PartialSum = 0.5

func (l *linter) rankFinding(c *callFacts, a, b *fact) {
	g, err := gap(a, b)
	slot := c.name() + " " + slotName(a.slot.Direction, a.slot.Path)
	pair := fmt.Sprintf("%s and %s", a.device(), b.device())
	switch {
	case err != nil:
		l.add(Error, "ranks-differ", c, a, "%s must be the same on every rank, but %s cannot be compared: %v", slot, pair, err)
	case a.slot.Direction == il.Outputs && c.spec.Reduces && g.RelL2 > PartialSum:
		l.add(Error, "partial-sums", c, a, "%s on %s differs by rel_l2 %.2g (max_abs %.3g): these look like the partial sums of each rank, recorded before or without the all-reduce", slot, pair, g.RelL2, g.MaxAbs)
	default:
		l.add(Error, "ranks-differ", c, a, "%s must be the same on every rank, but %s differ by rel_l2 %.2g (max_abs %.3g): one rank computes something else, or files of two runs are mixed", slot, pair, g.RelL2, g.MaxAbs)
	}
}

// gap measures two tensors, as one row where their shapes differ.
func gap(a, b *fact) (g *metric.Gap, err error) {
	err = il.WithBoth(a.file, b.file, func(x, y *tensor.Tensor) error {
		if !slices.Equal(x.Shape, y.Shape) && x.Numel() == y.Numel() && x.IsContiguous() && y.IsContiguous() {
			x, y = flat(x), flat(y)
		}
		g, err = metric.Measure(x, y, nil)
		return err
	})
	return g, err
}

func flat(t *tensor.Tensor) *tensor.Tensor {
	v := *t
	v.Shape, v.Stride = []int{t.Numel()}, []int{1}
	return &v
}
