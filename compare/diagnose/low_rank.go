package diagnose

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/ilref/ilref/compare/report"
)

const (
	// rankRows is how many rows a rank is estimated on.
	rankRows = 128
	// rankEnergy is the share of the energy that a rank must hold.
	rankEnergy = 0.9
)

// lowRank is about an update of a weight: the error of x·Wᵀ has then the rank of
// the update, however many rows and columns there are, and what is wrong with all
// of W has that of x. Rows are brought to one length first, which keeps ranks.
func (s *suspect) lowRank() string {
	if !s.Of.Kind.IsLinear() {
		return ""
	}
	wrong := s.wrongColumnList()
	rows := min(s.rows, rankRows)
	x := s.input("0")
	if len(wrong) < 8 || rows < 8 || len(x) == 0 || !s.mostRowsWrong() {
		return ""
	}
	width := len(x) / s.rows
	unit := make([]float64, rows)
	in, err := make([]float64, rows*width), make([]float64, rows*len(wrong))
	for i := range rows {
		v := x[i*width : (i+1)*width]
		if unit[i] = length(v); unit[i] == 0 {
			return ""
		}
		for c, a := range v {
			in[i*width+c] = a / unit[i]
		}
		r, t := s.at(i)
		for k, c := range wrong {
			err[i*len(wrong)+k] = (t[c] - r[c]) / unit[i]
		}
	}
	of, share := effectiveRank(err, rows, len(wrong))
	if all, _ := effectiveRank(in, rows, width); of == 0 || 2*of > all || 4*of > len(wrong) {
		return ""
	}
	return fmt.Sprintf("a low-rank update of the weight (a LoRA that is missing, of another adapter or scale, or in the weight twice): rank %d explains %s of the error, where the input has more than %d, in %s",
		of, report.Percent(share), 2*of-1, s.columnRanges())
}

// mostRowsWrong reports whether at least half of the rows, and 8, are beyond
// rounding: of a few rows any error has a low rank.
func (s *suspect) mostRowsWrong() bool {
	n := 0
	for _, e := range s.row {
		if !s.right(e) {
			n++
		}
	}
	return n >= 8 && 2*n >= s.rows
}

// effectiveRank is how many singular values of a (rows, columns) matrix hold
// rankEnergy of its energy, and the share that they hold; 0 of a matrix of zeros,
// or of what is not finite.
func effectiveRank(m []float64, rows, columns int) (int, float64) {
	a := mat.NewDense(rows, columns, m)
	var gram mat.SymDense
	gram.SymOuterK(1, a)
	total := mat.Trace(&gram)
	var e mat.EigenSym
	if !(total > 0) || math.IsInf(total, 1) || !e.Factorize(&gram, false) {
		return 0, 0
	}
	values := e.Values(nil)
	slices.Reverse(values)
	sum := 0.0
	for k, v := range values {
		if sum += v; sum >= rankEnergy*total {
			return k + 1, sum / total
		}
	}
	return rows, 1
}
