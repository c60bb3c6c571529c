package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ilref/ilref/topology"
)

// permuted recognises values that are all there, at other places.
func (s *suspect) permuted() string {
	lo, hi := s.wrongColumns()
	if hi-lo < 2 {
		return ""
	}
	where := ""
	if hi-lo < s.cols {
		where = fmt.Sprintf(" of columns %d to %d, the others being right", lo, hi-1)
	}
	if h := (hi - lo) / 2; (hi-lo)%2 == 0 && s.moved(lo, hi, func(i int) int { return (i + h) % (2 * h) }) {
		what := "two blocks in the other order"
		switch whole := hi-lo == s.cols; {
		case s.Of.Kind == topology.QKVLinear && hi == s.cols && !whole:
			what = "k and v in the other order"
		case s.Of.Kind == topology.QKVLinear || s.Of.Kind == topology.Attention:
			what = "heads in another order"
		case s.Of.Kind == topology.MergedLinear && whole, s.Of.Kind == topology.Activation && whole:
			what = "gate and up in the other order"
		}
		return fmt.Sprintf("%s: the two halves%s are swapped", what, where)
	}
	for n := 2; n <= (hi-lo)/2; n++ { // heads, whatever their size
		if w := (hi - lo) / n; (hi-lo)%n == 0 && w > 1 && s.blocksMoved(lo, hi, w) {
			return fmt.Sprintf("heads in another order: the blocks of %d columns%s are all there, at other places", w, where)
		}
	}
	if s.sameValues(lo, hi) {
		return fmt.Sprintf("permuted rows of the weight (rope style of q and k, or the order of a fused one): every row holds the same values%s in another order", where)
	}
	return ""
}

// wrongColumns is the least range of columns outside which all are right.
func (s *suspect) wrongColumns() (lo, hi int) {
	lo, hi = s.cols, 0
	for c, e := range s.columnGaps() {
		if !s.right(e) {
			lo, hi = min(lo, c), c+1
		}
	}
	if lo > hi {
		return 0, 0
	}
	return lo, hi
}

// columnGaps is rel_l2 of every column, in units of the larger of the column
// and the typical one: a column of almost nothing is not wrong by noise.
func (s *suspect) columnGaps() []float64 {
	dd, rr := make([]float64, s.cols), make([]float64, s.cols)
	total := 0.0
	for i, a := range s.r {
		d := s.t[i] - a
		dd[i%s.cols] += float64(d * d)
		rr[i%s.cols] += float64(a * a)
		total += float64(a * a)
	}
	out := make([]float64, s.cols)
	for c := range out {
		if dd[c] > 0 {
			out[c] = sqrt(dd[c] / max(rr[c], total/float64(s.cols)))
		}
	}
	return out
}

// moved reports whether the target's column lo+i is the reference's lo+from(i).
func (s *suspect) moved(lo, hi int, from func(int) int) bool {
	var dd, rr float64
	for row := range s.rows {
		r, t := s.at(row)
		for i := range hi - lo {
			d := t[lo+i] - r[lo+from(i)]
			dd += float64(d * d)
			rr += float64(t[lo+i] * t[lo+i])
		}
	}
	return rr > 0 && sqrt(dd/rr) <= s.noise
}

// blocksMoved reports whether every block of w columns is one of the
// reference's, each taken once, and not all where they were.
func (s *suspect) blocksMoved(lo, hi, w int) bool {
	n := (hi - lo) / w
	taken := make([]bool, n)
	moved := false
	for b := range n {
		found := -1
		for a := range n {
			if !taken[a] && s.sameBlock(lo+a*w, lo+b*w, w) {
				found = a
				break
			}
		}
		if found < 0 {
			return false
		}
		taken[found] = true
		moved = moved || found != b
	}
	return moved
}

func (s *suspect) sameBlock(from, to, w int) bool {
	var dd, rr float64
	for row := range s.rows {
		r, t := s.at(row)
		for i := range w {
			d := t[to+i] - r[from+i]
			dd += float64(d * d)
			rr += float64(t[to+i] * t[to+i])
		}
		if sqrt(dd) > 2*s.noise*sqrt(rr) {
			return false // no need to read on
		}
	}
	return rr > 0
}

// sameValues reports whether every row has the same values in a range, at other
// places: as far off as unrelated values are.
func (s *suspect) sameValues(lo, hi int) bool {
	for row := range s.rows {
		r, t := s.at(row)
		a, b := slices.Clone(r[lo:hi]), slices.Clone(t[lo:hi])
		if relative(a, b) < 0.3 && !s.right(s.row[row]) {
			return false
		}
		slices.Sort(a)
		slices.Sort(b)
		if !s.right(relative(a, b)) {
			return false
		}
	}
	return hi-lo >= 8
}

