package diagnose

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// routed is what the recorded scores of a router say of the rows of a suspect.
type routed struct {
	scores [][]float64
	chosen [][]int
	rows   map[int][]int // by expert: the rows that go through it
}

// routing reads the target's scores of the router in the block of a call, nil where they,
// or the experts that they choose, are not known.
func (s *suspect) routing() *routed {
	c := routerOf(s.Call)
	if c == nil || c.Target == nil {
		return nil
	}
	f := cmp.Or(pairing.FindSlot(c.Target, il.Outputs, "0"), pairing.FindSlot(c.Target, il.Outputs, ""))
	if f == nil {
		return nil
	}
	out := &routed{rows: map[int][]int{}}
	_ = f.With(func(t *tensor.Tensor) (err error) { // unreadable: it is not known
		if worthReading(t, t.Numel()) {
			out.scores, err = measure.ScoreRows(t)
		}
		return err
	})
	if len(out.scores) != s.rows {
		return nil
	}
	for i, scores := range out.scores {
		chosen := s.experts.Chosen(c.Module, scores)
		if len(chosen) == 0 {
			return nil
		}
		out.chosen = append(out.chosen, chosen)
		for _, e := range chosen {
			out.rows[e] = append(out.rows[e], i)
		}
	}
	return out
}

// routerOf is the call of the router whose experts a call computes, or holds.
func routerOf(c *pairing.Call) *pairing.Call {
	for ; c != nil; c = c.Parent() {
		if k := inside(c, func(k *pairing.Call) bool { return k.Of.Kind == topology.Router }); k != nil || c.Of.Kind == topology.MoE {
			return k
		}
	}
	return nil
}

// inside is the first call in another, at any depth.
func inside(c *pairing.Call, is func(*pairing.Call) bool) *pairing.Call {
	for _, k := range c.Children {
		if is(k) {
			return k
		}
		if k = inside(k, is); k != nil {
			return k
		}
	}
	return nil
}

// smallShare is a weight of an expert with which it may be wrong and its row within rounding.
const smallShare = 0.1

// share is about how much an expert has of a row, were the weights a softmax of the scores
// of those chosen.
func (r *routed) share(row, expert int) float64 {
	most, sum := math.Inf(-1), 0.0
	for _, e := range r.chosen[row] {
		most = max(most, r.scores[row][e])
	}
	for _, e := range r.chosen[row] {
		sum += math.Exp(r.scores[row][e] - most)
	}
	return math.Exp(r.scores[row][expert]-most) / sum
}

// enough is how many rows must be wrong, and how many right, for the experts to be told by
// which they are.
const enough = 3

// ofExperts is about rows that are wrong because of an expert that they go through.
func (s *suspect) ofExperts() string {
	wrong := s.wrongRows()
	if s.Of.Kind != topology.Experts || len(wrong) < enough || s.rows-len(wrong) < enough {
		return ""
	}
	r := s.routing()
	if r == nil {
		return ""
	}
	right := s.rows - len(wrong)
	switch found := s.covering(r); {
	case len(found) == 1 && len(found[0]) == 1:
		return fmt.Sprintf("the weights of expert %d: only its tokens are wrong, %d of %d rows, and the other %d, which do not go through it, are within rounding",
			found[0][0], len(wrong), s.rows, right)
	case len(found) == 1:
		return fmt.Sprintf("experts %d and %d, taken for one another, or their weights: only their tokens are wrong, %d of %d rows, and the other %d, which go through neither, are within rounding",
			found[0][0], found[0][1], len(wrong), s.rows, right)
	case len(found) > 1:
		return ""
	}
	return s.beyondCapacity(r)
}

// covering are the experts, one or else two, through which all wrong rows go, and no right
// one with a weight that counts.
func (s *suspect) covering(r *routed) [][]int {
	wrong := s.wrongRows()
	var candidates []int
	has := map[int][]bool{} // by candidate: the wrong rows that go through it
	for e := range r.scores[0] {
		if !slices.ContainsFunc(r.rows[e], func(i int) bool { return !s.wrongRow(i) && r.share(i, e) > smallShare }) && len(r.rows[e]) > 0 {
			candidates = append(candidates, e)
			for _, i := range wrong {
				has[e] = append(has[e], slices.Contains(r.chosen[i], e))
			}
		}
	}
	all := func(experts ...int) bool {
		for i := range wrong {
			if !slices.ContainsFunc(experts, func(e int) bool { return has[e][i] }) {
				return false
			}
		}
		return true
	}
	var out [][]int
	for _, e := range candidates {
		if all(e) {
			out = append(out, []int{e})
		}
	}
	for k, a := range candidates {
		for _, b := range candidates[k+1:] {
			if len(out) == 0 || len(out[0]) == 2 {
				if all(a, b) {
					out = append(out, []int{a, b})
				}
			}
		}
	}
	return out
}

