package diagnose

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

// notFinite is about where NaN and infinities begin.
func (s *suspect) notFinite() string {
	g := s.pair.Result.Gap
	if s.pair.Result.ReplayGap != nil {
		g = s.pair.Result.ReplayGap
	}
	if g.NonFinite == 0 {
		return ""
	}
	first, n, nan := -1, 0, 0
	for i, b := range s.t {
		if a := s.r[i]; b-b != 0 && a-a == 0 {
			if n++; first < 0 {
				first = i
			}
			if b != b {
				nan++
			}
		}
	}
	if first < 0 {
		return ""
	}
	what := "an overflow, or a division by zero"
	switch half := s.pair.Result.DTypes[1] == tensor.Float16; {
	case nan == n && n == 1:
		what = "memory that was not written, or a single broken value"
	case nan == 0 && half:
		what = fmt.Sprintf("an overflow of float16, whose largest value is 65504 (of a sum on the way, where the result itself would fit): %s where %s belongs", report.Shown(s.t[first]), report.Shown(s.r[first]))
	case half:
		what = "an overflow of float16, whose largest value is 65504, or a division by zero"
	}
	return fmt.Sprintf("%s: what is not finite begins here, in %s of the target, first in %s, column %d, and the inputs are finite", what, plural.Count(n, "value"), s.rowName(first/s.cols), first%s.cols)
}

// embedding is about wrong rows of the table.
func (s *suspect) embedding() string {
	if s.Of.Kind != topology.Embedding {
		return ""
	}
	wrong := map[int]bool{}
	row := -1
	for i, e := range s.row {
		if e > 0 {
			row = i
			if s.tokens.Ids != nil {
				wrong[s.tokens.Ids[i]] = true
			}
		}
	}
	switch _, t := s.at(max(row, 0)); {
	case row < 0 || len(wrong) != 1:
		return ""
	case zero(t):
		return fmt.Sprintf("a row of the embedding that was not loaded: it is zero for token %d alone", s.tokens.Ids[row])
	default:
		return fmt.Sprintf("a wrong row of the embedding: token %d alone looks up other values", s.tokens.Ids[row])
	}
}

func zero(v []float64) bool {
	for _, x := range v {
		if x != 0 {
			return false
		}
	}
	return true
}

// copied is about an output that is an input as it came.
func (s *suspect) copied() string {
	if s.pair.Direction == report.Inputs {
		return ""
	}
	for _, slot := range []string{"0", "1", "2"} {
		in := s.input(slot)
		if len(in) == len(s.t) && relative(s.t, in) == 0 && relative(s.r, in) > s.noise && !zero(in) {
			if s.Of.Kind == topology.Rope {
				return "the rotary embedding was not applied: this output is its input " + slot + " as it came"
			}
			return "something was left out (a residual that is not added, a module that is skipped): the output is input " + slot + " as it came"
		}
	}
	return ""
}

// fewRows is about single rows in a tensor of many.
func (s *suspect) fewRows() string {
	wrong := s.wrongRows()
	if s.rows < 4 || len(wrong) == 0 || len(wrong) > max(1, s.rows/8) {
		return ""
	}
	for _, i := range wrong {
		if _, t := s.at(i); !zero(t) {
			if len(wrong) == 1 {
				return fmt.Sprintf("one row (a padding row, or a slot that another request wrote): only %s is wrong, the other %d are within rounding", s.rowName(i), s.rows-1)
			}
			if s.tokens.Position == nil {
				return fmt.Sprintf("single rows: %d of %d are wrong, first %s, the others are within rounding", len(wrong), s.rows, s.rowName(wrong[0]))
			}
			return ""
		}
	}
	return fmt.Sprintf("a row that was not written: %s is zero in the target", s.rowName(wrong[0]))
}