// columnScale is about a factor of each column's own.
func (s *suspect) columnScale() string {
	if s.rows < 4 || s.cols < 4 {
		return ""
	}
	r, t := make([]float64, s.rows), make([]float64, s.rows)
	lo, hi := math.Inf(1), math.Inf(-1)
	for c := range s.cols {
		for i := range s.rows {
			r[i], t[i] = s.r[i*s.cols+c], s.t[i*s.cols+c]
		}
		if zero(r) && zero(t) {
			continue
		}
		k, rest := fit(r, t)
		if rest > s.noise {
			return ""
		}
		lo, hi = min(lo, k), max(hi, k)
	}
	if hi-lo < s.noise {
		return ""
	}
	what := "the scales of a quantized weight, one for each channel"
	if s.Of.Kind.RoundsOnce() {
		what = "another norm's weight"
	}
	return fmt.Sprintf("%s: every column is its reference times a factor, from %.4g to %.4g, and nothing but rounding is left", what, lo, hi)
}

// columns is about blocks of columns.
func (s *suspect) columns() string {
	wrong := s.wrongColumnList()
	n, runs := len(wrong), runsOf(wrong)
	if s.cols < 4 || n < 1 || n > 3*s.cols/4 || n > s.cols/2 && wrong[0] == 0 || len(runs) > maxRuns && !dense(wrong) || !s.clearColumns() {
		return ""
	}
	if n == 1 {
		return fmt.Sprintf("one output channel: only column %d is wrong, the other %d are within rounding", wrong[0], s.cols-1)
	}
	what := "one block of columns (the part of one rank, or of one of the fused weights)"
	switch {
	case s.Of.Kind == topology.Attention:
		what = "a block of heads (one rank's, or which kv head a query head reads)"
	case len(runs) == n:
		what = "single output channels"
	case len(runs) > 1 && len(runs) <= maxRuns:
		what = "some blocks of columns (the parts of ranks, of heads, or of some of the fused weights)"
	}
	return fmt.Sprintf("%s: only %s of %d are wrong, the others are within rounding", what, s.columnRanges(), s.cols)
}

// maxRuns is how many ranges of columns are a pattern, and are named.
const maxRuns = 4

// wrongColumnList lists the columns that are wrong.
func (s *suspect) wrongColumnList() []int {
	var out []int
	for c, e := range s.columnGaps() {
		if !s.right(e) {
			out = append(out, c)
		}
	}
	return out
}

// clearColumns reports whether the typical wrong column is well beyond the worst
// of the others, so that chance did not choose them.
func (s *suspect) clearColumns() bool {
	var wrong []float64
	most := 0.0
	for _, e := range s.columnGaps() {
		if s.right(e) {
			most = max(most, e)
		} else {
			wrong = append(wrong, e)
		}
	}
	slices.Sort(wrong)
	return len(wrong) > 0 && wrong[len(wrong)/2] > 2*most
}

// runsOf are the runs of neighbours among ascending numbers: each from its first
// to the one behind its last.
func runsOf(n []int) [][2]int {
	var out [][2]int
	for _, c := range n {
		if k := len(out) - 1; k >= 0 && out[k][1] == c {
			out[k][1] = c + 1
		} else {
			out = append(out, [2]int{c, c + 1})
		}
	}
	return out
}

// dense reports whether most columns between the first and the last are wrong.
func dense(wrong []int) bool {
	return 4*len(wrong) >= 3*(wrong[len(wrong)-1]-wrong[0]+1)
}

// columnRanges names the columns that are wrong; a range is named only where
// all of it is.
func (s *suspect) columnRanges() string {
	wrong := s.wrongColumnList()
	runs := runsOf(wrong)
	switch {
	case len(wrong) == s.cols:
		return "all columns"
	case len(runs) > maxRuns:
		first, last := wrong[0], wrong[len(wrong)-1]
		return fmt.Sprintf("%d of the %d columns from %d to %d", len(wrong), last-first+1, first, last)
	}
	var out []string
	for _, r := range runs {
		if r[1]-r[0] == 1 {
			out = append(out, fmt.Sprint(r[0]))
		} else {
			out = append(out, fmt.Sprintf("%d to %d", r[0], r[1]-1))
		}
	}
	if n := len(out) - 1; n > 0 {
		out = []string{strings.Join(out[:n], ", ") + " and " + out[n]}
	}
	return "columns " + strings.Join(out, "")
}
