package rounding

import (
	"math"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/tensor"
)

// DefaultRatioLimit is how many times as far from the exact values as correct
// rounding a target may be. Measured: legitimate tensor parallel reaches 1.37,
// noise of 2 % gives 1.8. Split-K with rounded partial sums reaches 1.58 in single
// rows, so what is over must also be more than a module may add in another order
// (leafNoise).
const DefaultRatioLimit = 1.5

const (
	// scaleErrors is how many standard errors the scale of the target to the
	// emulation may be off, and scaleSigns how far rows may agree on its
	// direction: 16 rows out of 16 by chance once in 30,000 times.
	ScaleErrors = 5
	scaleSigns  = 4
	// rowNoise is what one row may be off by, in units of a tensor's noise.
	// Measured on the fault suite: at most 1.3.
	RowNoise = 2
	// SliceNoise is what one row or column (of ChannelRows and more) of a module
	// with equal inputs may be off by, in the same units. Measured: at most 0.6,
	// under split-K and tensor parallel, also beside a value of 3000.
	SliceNoise = 2
)

// NoiseRatio is a tensor's gap in units of what rounding costs.
type NoiseRatio struct {
	Target, Emulation     *metric.Gap // of the target and of the emulation against the oracle
	EmulationGap          *metric.Gap // of the target against the emulation
	Ratio, Token, Channel float64     // of rel_l2 on the tensor, the worst row and the worst column; NaN where there is none
	// Scale is the best-fit scale of the target to the emulation, nil below
	// metric.ChannelRows rows. They are taken as a pair, for their rounding
	// errors are mostly the same and cancel.
	Scale *metric.Scale
	Least float64         // the least Scale that is wrong
	Noise float64         // of one module in the types of the target and the emulation
	Types [2]tensor.DType // of the emulation, of the target
	Whole float64         // gap of the target to the emulation with the rows that EmulationGap is without; 0 for none
}

// lastPlace is the rel_l2 of rounding values of all sizes to the type once:
// a rounding error is uniform in half a unit either way, 1.66e-3 in bfloat16 for
// a normal distribution. Below it a floor is an accident: values that happened
// to be exact.
func lastPlace(d tensor.DType) float64 { return Noise(d) / 8e-3 * 1.66e-3 }

// LeastScale is the least wrong scale that is called one: an eighth of a
// rounding, and a third of what a wrong rms eps has shown (1.1e-3 in bfloat16).
func LeastScale(d tensor.DType) float64 { return Noise(d) / 8e-3 * 4e-4 }

// NewNoiseRatio takes the gaps of the target and of the emulation to the oracle, and
// of the target to the emulation, whose types are of the emulation and of the
// target.
func NewNoiseRatio(target, emulation, apart *metric.Gap, types [2]tensor.DType) *NoiseRatio {
	d := types[1]
	least := lastPlace(d)
	over := func(t, e float64) float64 {
		switch r := t / max(e, least); {
		case t == 0:
			return 0
		case math.IsInf(e, 1), math.IsInf(t, 1) && target.NonFinite == 0:
			return math.NaN() // of a row or column of zeros: tells nothing
		default:
			return r
		}
	}
	f := &NoiseRatio{
		Target: target, Emulation: emulation, EmulationGap: apart,
		Ratio: over(target.RelL2, emulation.RelL2), Token: math.NaN(), Channel: math.NaN(),
		Least: LeastScale(d), Noise: max(Noise(d), Noise(types[0])), Types: types,
	}
	if t, e := target.WorstToken, emulation.WorstToken; t != nil && e != nil {
		f.Token = over(t.RelL2, e.RelL2)
	}
	if t, e := target.WorstChannel, emulation.WorstChannel; t != nil && e != nil {
		f.Channel = over(t.RelL2, e.RelL2)
		f.Scale = apart.Scale
	}
	return f
}

// Leaves reports whether the tensor or its worst token is farther off than the
// ratio allows and the excess explains. A column's ratio is for information: of
// hundreds one is always far off.
func (f *NoiseRatio) Leaves(ratio, excess float64) bool {
	return f.TensorLeaves(ratio, excess) || f.TokenLeaves(ratio, excess)
}

// TensorLeaves asks many rows: few are a draw each of the target's noise and of
// the emulation's, of which the one may be twice the other.
func (f *NoiseRatio) TensorLeaves(ratio, excess float64) bool {
	tensor, _ := f.excess()
	return f.Ratio > ratio && tensor > excess && (f.Target.WorstToken == nil || f.Target.Rows() >= metric.ChannelRows)
}

// TokenLeaves asks the worst row.
func (f *NoiseRatio) TokenLeaves(ratio, excess float64) bool {
	_, token := f.excess()
	return f.Token > ratio && token > excess
}

// TypicalEmulationGap is the gap to the emulation that the tensor hands on.
func (f *NoiseRatio) TypicalEmulationGap() float64 { return Typical(f.EmulationGap) }

// WorstRow is the gap to the emulation of the worst row.
func (f *NoiseRatio) WorstRow() float64 { return WorstRow(f.EmulationGap) }

// excess is the part of the gap that rounding does not make, being independent
// of it: of the tensor and of its worst token.
func (f *NoiseRatio) excess() (tensor, token float64) {
	over := func(t, e float64) float64 { return math.Sqrt(max(0, float64(t*t)-float64(e*e))) }
	if !math.IsNaN(f.Ratio) {
		tensor = over(f.Target.RelL2, f.Emulation.RelL2)
	}
	if !math.IsNaN(f.Token) {
		token = over(f.Target.WorstToken.RelL2, f.Emulation.WorstToken.RelL2)
	}
	return tensor, token
}

// WorstExcess is the larger of both.
func (f *NoiseRatio) WorstExcess() float64 {
	a, b := f.excess()
	return max(a, b)
}

// WrongScale reports a scale that rounding does not explain.
func (f *NoiseRatio) WrongScale() bool {
	s := f.Scale
	return s != nil && math.Abs(s.MinusOne) > max(f.Least, ScaleErrors*s.StdErr) && math.Abs(s.Signs) >= scaleSigns
}
