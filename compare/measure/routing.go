package measure

import (
	"cmp"
	"context"
	"slices"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// Experts tells which experts the scores of a router choose.
type Experts struct {
	// Of are those of a row of scores of a module, nil where they are not known.
	Of func(module string, scores []float64) []int
	// PerToken is how many there are where Of is nil and the largest scores are
	// chosen; 0 is unknown, and then rows are told by what experts make of them.
	PerToken int
	Biased   bool // not the largest scores are chosen, and Of does not say which
	// Without are what Of would be with a part of the choice left out, by what that is; none
	// where the largest scores choose.
	Without map[string]func(module string, scores []float64) []int
	// Exact is Of without the rounding of the session's type, nil for the same. Where they
	// part, either may have been chosen.
	Exact func(module string, scores []float64) []int
	// Weighed are what the experts of a router return for hidden states and its scores were
	// they weighed otherwise, by what that is; nil where that cannot be computed.
	Weighed map[string]func(module string, hidden, scores *tensor.Tensor) *tensor.Tensor
}

// NewExperts are those that a model's routers choose, of functions of that kind.
func NewExperts[F ~func(module string, scores []float64) []int, W ~func(module string, hidden, scores *tensor.Tensor) *tensor.Tensor](
	of, exact F, without map[string]F, weighed map[string]W,
) Experts {
	e := Experts{
		Of: of, Exact: exact, Without: map[string]func(string, []float64) []int{},
		Weighed: map[string]func(string, *tensor.Tensor, *tensor.Tensor) *tensor.Tensor{},
	}
	for part, f := range without {
		e.Without[part] = f
	}
	for how, f := range weighed {
		e.Weighed[how] = f
	}
	return e
}

// undecided reports whether rounding within the choice decides what the scores of one side
// choose.
func (e *Experts) undecided(module string, a, b []float64) bool {
	return e.Exact != nil && (otherSet(e.Of(module, a), e.Exact(module, a)) || otherSet(e.Of(module, b), e.Exact(module, b)))
}

// Chosen are the experts of a row of scores of a router, nil where they are not known.
func (e *Experts) Chosen(module string, scores []float64) []int {
	switch {
	case e.Of != nil:
		return e.Of(module, scores)
	case e.PerToken > 0 && !e.Biased:
		return Largest(scores, e.PerToken)
	}
	return nil
}

// Routing looks at what the routers of both sides send where, and measures again, without the
// rows of tokens that went to other experts by a near tie, what such a row has
// reached: each result of the block of the router, and what follows in the forward. Of a
// replay (alone) the calls that hold the router, for each is given the target's own inputs.
func Routing(ctx context.Context, fs []*pairing.Forward, e Experts, alone bool, tolerance func(a, b tensor.DType) metric.Tolerance) {
	for _, f := range fs {
		if f.Work != pairing.SameWork || !slices.ContainsFunc(f.Calls, func(c *pairing.Call) bool { return c.Of.Kind == topology.Router }) {
			continue
		}
		r := &routed{ctx: ctx, forward: f, experts: e, alone: alone, tolerance: tolerance, open: []*rowSet{{}}}
		pairing.Walk(f.Top, r.enter, r.leave)
	}
}

// routed is a forward whose tokens are followed to their experts.
type routed struct {
	ctx       context.Context
	forward   *pairing.Forward
	experts   Experts
	alone     bool
	tolerance func(a, b tensor.DType) metric.Tolerance
	open      []*rowSet       // left out: of the forward, or of each call that is not over
	calls     []*pairing.Call // that are not over
	maybe     rowSet          // tokens of the latest router that may have gone elsewhere
	likely    float64         // how many of them, by the noise of their scores
}

// rowSet is a set of the tokens of a forward.
type rowSet struct {
	in []bool // nil for none
	n  int
}

func (s *rowSet) has(i int) bool { return i < len(s.in) && s.in[i] }

func (s *rowSet) add(i, of int) {
	if len(s.in) != of {
		s.in, s.n = make([]bool, of), 0
	}
	if !s.in[i] {
		s.in[i] = true
		s.n++
	}
}

func (s *rowSet) join(x *rowSet) {
	for i, in := range x.in {
		if in {
			s.add(i, len(x.in))
		}
	}
}

// now is what is left out at this place.
func (r *routed) now() *rowSet { return r.open[len(r.open)-1] }

func (r *routed) enter(c *pairing.Call) {
	r.calls = append(r.calls, c)
	if r.alone {
		r.open = append(r.open, &rowSet{})
		return
	}
	r.measureAgain(c, report.Inputs)
}

func (r *routed) leave(c *pairing.Call) {
	switch c.Of.Kind {
	case topology.Experts, topology.MoE:
		r.told(c)
	}
	r.measureAgain(c, report.Outputs)
	r.measureAgain(c, report.PostFwdInputs)
	if c.Of.Kind == topology.Router { // of whose own scores every token counts, and not of what else it returns
		r.route(c)
		for _, p := range c.Slots {
			if t := p.Result; t != nil && p.Slot != "0" && p.Slot != "" && p.Direction == report.Outputs {
				r.measureOne(c, p, r.now())
			}
		}
	}
	r.calls = r.calls[:len(r.calls)-1]
	if r.alone {
		done := r.now()
		r.open = r.open[:len(r.open)-1]
		r.now().join(done)
	}
}

// measureAgain measures the tensors of a call without the rows that are left out.
func (r *routed) measureAgain(c *pairing.Call, direction string) {
	s := r.now()
	if s.n > 0 && c.Of.Kind.IsHead() {
		s = s.ofHead(c, r.forward)
	}
	for _, p := range c.Slots {
		if p.Direction == direction {
			r.measureOne(c, p, s)
		}
	}
}

// measureOne measures a tensor without the rows in s.
func (r *routed) measureOne(c *pairing.Call, p *pairing.Pair, s *rowSet) {
	switch t := p.Result; {
	case t == nil || p.Bounds.Alone() || t.Gap.Identical():
	case report.IsInteger(t):
		sameExperts(c, p, s)
	case s.n == 0:
	default:
		if again, err := worstRank(r.ctx, p, r.tolerance, s); err == nil && again.LeftOut > 0 {
			t.Whole, t.Gap, t.Rank, t.LeftOut = cmp.Or(t.Whole, t.Gap), again.Gap, again.Rank, again.LeftOut
		}
	}
}

// route finds the tokens that a router sends elsewhere.
func (r *routed) route(c *pairing.Call) {
	r.maybe, r.likely = rowSet{}, 0
	i := slices.IndexFunc(pairsOf(c), func(p *pairing.Pair) bool { return p.Direction == report.Outputs && (p.Slot == "0" || p.Slot == "") })
	if i < 0 {
		return
	}
	p := pairsOf(c)[i]
	ref, target := recorded(c, p, true)
	if ref == nil || p.Status == pairing.Excluded {
		return
	}
	var scores [2][][]float64
	var types [2]tensor.DType
	err := il.WithBoth(ref, target, func(x, y *tensor.Tensor) (err error) {
		types = [2]tensor.DType{x.DType, y.DType}
		for side, t := range []*tensor.Tensor{x, y} {
			if scores[side], err = ScoreRows(t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(scores[0]) != len(scores[1]) {
		return // unreadable, or of other shapes: the pair itself says so
	}
	x := r.compare(c, scores, types)
	if p.Result != nil {
		p.Result.Routing = x
	}
}

// compare takes in the scores of all tokens.
func (r *routed) compare(c *pairing.Call, scores [2][][]float64, types [2]tensor.DType) *report.Routing {
	out := &report.Routing{PerToken: r.experts.PerToken}
	chosen := r.choices(c, scores)
	left, typical := &rowSet{}, typicalSize(scores[0])
	left.join(r.now())
	for i, a := range scores[0] {
		b := scores[1][i]
		if left.has(i) || len(a) != len(b) {
			continue
		}
		out.Tokens++
		switch {
		case slices.Equal(a, b):
			continue
		case chosen == nil:
			r.maybe.add(i, len(scores[0]))
			r.likely += tieShare(a, b)
			continue
		}
		x := r.rerouted(a, b, chosen[0][i], chosen[1][i])
		switch {
		case x == nil && r.experts.undecided(c.Module, a, b):
			r.maybe.add(i, len(scores[0]))
			r.likely++
			continue
		case x == nil:
			continue
		}
		out.Elsewhere++
		x.Row = i
		size := max(rms(a), typical) // a token of small scores has the noise of others
		x.Noise = scoreLimit(types, r.inputGap(c, i, len(scores[0]))) * size
		if x.RelL2*rms(a) > x.Noise || x.By > scoreNoise*x.Noise {
			if out.Wrong == nil {
				out.Wrong = x
			}
			continue
		}
		out.NearTies++
		if out.Tie == nil || x.Times() > out.Tie.Times() {
			out.Tie = x
		}
		r.now().add(i, len(scores[0]))
	}
	if chosen == nil {
		out.Tokens = 0
	}
	return out
}

// scoreNoise is how many times its noise the score of a near tie may be off by, the worst of
// some hundred thousand tokens.
const scoreNoise = 4

// told leaves out the tokens that may have gone elsewhere, where what the experts made of them
// tells that they have. Where that is most of them, or many more than the noise of the scores
// makes likely, it is no routing.
func (r *routed) told(c *pairing.Call) {
	if r.maybe.n == 0 {
		return
	}
	var out rowSet
	for _, p := range pairsOf(c) {
		ref, target := recorded(c, p, false)
		if p.Direction != report.Outputs || ref == nil {
			continue
		}
		_ = il.WithBoth(ref, target, func(x, y *tensor.Tensor) error { // unreadable: the pair says so
			for i := range r.maybe.in {
				a, b := rowOf(x, i, len(r.maybe.in)), rowOf(y, i, len(r.maybe.in))
				if !r.maybe.has(i) || a == nil || b == nil {
					continue
				}
				g, err := metric.Measure(a, b, nil)
				if err == nil && rounding.SizeOf(g) > rowLimit(topology.Experts, [2]tensor.DType{x.DType, y.DType}, true, r.rowGap(c, i, len(r.maybe.in))) {
					out.add(i, len(r.maybe.in))
				}
			}
			return nil
		})
	}
	if out.n <= max(1, min(len(out.in)/2, 1+int(3*r.likely))) {
		r.now().join(&out)
	}
	r.maybe = rowSet{}
}

// inputGap is the largest gap of a row in the inputs of a call, or of the call that it is in
// where its own are not recorded.
func (r *routed) inputGap(c *pairing.Call, row, rows int) float64 {
	if g := r.rowGap(c, row, rows); g > 0 || len(r.calls) < 2 {
		return g
	}
	return r.rowGap(r.calls[len(r.calls)-2], row, rows)
}

// rowGap is the largest gap of a row in the inputs of a call, 0 where none is known.
func (r *routed) rowGap(c *pairing.Call, row, rows int) float64 {
	most := 0.
	for _, p := range pairsOf(c) {
		ref, target := recorded(c, p, true)
		if p.Direction != report.Inputs || ref == nil {
			continue
		}
		_ = il.WithBoth(ref, target, func(x, y *tensor.Tensor) error { // unreadable: the pair says so
			if a, b := rowOf(x, row, rows), rowOf(y, row, rows); a != nil && b != nil {
				if g, err := metric.Measure(a, b, nil); err == nil {
					most = max(most, rounding.SizeOf(g))
				}
			}
			return nil
		})
	}
	return most
}
