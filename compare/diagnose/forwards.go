package diagnose

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/internal/plural"
)

// rowsRun says of a module that multiplies or normalises row by row, whether it
// fails only in the forwards of few rows, or of many; "" where it does not.
func rowsRun(c *pairing.Call, fs []*pairing.Forward) string {
	if c.Report == nil || !c.Of.Kind.IsLinear() && !c.Of.Kind.RoundsOnce() || !mostRows(c) {
		return ""
	}
	failLow, failHigh, passLow, passHigh := math.MaxInt, 0, math.MaxInt, 0
	for _, f := range fs {
		for _, x := range f.Calls {
			if x.Module != c.Module || x.Index != c.Index || x.Report == nil || x.Report.Outputs == nil {
				continue
			}
			switch n := rowsOf(x.Report.Outputs); x.Report.Verdict {
			case report.Fail:
				failLow, failHigh = min(failLow, n), max(failHigh, n)
			case report.Pass:
				passLow, passHigh = min(passLow, n), max(passHigh, n)
			}
		}
	}
	switch {
	case passHigh > 0 && passLow > failHigh:
		return fmt.Sprintf("; only where few rows run: wrong with %s, right with %d", plural.Count(failHigh, "row"), passLow)
	case passHigh > 0 && passHigh < failLow:
		return fmt.Sprintf("; only where many rows run: wrong with %s, right with %d", plural.Count(failLow, "row"), passHigh)
	}
	return ""
}

// mostRows reports whether most rows of what a call returned are off, and not a
// few by much.
func mostRows(c *pairing.Call) bool {
	t := c.Report.Outputs
	return t != nil && t.Gap.NonFinite == 0 && (t.Gap.Rows() < 2 || 4*t.Gap.TokenMedian > t.Gap.RelL2)
}

// rowsOf is the number of rows of a tensor.
func rowsOf(t *report.TensorDiff) int {
	n := 1
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		n *= d
	}
	return n
}