// beyondCapacity is about tokens behind the first so many of an expert's.
func (s *suspect) beyondCapacity(r *routed) string {
	wrong := s.wrongRows()
	if n := len(wrong); wrong[n-1] == s.rows-1 && wrong[0] == s.rows-n {
		return "" // as the last rows are, whatever made them wrong
	}
	for capacity := 1; capacity < s.rows; capacity++ {
		beyond, fits := map[int]bool{}, true
		for e, rows := range r.rows {
			for _, i := range rows[min(capacity, len(rows)):] {
				beyond[i] = beyond[i] || s.wrongRow(i)
				fits = fits && (s.wrongRow(i) || r.share(i, e) <= smallShare)
			}
		}
		if fits && !slices.ContainsFunc(wrong, func(i int) bool { return !beyond[i] }) {
			return fmt.Sprintf("tokens that an expert's capacity dropped: the %d rows that are wrong are those behind the first %s of an expert, and the other %d are within rounding",
				len(wrong), plural.Count(capacity, "token"), s.rows-len(wrong))
		}
	}
	return ""
}

// otherChoice is about tokens that go to other experts than their scores and the model's
// bias, or its groups, say: those for which the choice without one of these is another.
func (s *suspect) otherChoice() string {
	wrong := s.wrongRows()
	if s.Of.Kind != topology.Experts || len(s.experts.Without) == 0 || len(wrong) < enough || s.rows-len(wrong) < enough {
		return ""
	}
	r := s.routing()
	if r == nil {
		return ""
	}
	var found []string
	for _, part := range slices.Sorted(maps.Keys(s.experts.Without)) {
		module, fits := routerOf(s.Call).Module, true
		for i, scores := range r.scores {
			other := slices.Sorted(slices.Values(s.experts.Without[part](module, scores)))
			fits = fits && slices.Equal(other, slices.Sorted(slices.Values(r.chosen[i]))) != s.wrongRow(i)
		}
		if fits {
			found = append(found, part)
		}
	}
	if len(found) != 1 {
		return ""
	}
	return fmt.Sprintf("%s left out of the choice of experts: the %d rows that are wrong are those that go to other experts without it, and the other %d are within rounding", found[0], len(wrong), s.rows-len(wrong))
}

// otherWeights is about experts that are weighed otherwise, as the model at hand computes
// it for the target's own input.
func (s *suspect) otherWeights() string {
	router := routerOf(s.Call)
	if s.Of.Kind != topology.Experts || s.pair.Direction == report.Inputs || router == nil || router.Target == nil || len(s.experts.Weighed) == 0 {
		return ""
	}
	hidden, scores := pairing.FindSlot(router.Target, il.Inputs, "0"), cmp.Or(pairing.FindSlot(router.Target, il.Outputs, "0"), pairing.FindSlot(router.Target, il.Outputs, ""))
	if hidden == nil || scores == nil {
		return ""
	}
	var found []string
	_ = il.WithBoth(hidden, scores, func(x, y *tensor.Tensor) error { // unreadable: it is not known
		if !worthReading(x, x.Numel()) || !worthReading(y, y.Numel()) || x.Meta || y.Meta {
			return nil
		}
		for _, how := range slices.Sorted(maps.Keys(s.experts.Weighed)) {
			made := s.experts.Weighed[how](router.Module, x, y)
			if made == nil || made.Numel() < len(s.t) {
				continue
			}
			v := make([]float64, len(s.t))
			if made.Float64s(v, 0) == nil && relative(v, s.t) <= s.noise && relative(v, s.r) > 2*s.noise {
				found = append(found, how)
			}
		}
		return nil
	})
	if len(found) != 1 {
		return ""
	}
	return fmt.Sprintf("%s: with that the model gives what the target has (within rounding)", found[0])
}