// rope tells the ways in which a rotation can be wrong by what it keeps: the
// length of each row, but for the factor of yarn and longrope.
func (s *suspect) rope() string {
	if s.Of.Kind != topology.Rope || length(s.r) == 0 {
		return ""
	}
	factor, but := length(s.t)/length(s.r), ""
	if math.Abs(factor-1) <= s.noise {
		factor = 1
	} else {
		but = fmt.Sprintf(", but for a factor of %.4g (the attention factor of yarn or longrope)", factor)
	}
	if !s.keepsNorms(factor) {
		return ""
	}
	zeroRight, growing := s.positions()
	start := ""
	if zeroRight {
		start = "position 0 is right, "
	}
	switch pair := s.turnedPairs(factor); {
	case pair != "" && growing, pair != "" && but != "":
		return fmt.Sprintf("rope theta or rope scaling: %sthe error %s, and the length of every rotated pair %s is kept%s",
			start, map[bool]string{true: "grows with the position", false: "is of all positions"}[growing], pair, but)
	case pair != "":
		return fmt.Sprintf("rotation by other angles (rope theta, rope scaling or positions): %sthe length of every rotated pair %s is kept", start, pair)
	default:
		return fmt.Sprintf("rope style (neighbours against halves), or permuted rows of q and k: %sthe length of every row is kept, that of the pairs is not%s", start, but)
	}
}

// turnedPairs are the pairs of values that turn together, in words: halves of heads, or
// neighbours where the reference turns these; "" for none.
func (s *suspect) turnedPairs(factor float64) string {
	head := s.pairs(factor)
	switch {
	case s.turnsNeighbours() && s.keepsNeighbours(s.r, s.t, factor):
		return "(2i, 2i+1)"
	case head > 0:
		return fmt.Sprintf("(i, i+%d)", head/2)
	}
	return ""
}

// turnsNeighbours reports whether the reference's rope turns neighbours.
func (s *suspect) turnsNeighbours() bool {
	in := s.input(map[string]string{"0": "1", "1": "2"}[s.pair.Slot]) // positions come first
	return s.Of.Kind == topology.Rope && len(in) == len(s.r) && length(in) > 0 && s.keepsNeighbours(in, s.r, length(s.r)/length(in))
}

// keepsNeighbours reports whether pairs of neighbours keep their length, times a factor.
func (s *suspect) keepsNeighbours(from, to []float64, factor float64) bool {
	bad, total := 0.0, 0.0
	for i := 0; i+1 < len(from) && s.cols%2 == 0; i += 2 {
		a, b := factor*math.Hypot(from[i], from[i+1]), math.Hypot(to[i], to[i+1])
		bad += float64((a - b) * (a - b))
		total += float64(a * a)
	}
	return total > 0 && math.Sqrt(bad) <= s.noise*math.Sqrt(total)
}

// rotated is about queries or keys that arrive at attention turned on one side alone, where
// no rope is recorded before it.
func (s *suspect) rotated() string {
	if s.Of.Kind != topology.Attention || s.pair.Direction != report.Inputs || s.pair.Slot != "0" && s.pair.Slot != "1" || length(s.r) == 0 || !s.keepsNorms(1) {
		return ""
	}
	pair := s.turnedPairs(1)
	if pair == "" {
		return ""
	}
	return fmt.Sprintf("a rotation of queries and keys on one side alone (a layer without a rope that has one, or the other way round): the length of every pair %s is kept", pair)
}

// keepsNorms reports whether all rows keep their length, times a factor.
func (s *suspect) keepsNorms(factor float64) bool {
	for i := range s.rows {
		r, t := s.at(i)
		if a := factor * length(r); math.Abs(a-length(t)) > s.noise*a {
			return false
		}
	}
	return true
}

func length(v []float64) float64 {
	n := 0.0
	for _, x := range v {
		n += float64(x * x)
	}
	return math.Sqrt(n)
}

// pairs finds the head size of which the values i and i+half turn together, 0
// for none: the smallest would do for any, so the largest that fits is taken.
func (s *suspect) pairs(factor float64) int {
	for head := min(s.cols, 512); head >= 4; head -= 2 {
		if s.cols%head == 0 && s.keepsPairs(head, factor) {
			return head
		}
	}
	return 0
}

