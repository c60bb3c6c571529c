package measure

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// ScoreRows reads the scores (…, E) of a router.
func ScoreRows(t *tensor.Tensor) ([][]float64, error) {
	if !t.DType.IsFloat() || t.Meta || len(t.Shape) < 2 || t.Shape[len(t.Shape)-1] < 2 {
		return nil, fmt.Errorf("%s: expected scores of tokens by expert", t)
	}
	all := make([]float64, t.Numel())
	if err := t.Float64s(all, 0); err != nil {
		return nil, err
	}
	var rows [][]float64
	for row := range slices.Chunk(all, t.Shape[len(t.Shape)-1]) {
		rows = append(rows, row)
	}
	return rows, nil
}

// rerouted tells of a token that the scores a of the reference and b of the target send to
// other experts, nil where the experts are the same: the pair of experts with the largest lead.
func (r *routed) rerouted(module string, a, b []float64) *report.Reroute {
	x, y := r.experts.Chosen(module, a), r.experts.Chosen(module, b)
	from := slices.DeleteFunc(slices.Clone(x), func(e int) bool { return slices.Contains(y, e) })
	to := slices.DeleteFunc(slices.Clone(y), func(e int) bool { return slices.Contains(x, e) })
	if len(from) == 0 || len(to) == 0 {
		return nil
	}
	out := &report.Reroute{From: from[0], To: to[0], RelL2: relL2(a, b)}
	for _, f := range from {
		for _, t := range to {
			if lead := a[f] - a[t]; lead > out.Lead {
				out.From, out.To, out.Lead = f, t, lead
			}
		}
	}
	return out
}

// Largest are the indices of the k largest, equal ones by their index, in that order.
func Largest(v []float64, k int) []int {
	at := make([]int, len(v))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(i, j int) int { return cmp.Compare(v[j], v[i]) })
	return at[:min(k, len(at))]
}

// mostPerToken is the most experts of a token that a model has been seen with, 10 in
// Qwen3-Next, and some.
const mostPerToken = 16

// otherOrder reports whether the k largest are others, for any k that a model may have.
func otherOrder(a, b []float64) bool {
	k := min(mostPerToken, len(a)/2)
	return !slices.Equal(Largest(a, k), Largest(b, k))
}

func relL2(a, b []float64) float64 {
	var dd, aa float64
	for i := range a {
		d := b[i] - a[i]
		dd, aa = dd+float64(d*d), aa+float64(a[i]*a[i])
	}
	return math.Sqrt(dd / max(aa, math.SmallestNonzeroFloat64))
}

func rms(v []float64) float64 {
	s := 0.
	for _, x := range v {
		s += float64(x * x)
	}
	return math.Sqrt(s / float64(len(v)))
}

// without is a copy of a tensor of the tokens' rows whose rows in s are 0, and how many those are; the
// tensor itself where it has other rows.
func (s *rowSet) without(t *tensor.Tensor) (*tensor.Tensor, int) {
	if s == nil || s.n == 0 || rowOf(t, 0, len(s.in)) == nil {
		return t, 0
	}
	c := t.Clone()
	for i, in := range s.in {
		if in {
			row := rowOf(c, i, len(s.in))
			es := c.DType.Size()
			clear(c.Data[row.Offset*es:][:row.Numel()*es])
		}
	}
	return c, s.n
}

// typicalSize is the median of the sizes of rows.
func typicalSize(rows [][]float64) float64 {
	var size []float64
	for _, r := range rows {
		size = append(size, rms(r))
	}
	slices.Sort(size)
	return size[len(size)/2]
}

// ofHead are the rows of the call of a head, which are a selection of the forward's: those
// whose input is, by the bits, what the final norm returned for a token in s. Where they are
// not known they are the forward's.
func (s *rowSet) ofHead(c *pairing.Call, f *pairing.Forward) *rowSet {
	norm := f.Find(func(c *pairing.Call) bool { return c.Module == topology.FinalNormName })
	if norm == nil || norm.Ref == nil || c.Ref == nil {
		return s
	}
	for _, slot := range c.Ref.Slots {
		if slot.Direction != il.Inputs || len(slot.Tensors) != 1 {
			continue
		}
		out := &rowSet{}
		from := selected(slot.Tensors[0], normed(norm.Ref))
		for i, at := range from {
			if slices.ContainsFunc(at, s.has) {
				out.add(i, len(from))
			}
		}
		if len(from) > 0 {
			return out
		}
	}
	return s
}
