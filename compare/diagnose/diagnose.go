// Package diagnose guesses the cause of what was judged a fault: hints for a
// reader, which change no verdict.
package diagnose

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/compare/judge"
	"github.com/ilref/ilref/compare/measure"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/compare/rounding"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

const (
	// hinted bounds how many failing calls are looked at, hintValues how many
	// values of each (whole rows): a hint is worth no more time.
	Hinted     = 64
	hintValues = 1 << 21
)

// Explain adds to a judged report what the tensors tell of the calls that failed.
func Explain(r *report.Report, fs []*pairing.Forward, b *judge.Blamed, look Looker) {
	if b != nil {
		blameRank(r, b.Call, b.Pair, look.RankGaps(b.Pair))
	}
	hints(r, fs, look)
	blameWeights(r)
}

// hints adds to every failing call, the first ones where there are many, its
// likely cause by the shape of the error. A hint is a guess and changes no
// verdict.
func hints(r *report.Report, fs []*pairing.Forward, look Looker) {
	n := 0
	clean := map[string]bool{} // modules that have passed an earlier forward
	for i, f := range fs {
		rows := HintRows(f)
		for _, c := range f.Calls {
			var hint string
			switch ps := failing(c); {
			case f.Work == pairing.OtherTokens && isFirst(r, c):
				hint = look.Tokens(f).hint(logitsBefore(fs[:i]))
			case len(ps) == 0:
				clean[c.Module] = clean[c.Module] || c.Report != nil && c.Report.Verdict == report.Pass
				continue
			default:
				if n++; n > Hinted {
					continue
				}
				hint = hintFor(r, c, ps, rows, clean[c.Module], look)
			}
			if isFirst(r, c) && hint != "" {
				hint += rowsRun(c, fs)
			}
			if c.Report != nil {
				c.Report.Hint = hint
			}
			if isFirst(r, c) {
				r.FirstDivergence.Hint = hint
			}
		}
	}
}

// isFirst reports whether a call is that of the first divergence.
func isFirst(r *report.Report, c *pairing.Call) bool {
	d := r.FirstDivergence
	return d != nil && d.Step == c.Step && d.Module == c.Module && d.Call == c.Index
}

// HintRows is what is known of a forward's rows.
func HintRows(f *pairing.Forward) *pairing.Tokens {
	if f.Rows != nil && f.Work == pairing.SameWork {
		return f.Rows
	}
	return &pairing.Tokens{}
}

// failing are the tensors of a call that failed.
func failing(c *pairing.Call) []*pairing.Pair {
	var out []*pairing.Pair
	for _, p := range c.Slots {
		if p.Result.VerdictOrNone() == report.Fail {
			out = append(out, p)
		}
	}
	return out
}

// suspect is a failing tensor as a matrix, beside what it should be.
type suspect struct {
	*pairing.Call
	pair       *pairing.Pair
	rows, cols int
	r, t       []float64       // the best reference there is, and the target
	noise      float64         // what rounding explains
	tokens     *pairing.Tokens // of the rows; empty where unknown
	wasClean   bool            // the module has passed an earlier forward
	row        []float64       // rel_l2 of every row
	experts    measure.Experts // that routers choose
}

// rules are tried in order; the first that has something to say is the hint.
var rules = []func(*suspect) string{
	(*suspect).notFinite, (*suspect).embedding, (*suspect).copied, (*suspect).activation, (*suspect).ofRequests, (*suspect).otherChoice, (*suspect).otherWeights, (*suspect).ofExperts, (*suspect).coarseRouter, (*suspect).fewRows, (*suspect).rope, (*suspect).rotated,
	(*suspect).renormalised, (*suspect).shared, (*suspect).onePlus, (*suspect).constantScale, (*suspect).sinks, (*suspect).softCap, (*suspect).permuted, (*suspect).offset, (*suspect).lowRank, (*suspect).blockScale, (*suspect).cache, (*suspect).rowScale, (*suspect).rowRange, (*suspect).columns, (*suspect).fromPosition,
	(*suspect).columnScale, (*suspect).shifted, (*suspect).coarse, (*suspect).singleRequests, (*suspect).logits, (*suspect).uniform,
}

// Clue is what one tensor of a call that failed tells: the first rule that has
// something to say.
type Clue struct {
	Rule int // after all rules where none has
	Hint string
}

// hintFor takes the tensor whose rule comes first.
func hintFor(r *report.Report, c *pairing.Call, ps []*pairing.Pair, rows *pairing.Tokens, wasClean bool, look Looker) string {
	best := Clue{Rule: len(rules)}
	for _, p := range ps {
		x, ok := look.Clue(c, p, rows, wasClean)
		if !ok {
			r.Unhinted = append(r.Unhinted, p.Key.String())
			return ""
		}
		if x.Rule < best.Rule {
			best = x
		}
	}
	return best.Hint
}

// clueOf tries the rules on a tensor. Integers have one of their own.
func clueOf(c *pairing.Call, p *pairing.Pair, rows *pairing.Tokens, wasClean bool, experts measure.Experts) Clue {
	if report.IsInteger(p.Result) {
		return Clue{-1, integerHint(p)}
	}
	if hint := logitsRows(p.Rows); hint != "" {
		return Clue{-1, hint}
	}
	if s := newSuspect(c, p, rows, wasClean); s != nil {
		s.experts = experts
		for i, rule := range rules {
			if hint := rule(s); hint != "" {
				return Clue{i, hint}
			}
		}
	}
	return Clue{Rule: len(rules)}
}