func (s *suspect) keepsPairs(head int, factor float64) bool {
	bad, total := 0.0, 0.0
	for lo := 0; lo < len(s.r); lo += head {
		for i := lo; i < lo+head/2; i++ {
			a, b := factor*math.Hypot(s.r[i], s.r[i+head/2]), math.Hypot(s.t[i], s.t[i+head/2])
			bad += float64((a - b) * (a - b))
			total += float64(a * a)
		}
	}
	return math.Sqrt(bad) <= s.noise*math.Sqrt(total)
}

// positions reports whether the rows at position 0 are right, and whether
// later ones are worse.
func (s *suspect) positions() (zeroRight, growing bool) {
	if s.tokens.Position == nil {
		return false, false
	}
	var early, late []float64
	last := 0
	for _, p := range s.tokens.Position {
		last = max(last, p)
	}
	zeros := 0
	for i, p := range s.tokens.Position {
		switch {
		case p == 0:
			zeros++
			if !s.right(s.row[i]) {
				return false, false
			}
		case 2*p <= last:
			early = append(early, s.row[i])
		default:
			late = append(late, s.row[i])
		}
	}
	return zeros > 0, len(early) > 0 && len(late) > 0 && mean(late) > mean(early)
}

func mean(v []float64) float64 {
	n := 0.0
	for _, x := range v {
		n += x
	}
	return n / float64(max(1, len(v)))
}

// cache is about rows that read what earlier steps have stored.
func (s *suspect) cache() string {
	h := s.share()
	if s.Of.Kind != topology.Attention || !s.wasClean || s.tokens.Position == nil || len(s.wrongRows()) > 0 && h.lo == 0 {
		return ""
	}
	from := h.lo
	if len(s.wrongRows()) == 0 {
		from = s.tokens.Position[0]
	}
	return fmt.Sprintf("the kv cache (its dtype, slots or block table): this module is right in earlier steps, which began at position 0, and wrong from position %d on, where it reads what was stored", from)
}

// onlyLastRight reports whether of each request's rows the last one is right and
// most others are not.
func (s *suspect) onlyLastRight() bool {
	wrong := 0
	for i, p := range s.tokens.Position {
		last := i+1 == s.rows || s.tokens.Request[i+1] != s.tokens.Request[i]
		switch {
		case !s.right(s.row[i]):
			if wrong++; last {
				return false
			}
		case !last && p == 0:
			return false // it should not have seen the next one
		}
	}
	return s.rows >= 4 && 2*wrong > s.rows
}

// fromPosition is about everything from one position on.
func (s *suspect) fromPosition() string {
	if s.tokens.Position == nil || s.rows < 3 {
		return ""
	}
	first, lastRight := math.MaxInt, -1
	for i, p := range s.tokens.Position {
		if s.right(s.row[i]) {
			lastRight = max(lastRight, p)
		} else {
			first = min(first, p)
		}
	}
	if first == math.MaxInt {
		return ""
	}
	if s.Of.Kind == topology.Attention && s.onlyLastRight() {
		return "a mask that is off by one, so that a token sees the next: the last position of the prompt, which has none, is right, and those before it are wrong"
	}
	if lastRight < 0 || lastRight >= first || first == 0 {
		return ""
	}
	switch {
	case first == 1 && s.Of.Kind != topology.Attention:
		return ""
	case first == 1:
		return "attention's scale, soft cap or mask, or which keys it reads: position 0, which sees itself alone, is right, and all later ones are wrong"
	case s.tokens.Cuts[first]:
		return fmt.Sprintf("from the second chunk on: the cache or the context of a prompt that one session ran in chunks: positions up to %d are right, from %d on, where a chunk begins, they are wrong", lastRight, first)
	}
	return fmt.Sprintf("a window, mask or context limit of about %d: positions up to %d are right, from %d on they are wrong", first, lastRight, first)
}
