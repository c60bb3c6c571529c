package diagnose

import (
	"fmt"
	"math"
	"slices"

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

// columns is about one block of columns.
func (s *suspect) columns() string {
	lo, hi := s.wrongColumns()
	if s.cols < 4 || hi-lo < 1 || hi-lo > s.cols/2 && (lo == 0 || hi-lo > 3*s.cols/4) {
		return ""
	}
	if hi-lo == 1 {
		return fmt.Sprintf("one output channel: only column %d is wrong, the other %d are within rounding", lo, s.cols-1)
	}
	what := "one block of columns (the part of one rank, or of one of the fused weights)"
	if s.Of.Kind == topology.Attention {
		what = "a block of heads (one rank's, or which kv head a query head reads)"
	}
	return fmt.Sprintf("%s: only columns %d to %d of %d are wrong, the others are within rounding", what, lo, hi-1, s.cols)
}