// newSuspect reads a tensor and the best reference there is, nil where it
// cannot be read: then there is no hint.
func newSuspect(c *pairing.Call, p *pairing.Pair, rows *pairing.Tokens, wasClean bool) *suspect {
	d := p.Result.DTypes[1]
	noise := max(rounding.Noise(d), rounding.Noise(p.Result.DTypes[0]))
	s := &suspect{Call: c, pair: p, tokens: &pairing.Tokens{}, wasClean: wasClean, noise: rounding.Limit(noise, noise, rounding.Gain(c.Of.Kind, p.Result.Gap.Rows())*c.In.Gap)}
	reference := p.Ref
	switch o := p.Origin; {
	case o != nil && o.Err == nil && o.InRef && !o.InTarget: // the target's own tensor, changed where the reference hands it on
		reference, s.noise = o.Of.Target, rounding.Noise(d)
	case p.Replay != nil && p.Direction != report.Inputs: // a replay's inputs are the target's own
		reference, s.noise = p.Replay, rounding.Noise(d)
	}
	if len(reference.Tensors) == 0 || len(p.Target.Tensors) == 0 {
		return nil
	}
	loaded := false
	err := il.WithBoth(reference.Tensors[0], p.Target.Tensors[0], func(x, y *tensor.Tensor) error {
		loaded = s.load(x, y)
		return nil
	})
	if err != nil || !loaded {
		return nil
	}
	if len(rows.Position) == s.rows {
		s.tokens = rows
	}
	return s
}

// load reads the first rows of both tensors.
func (s *suspect) load(x, y *tensor.Tensor) bool {
	d := len(x.Shape)
	if d == 0 || x.Numel() == 0 || len(x.Shape) != len(y.Shape) || x.Numel() != y.Numel() || x.DType.ValuesPerElement() != 1 || y.DType.ValuesPerElement() != 1 {
		return false
	}
	s.cols = x.Shape[d-1]
	s.rows = min(x.Numel()/s.cols, max(1, hintValues/s.cols))
	n := s.rows * s.cols
	if !worthReading(x, n) || !worthReading(y, n) {
		return false
	}
	s.r, s.t = make([]float64, n), make([]float64, n)
	if x.Float64s(s.r, 0) != nil || y.Float64s(s.t, 0) != nil {
		return false
	}
	s.row = make([]float64, s.rows)
	for i := range s.row {
		s.row[i] = relative(s.at(i))
	}
	return true
}

// worthReading reports whether the first n elements of a tensor are few, or are
// stored: one row of a file of a megabyte can claim a gigabyte, by a stride of 0.
func worthReading(x *tensor.Tensor, n int) bool {
	return n <= hintValues || n <= len(x.Data)/x.DType.Size()
}

// at is row i of both sides.
func (s *suspect) at(i int) (r, t []float64) {
	return s.r[i*s.cols : (i+1)*s.cols], s.t[i*s.cols : (i+1)*s.cols]
}

// relative is ‖t-r‖ / ‖r‖; of a reference of zeros it is infinite where t is not.
func relative(r, t []float64) float64 {
	var dd, rr float64
	for i, a := range r {
		d := t[i] - a
		dd += float64(d * d)
		rr += float64(a * a)
	}
	if dd == 0 {
		return 0
	}
	return math.Sqrt(dd / rr)
}

// right reports whether a gap is no more than rounding, half a fault's bound.
func (s *suspect) right(gap float64) bool { return gap <= s.noise }

// wrongRow reports whether a row is beyond what rounding makes of single rows.
func (s *suspect) wrongRow(i int) bool { return s.row[i] > rounding.RowNoise*s.noise }

// wrongRows are the wrong ones.
func (s *suspect) wrongRows() []int {
	var out []int
	for i := range s.row {
		if s.wrongRow(i) {
			out = append(out, i)
		}
	}
	return out
}

// rowName names a row by its token where that is known.
func (s *suspect) rowName(i int) string {
	switch {
	case s.tokens.Position == nil:
		return fmt.Sprintf("row %d", i)
	case s.tokens.Request[i] < 0:
		return fmt.Sprintf("row %d (padding)", i)
	}
	t := report.Token{Request: s.tokens.Request[i], Position: s.tokens.Position[i]}
	if s.tokens.Ids != nil {
		t.ID = &s.tokens.Ids[i]
	}
	return fmt.Sprintf("row %d (%s)", i, &t)
}

// input reads the target's own input of a slot, nil where there is none of
// that many values a row.
func (s *suspect) input(path string) []float64 {
	if s.Target == nil {
		return nil
	}
	f := pairing.FindSlot(s.Target, il.Inputs, path)
	if f == nil {
		return nil
	}
	var out []float64
	_ = f.With(func(x *tensor.Tensor) error {
		d := len(x.Shape)
		if d == 0 || x.Numel() == 0 || x.DType.ValuesPerElement() != 1 || x.Meta || x.Numel()/x.Shape[d-1] < s.rows {
			return nil
		}
		n := s.rows * x.Shape[d-1]
		if !worthReading(x, n) {
			return nil
		}
		v := make([]float64, n)
		if err := x.Float64s(v, 0); err != nil {
			return err
		}
		out = v
		return nil
	})
	return out
}

// integerHint recognises positions that are all off by one number.
func integerHint(p *pairing.Pair) string {
	hint := ""
	if len(p.Ref.Tensors) == 0 || len(p.Target.Tensors) == 0 {
		return ""
	}
	_ = il.WithBoth(p.Ref.Tensors[0], p.Target.Tensors[0], func(x, y *tensor.Tensor) error {
		a, err := x.Ints()
		if err != nil || len(a) == 0 {
			return err
		}
		b, err := y.Ints()
		if err != nil || len(b) != len(a) {
			return err
		}
		for i := range a {
			if b[i]-a[i] != b[0]-a[0] {
				return nil
			}
		}
		hint = fmt.Sprintf("positions are counted from another start: every one is off by %+d", b[0]-a[0])
		return nil
	})
	return hint
}
