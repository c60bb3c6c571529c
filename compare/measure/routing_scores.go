package measure

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
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
// other experts, nil where the experts are the same: the pair of experts with the largest lead,
// or, where the largest scores do not choose, the most that a score is off.
// x and y are the experts.
func (r *routed) rerouted(a, b []float64, x, y []int) *report.Reroute {
	from := slices.DeleteFunc(slices.Clone(x), func(e int) bool { return slices.Contains(y, e) })
	to := slices.DeleteFunc(slices.Clone(y), func(e int) bool { return slices.Contains(x, e) })
	if len(from) == 0 || len(to) == 0 {
		return nil
	}
	out := &report.Reroute{From: from[0], To: to[0], RelL2: relL2(a, b), Parts: len(r.experts.Without) > 0}
	for _, f := range from {
		for _, t := range to {
			if lead := a[f] - a[t]; lead > out.Lead && !out.Parts {
				out.From, out.To, out.Lead = f, t, lead
			}
		}
	}
	for i := range a {
		out.By = max(out.By, math.Abs(a[i]-b[i]))
	}
	return out
}

// otherSet reports whether two lists do not hold the same.
func otherSet(x, y []int) bool {
	return slices.ContainsFunc(x, func(e int) bool { return !slices.Contains(y, e) })
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

// tieShare is about how likely it is that noise exchanges a chosen expert of a token, were
// all scores as dense as the others at the last that is chosen.
func tieShare(a, b []float64) float64 {
	noise := 0.0
	for i := range a {
		noise = max(noise, math.Abs(a[i]-b[i]))
	}
	if span := slices.Max(a) - slices.Min(a); span > 0 {
		return min(1, 2*noise*float64(len(a))/span)
	}
	return 1
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

// scoreLimit is what rounding and the gap of the router's input explain in the scores of a
// token. Scores of float32 are made of what was rounded to another type.
func scoreLimit(types [2]tensor.DType, in float64) float64 {
	floor := max(rounding.Noise(types[0]), rounding.Noise(types[1]))
	return rounding.Limit(rounding.RowNoise*floor, max(floor, rounding.Noise(tensor.BFloat16)), rounding.Gain(topology.Router, 1)*in)
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

// choices are the experts of both sides' rows: those that the router returned, as
// transformers' do, or that its scores choose; nil where they are not known.
func (r *routed) choices(c *pairing.Call, scores [2][][]float64) [][][]int {
	for _, p := range pairsOf(c) {
		if x, y := expertRows(c, p); p.Direction == report.Outputs && len(x) == len(scores[0]) && len(y) == len(x) {
			return [][][]int{x, y}
		}
	}
	out := make([][][]int, 2)
	for side := range scores {
		for _, row := range scores[side] {
			chosen := r.experts.Chosen(c.Module, row)
			if chosen == nil {
				return nil
			}
			out[side] = append(out[side], chosen)
		}
	}
	return out
}

// expertRows are the rows of a pair of integers, a token's experts each; nil of others.
func expertRows(c *pairing.Call, p *pairing.Pair) (ref, target [][]int) {
	x, y := recorded(c, p, true)
	if x == nil {
		return nil, nil
	}
	err := il.WithBoth(x, y, func(x, y *tensor.Tensor) error {
		for _, side := range []struct {
			t   *tensor.Tensor
			out *[][]int
		}{{x, &ref}, {y, &target}} {
			if !side.t.DType.IsInt() || side.t.Meta || len(side.t.Shape) != 2 || side.t.Shape[1] == 0 {
				return fmt.Errorf("%s: no experts of tokens", side.t)
			}
			v, err := side.t.Ints()
			if err != nil {
				return err
			}
			for row := range slices.Chunk(v, side.t.Shape[1]) {
				*side.out = append(*side.out, row)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil
	}
	return ref, target
}

// sameExperts takes a tensor of tokens' experts for equal where each token has the same, in
// whatever order, but for those in s.
func sameExperts(c *pairing.Call, p *pairing.Pair, s *rowSet) {
	if c.Of.Kind != topology.Router && c.Of.Kind != topology.Experts {
		return
	}
	x, y := expertRows(c, p)
	if len(x) == 0 || len(x) != len(y) || s.n > 0 && len(s.in) != len(x) {
		return
	}
	n := 0
	for i := range x {
		switch {
		case slices.Equal(x[i], y[i]):
		case otherSet(x[i], y[i]) && !s.has(i):
			return
		default:
			n++
		}
	}
	if t := p.Result; n > 0 {
		g := *t.Gap
		t.Whole, t.LeftOut = cmp.Or(t.Whole, t.Gap), n
		t.Gap = &metric.Gap{Numel: g.Numel, Values: g.Values, Equal: g.Values, NormRatio: 1}
	}
}
