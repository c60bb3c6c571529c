package diagnose

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/compare/report"
)

// blockSizes are those of quantized weights' scale factors.
var blockSizes = []int{128, 64, 32, 16, 8}

// alike is how many times the factors of columns must differ more between blocks
// than within them, and alikeFew where there are fewer than 4 blocks.
const (
	alike    = 8
	alikeFew = 30
)

// blockScale is about factors that neighbouring columns share: the scales of a
// weight that is quantized in blocks, or of the parts of a fused one. Where such
// factors differ along k as well, they leave a rest, and yet their mean is that
// of the block.
func (s *suspect) blockScale() string {
	if !s.Of.Kind.IsLinear() || s.rows < 4 {
		return ""
	}
	factors, rest := s.columnFactors()
	if factors == nil {
		return ""
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, k := range factors {
		lo, hi = min(lo, k), max(hi, k)
	}
	if hi-lo < 2*s.noise {
		return ""
	}
	left := "nothing but rounding is left"
	if rest > s.noise {
		left = "what is left (rel_l2 " + report.Num(rest) + ") is of factors along the inputs"
	}
	if runs := equalRuns(factors, (hi-lo)/8); rest <= s.noise && len(runs) > 1 && len(runs) <= maxRuns {
		text := ""
		for _, r := range runs {
			text += fmt.Sprintf(", %.4g in columns %d to %d", mean(factors[r[0]:r[1]]), r[0], r[1]-1)
		}
		return "the scale factors of blocks of columns (a quantized weight's blocks, or the parts of a fused one): the target is its reference times" + text[1:] + ", and " + left
	}
	for _, n := range blockSizes {
		least := float64(alike)
		if s.cols < 4*n {
			least = alikeFew
		}
		if between(factors, n) > least {
			return fmt.Sprintf("the scale factors of a quantized weight's blocks (in another order, or of blocks of another size): columns are their reference times a factor that each %d neighbours share, from %.4g to %.4g, and %s", n, lo, hi, left)
		}
	}
	return ""
}

// columnFactors are the factors that bring the columns nearest to the target's,
// and what is left of all; nil where a column is more another one than a scaled one.
func (s *suspect) columnFactors() (factors []float64, rest float64) {
	r, t := make([]float64, s.rows), make([]float64, s.rows)
	var left, all float64
	for c := range s.cols {
		for i := range s.rows {
			r[i], t[i] = s.r[i*s.cols+c], s.t[i*s.cols+c]
		}
		if zero(r) || zero(t) {
			return nil, 0
		}
		k, e := fit(r, t)
		if e > 0.7 {
			return nil, 0
		}
		n := length(t)
		left += float64(e * n * e * n)
		all += float64(n * n)
		factors = append(factors, k)
	}
	return factors, sqrt(left / all)
}

// equalRuns cuts factors into runs of neighbours that differ by less than step.
func equalRuns(v []float64, step float64) [][2]int {
	var out [][2]int
	for i, k := range v {
		if n := len(out) - 1; n >= 0 && math.Abs(k-v[i-1]) < step {
			out[n][1] = i + 1
		} else {
			out = append(out, [2]int{i, i + 1})
		}
	}
	return out
}

// between is the variance of the means of blocks of n, in units of what that
// within blocks makes of it (Fisher's F); 0 for fewer than 2 blocks.
func between(v []float64, n int) float64 {
	blocks := len(v) / n
	if blocks < 2 || len(v)%n != 0 {
		return 0
	}
	all := mean(v)
	var among, within float64
	for b := range blocks {
		block := v[b*n : (b+1)*n]
		m := mean(block)
		among += float64(n) * float64((m-all)*(m-all)) / float64(blocks-1)
		for _, k := range block {
			within += float64((k-m)*(k-m)) / float64(len(v)-blocks)
		}
	}
	if within == 0 {
		return 0
	}
	return among / within
}