// renormalised is about the weights of experts that add up to one on one side alone.
func (s *suspect) renormalised() string {
	if s.Of.Kind != topology.Experts || s.rows < enough {
		return ""
	}
	r := s.routing()
	if r == nil {
		return ""
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	fits := [2]bool{true, true} // the factor is the sum of the probabilities, its reciprocal
	for i, scores := range r.scores {
		sum, chosen, most := 0.0, 0.0, slices.Max(scores)
		for e, x := range scores {
			p := math.Exp(x - most)
			sum += p
			if slices.Contains(r.chosen[i], e) {
				chosen += p
			}
		}
		p := chosen / sum
		k, rest := fit(s.at(i))
		if rest > 2*s.noise {
			return ""
		}
		fits[0] = fits[0] && math.Abs(k/p-1) <= 2*s.noise
		fits[1] = fits[1] && math.Abs(k*p-1) <= 2*s.noise
		lo, hi = min(lo, p), max(hi, p)
	}
	if hi-lo < 4*s.noise {
		return ""
	}
	switch {
	case fits[0]:
		return fmt.Sprintf("the weights of the experts are not renormalised (the softmax is over all experts): every row is its reference times the sum of its experts' probabilities, from %.3g to %.3g", lo, hi)
	case fits[1]:
		return fmt.Sprintf("the weights of the experts are renormalised (the softmax is over the chosen alone): every row is its reference divided by the sum of its experts' probabilities, from %.3g to %.3g", lo, hi)
	}
	return ""
}

// shared is about the experts that all tokens go through.
func (s *suspect) shared() string {
	if s.Of.Kind != topology.Experts && s.Of.Kind != topology.MoE || s.pair.Direction == report.Inputs {
		return ""
	}
	x := s.outputOf(func(c *pairing.Call) bool { return c.Of.Kind == topology.MLP }, s.cols)
	if x == nil {
		return ""
	}
	if gate := s.outputOf(func(c *pairing.Call) bool { return c.Of.Kind == topology.ReplicatedLinear }, 1); gate != nil {
		for i := range x {
			x[i] /= 1 + math.Exp(-gate[i/s.cols])
		}
	}
	d := make([]float64, len(s.t))
	for i := range d {
		d[i] = s.t[i] - s.r[i]
	}
	if length(d) == 0 {
		return ""
	}
	if y := s.routedSum(); y != nil {
		if k, rest := fit(y, d); rest <= min(0.5, 2*s.noise*length(s.r)/length(d)) {
			return fmt.Sprintf("the routed scale (routed_scaling_factor): the target is its reference and %.3g times what the chosen experts return, and the rest is rounding", k)
		}
	}
	k, rest := fit(x, d)
	if rest > 2*s.noise*length(s.r)/length(d) || rest > 0.5 {
		return ""
	}
	switch {
	case math.Abs(k+1) < 0.05:
		return fmt.Sprintf("the shared experts are missing: the target is its reference without what they return (%.3g times, the rest is rounding)", k)
	case math.Abs(k-1) < 0.05:
		return fmt.Sprintf("the shared experts are added twice: the target is its reference and once more what they return (%.3g times, the rest is rounding)", k)
	}
	return fmt.Sprintf("the scale of the shared experts: the target is its reference and %.3g times what they return, the rest is rounding", k)
}

// routedSum is what the experts in a block return for the chosen ones, nil where that is not
// recorded.
func (s *suspect) routedSum() []float64 {
	if s.Of.Kind != topology.MoE {
		return nil
	}
	return s.readOutput(func(c *pairing.Call) bool { return c.Of.Kind == topology.Experts }, s.cols, "1", "0", "")
}

// outputOf reads what a call inside, or beside, returned in the target: as many columns for
// each row; nil where there is none.
func (s *suspect) outputOf(is func(*pairing.Call) bool, cols int) []float64 {
	return s.readOutput(is, cols, "0", "")
}

// readOutput reads the first of some slots that there is.
func (s *suspect) readOutput(is func(*pairing.Call) bool, cols int, slots ...string) []float64 {
	var out []float64
	read := func(c *pairing.Call) bool {
		if c == s.Call || c.Target == nil || !is(c) {
			return false
		}
		var f *il.TensorFile
		for _, slot := range slots {
			f = cmp.Or(f, pairing.FindSlot(c.Target, il.Outputs, slot))
		}
		if f == nil {
			return false
		}
		_ = f.With(func(t *tensor.Tensor) error { // unreadable: another may not be
			if n := s.rows * cols; t.Numel() == n && t.DType.IsFloat() && !t.Meta && worthReading(t, n) {
				v := make([]float64, n)
				if err := t.Float64s(v, 0); err != nil {
					return err
				}
				out = v
			}
			return nil
		})
		return out != nil
	}
	inside(s.Call, read)
	return out
}

// coarseRouter is about scores that were computed in bfloat16.
func (s *suspect) coarseRouter() string {
	if s.Of.Kind != topology.Router || s.pair.Result.DTypes[0].Size() < 4 || s.pair.Result.DTypes[1].Size() < 4 || len(s.t) < 16 {
		return ""
	}
	bf16 := func(v []float64) bool {
		return !slices.ContainsFunc(v, func(x float64) bool { return math.Float64bits(x)&(1<<45-1) != 0 })
	}
	if !bf16(s.t) || bf16(s.r) {
		return ""
	}
	return fmt.Sprintf("the router computed in bfloat16: all %d scores of the target, which are %s, are values of bfloat16, and those of the reference are not", len(s.t), s.pair.Result.DTypes[1])
}
