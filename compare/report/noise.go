package report

import (
	"fmt"
	"math"
)

// DescribeNoise says how many times what rounding explains a tensor is off by
// replay, and where.
func DescribeNoise(t *TensorDiff) string {
	n := t.Noise
	s := Amount(n.Worst.RMS) + " times what rounding explains"
	if where := blockOf(t); where != "" {
		s += " " + where
	}
	if n.Worst.Rows*n.Worst.Columns > 1 && n.Max > n.Worst.RMS {
		s += fmt.Sprintf(", a single value up to %s times", Amount(n.Max))
	}
	return s + fmt.Sprintf(" (%s over the whole tensor, where rounding gives 1; local rel_l2 %s)", Amount(n.RMS), Num(t.ReplayGap.RelL2))
}

// TimesNoise is how many times what rounding explains a tensor is off: in its
// least likely place where it fails, else as a whole. NaN where that is unknown.
func TimesNoise(t *TensorDiff) float64 {
	switch {
	case t.Noise == nil:
		return math.NaN()
	case t.Verdict == Fail:
		return t.Noise.Worst.RMS
	}
	return t.Noise.RMS
}

// DescribeDrift says how far a tensor is too large or too small by replay.
func DescribeDrift(t *TensorDiff) string {
	d, size := t.Noise.Drift, "large"
	if d.Mean < 0 {
		size = "small"
	}
	if d.Sum >= d.Rows {
		return fmt.Sprintf("too %s by %s times the noise of a value on average, which over %d of them rounding does not give (%.3g standard deviations; local rel_l2 %s)",
			size, Amount(math.Abs(d.Mean)), t.Noise.Values, d.Sum, Num(t.ReplayGap.RelL2))
	}
	return fmt.Sprintf("every row is too large or too small by a factor of its own (%.3g standard deviations in the root mean square of %d rows, where rounding gives 1; local rel_l2 %s)",
		d.Rows, t.Noise.Rows, Num(t.ReplayGap.RelL2))
}

// blockOf names the rows and the columns of the least likely block, "" for all.
func blockOf(t *TensorDiff) string {
	b := t.Noise.Worst
	columns := t.Shape[len(t.Shape)-1]
	allRows, allColumns := b.Rows == t.Noise.Rows, b.Columns == columns
	switch {
	case allRows && allColumns:
		return ""
	case b.Rows == 1 && b.Columns == 1:
		return fmt.Sprintf("in row %d, column %d", b.Row, b.Column)
	case allColumns:
		return "in " + span("row", b.Row, b.Rows)
	case allRows:
		return "in " + span("column", b.Column, b.Columns)
	}
	return fmt.Sprintf("in %s, %s", span("row", b.Row, b.Rows), span("column", b.Column, b.Columns))
}

// span writes "row 7" or "rows 4 to 7".
func span(what string, first, n int) string {
	if n == 1 {
		return fmt.Sprintf("%s %d", what, first)
	}
	return fmt.Sprintf("%ss %d to %d", what, first, first+n-1)
}
