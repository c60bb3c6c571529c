package compare

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

const (
	// hinted bounds how many failing calls are looked at, hintValues how many
	// values of each (whole rows): a hint is worth no more time.
	hinted     = 64
	hintValues = 1 << 21
)

// explain adds to a judged report what the tensors tell of the calls that failed.
func (r *Report) explain(fs []*forward, b *blamed, look looker) {
	if b != nil {
		r.blameRank(b.call, b.pair, look.rankGaps(b.pair))
	}
	r.hints(fs, look)
}

// hints adds to every failing call, the first ones where there are many, its
// likely cause by the shape of the error. A hint is a guess and changes no
// verdict.
func (r *Report) hints(fs []*forward, look looker) {
	n := 0
	clean := map[string]bool{} // modules that have passed an earlier forward
	for _, f := range fs {
		rows := f.hintRows()
		for _, c := range f.calls {
			d := r.FirstDivergence
			var hint string
			switch ps := failing(c); {
			case f.work == otherTokens && d != nil && d.Step == c.step && d.Module == c.module:
				hint = look.tokenHint(c)
			case len(ps) == 0:
				clean[c.module] = clean[c.module] || c.report != nil && c.report.Verdict == Pass
				continue
			default:
				if n++; n > hinted {
					continue
				}
				hint = r.hintFor(c, ps, rows, clean[c.module], look)
			}
			if c.report != nil {
				c.report.Hint = hint
			}
			if d != nil && d.Step == c.step && d.Module == c.module && d.Call == c.index {
				d.Hint = hint
			}
		}
	}
}

// hintRows is what is known of a forward's rows.
func (f *forward) hintRows() *tokens {
	if t := tokensOf(f); t != nil && f.work == sameWork {
		return t
	}
	return &tokens{}
}

// failing are the tensors of a call that failed.
func failing(c *call) []*slotPair {
	var out []*slotPair
	for _, p := range c.slots {
		if p.result.verdict() == Fail {
			out = append(out, p)
		}
	}
	return out
}

// suspect is a failing tensor as a matrix, beside what it should be.
type suspect struct {
	*call
	pair       *slotPair
	rows, cols int
	r, t       []float64 // the best reference there is, and the target
	noise      float64   // what rounding explains
	tokens     *tokens   // of the rows; empty where unknown
	wasClean   bool      // the module has passed an earlier forward
	row        []float64 // rel_l2 of every row
}

// rules are tried in order; the first that has something to say is the hint.
var rules = []func(*suspect) string{
	(*suspect).notFinite, (*suspect).embedding, (*suspect).copied, (*suspect).activation, (*suspect).fewRows, (*suspect).rope,
	(*suspect).constantScale, (*suspect).permuted, (*suspect).offset, (*suspect).cache, (*suspect).columns, (*suspect).fromPosition,
	(*suspect).rowScale, (*suspect).columnScale, (*suspect).shifted, (*suspect).coarse, (*suspect).logits, (*suspect).uniform,
}

// clue is what one tensor of a call that failed tells: the first rule that has
// something to say.
type clue struct {
	rule int // after all rules where none has
	hint string
}

// hintFor takes the tensor whose rule comes first.
func (r *Report) hintFor(c *call, ps []*slotPair, rows *tokens, wasClean bool, look looker) string {
	best := clue{rule: len(rules)}
	for _, p := range ps {
		x, ok := look.clue(c, p, rows, wasClean)
		if !ok {
			r.unhinted = append(r.unhinted, p.Key.String())
			return ""
		}
		if x.rule < best.rule {
			best = x
		}
	}
	return best.hint
}

// clueOf tries the rules on a tensor. Integers have one of their own.
func clueOf(c *call, p *slotPair, rows *tokens, wasClean bool) clue {
	if isInteger(p.result) {
		return clue{-1, integerHint(p)}
	}
	if s := newSuspect(c, p, rows, wasClean); s != nil {
		for i, rule := range rules {
			if hint := rule(s); hint != "" {
				return clue{i, hint}
			}
		}
	}
	return clue{rule: len(rules)}
}

// newSuspect reads a tensor and the best reference there is, nil where it
// cannot be read: then there is no hint.
func newSuspect(c *call, p *slotPair, rows *tokens, wasClean bool) *suspect {
	d := p.result.DTypes[1]
	noise := max(leafNoise(d), leafNoise(p.result.DTypes[0]))
	s := &suspect{call: c, pair: p, tokens: &tokens{}, wasClean: wasClean, noise: limit(noise, noise, gain(c.of.Kind, p.result.Gap.Rows())*c.in.gap)}
	reference := p.ref
	if p.replay != nil && p.Direction != inputs { // a replay's inputs are the target's own
		reference, s.noise = p.replay, leafNoise(d)
	}
	if len(reference.Tensors) == 0 || len(p.target.Tensors) == 0 {
		return nil
	}
	loaded := false
	err := il.WithBoth(reference.Tensors[0], p.target.Tensors[0], func(x, y *tensor.Tensor) error {
		loaded = s.load(x, y)
		return nil
	})
	if err != nil || !loaded {
		return nil
	}
	if len(rows.position) == s.rows {
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

// wrongRows are those beyond what rounding makes of single rows.
func (s *suspect) wrongRows() []int {
	var out []int
	for i, e := range s.row {
		if e > rowNoise*s.noise {
			out = append(out, i)
		}
	}
	return out
}

// rowName names a row by its token where that is known.
func (s *suspect) rowName(i int) string {
	if s.tokens.position == nil {
		return fmt.Sprintf("row %d", i)
	}
	t := Token{Request: s.tokens.request[i], Position: s.tokens.position[i]}
	if s.tokens.ids != nil {
		t.ID = &s.tokens.ids[i]
	}
	return fmt.Sprintf("row %d (%s)", i, &t)
}

// input reads the target's own input of a slot, nil where there is none of
// that many values a row.
func (s *suspect) input(path string) []float64 {
	if s.target == nil {
		return nil
	}
	f := findSlot(s.target, il.Inputs, path)
	if f == nil {
		return nil
	}
	var out []float64
	_ = f.With(func(x *tensor.Tensor) error {
		d := len(x.Shape)
		if d == 0 || x.Numel() == 0 || x.DType.ValuesPerElement() != 1 || x.Meta || x.Numel()/x.Shape[d-1] < s.rows {
			return nil
		}
		v := make([]float64, s.rows*x.Shape[d-1])
		if err := x.Float64s(v, 0); err != nil {
			return err
		}
		out = v
		return nil
	})
	return out
}

// integerHint recognises positions that are all off by one number.
func integerHint(p *slotPair) string {
	hint := ""
	if len(p.ref.Tensors) == 0 || len(p.target.Tensors) == 0 {
		return ""
	}
	_ = il.WithBoth(p.ref.Tensors[0], p.target.Tensors[0], func(x, y *tensor.Tensor) error {
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
