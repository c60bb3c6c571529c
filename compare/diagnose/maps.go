package diagnose

import (
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/topology"
)

// sinks is about attention whose softmax has, or lacks, a term that belongs to no key:
// that is a factor of each row's and head's own, which is never less than 1, or never more.
func (s *suspect) sinks() string {
	if s.Of.Kind != topology.Attention || s.pair.Direction == report.Inputs || s.rows < 4 {
		return ""
	}
	for heads := 1; heads <= s.cols/4; heads++ { // the fewest that fit: the others follow
		if s.cols%heads != 0 {
			continue
		}
		lo, hi, ok := s.headFactors(s.cols / heads)
		switch {
		case !ok || hi-lo < 8*s.noise:
		case lo >= 1-s.noise:
			return fmt.Sprintf("attention sinks left out: every head of every row is its reference times a factor of its own, from %.3g to %.3g, and none is less than 1", max(lo, 1), hi)
		case hi <= 1+s.noise:
			return fmt.Sprintf("attention sinks, or another term of the softmax that no key has: every head of every row is its reference times a factor of its own, from %.3g to %.3g, and none is more than 1", lo, min(hi, 1))
		default:
			return ""
		}
	}
	return ""
}

// headFactors is the range of the factors of all rows' blocks of w columns; not ok where they
// do not explain the target, or no block's factor is another in another row: a head that
// is scaled as a whole is something else.
func (s *suspect) headFactors(w int) (lo, hi float64, ok bool) {
	heads := s.cols / w
	los, his := slices.Repeat([]float64{math.Inf(1)}, heads), slices.Repeat([]float64{math.Inf(-1)}, heads)
	for row := range s.rows {
		r, t := s.at(row)
		for at := 0; at < s.cols; at += w {
			if zero(r[at:at+w]) && zero(t[at:at+w]) {
				continue
			}
			k, rest := fit(r[at:at+w], t[at:at+w])
			if rest > 2*s.noise {
				return 0, 0, false
			}
			los[at/w], his[at/w] = min(los[at/w], k), max(his[at/w], k)
		}
	}
	for h := range heads {
		ok = ok || his[h]-los[h] > 4*s.noise
	}
	return slices.Min(los), slices.Max(his), ok
}

// softCap is about values that one side caps by c·tanh(x/c).
func (s *suspect) softCap() string {
	if !s.Of.Kind.IsHead() || s.pair.Direction == report.Inputs {
		return ""
	}
	for _, side := range []struct {
		raw, capped []float64
		what        string
	}{{s.t, s.r, "the soft cap was left out: the reference is c·tanh(x/c) of the target"}, {s.r, s.t, "a soft cap: the target is c·tanh(x/c) of the reference"}} {
		at := 0
		for i, x := range side.raw {
			if math.Abs(x) > math.Abs(side.raw[at]) && !math.IsInf(x, 0) {
				at = i
			}
		}
		x, y := math.Abs(side.raw[at]), math.Abs(side.capped[at])
		if !(y < x*(1-2*s.noise)) || y == 0 {
			continue
		}
		lo, hi := y, 1e3*x // of c
		for range 60 {
			if c := (lo + hi) / 2; c*math.Tanh(x/c) > y {
				hi = c
			} else {
				lo = c
			}
		}
		made := make([]float64, len(side.raw))
		for i, x := range side.raw {
			made[i] = lo * math.Tanh(x/lo)
		}
		if k, rest := fit(side.raw, side.capped); relative(side.capped, made) <= s.noise && (rest > 2*s.noise || math.Abs(k-1) < s.noise) {
			return fmt.Sprintf("%s, c being about %.3g, and nothing but rounding is left", side.what, lo)
		}
	}
	return ""
}

// onePlus is about a norm's weight that is taken as w where it is 1+w, or the other way
// round: the sides differ by the normalised row, whose mean square is 1.
func (s *suspect) onePlus() string {
	if !s.Of.Kind.IsNorm() || s.pair.Direction == report.Inputs || s.cols < 4 || s.rows < 1 {
		return ""
	}
	d := make([]float64, s.cols)
	for row := range s.rows {
		r, t := s.at(row)
		for i := range d {
			d[i] = t[i] - r[i]
		}
		root := sqrt(float64(s.cols))
		if size, noise := length(d)/root, s.noise*max(1, length(r)/root, length(t)/root); math.Abs(size-1) > 2*noise {
			return ""
		}
	}
	if k, _ := fit(s.r, s.t); k < 1 {
		return "the norm's weight taken as w, where it is 1+w: the target lacks the normalised row itself, which is 1 in the mean square of every row"
	}
	return "the norm's weight taken as 1+w, where it is w: the target has the normalised row itself in it once more, which is 1 in the mean square of every row"
}
