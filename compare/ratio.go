package compare

import (
	"math"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/tensor"
)

const (
	// DefaultRatioLimit is how many times as far from the exact values as
	// correct rounding a target may be. Measured: legitimate tensor parallel
	// reaches 1.27, noise of 2 % gives 1.8.
	DefaultRatioLimit = 1.5
	// scaleErrors is how many standard errors the scales of target and
	// emulation may be apart: of 10,000 tensors one is beyond 4 by chance.
	scaleErrors = 5
)

// Floor is a tensor's gap in units of what rounding costs.
type Floor struct {
	Target, Emulation     *metric.Gap // of the target and of the emulation against the oracle
	Ratio, Token, Channel float64     // of rel_l2 on the tensor, the worst row and the worst column; NaN where there is none
	// Scale is how far the target's best-fit scale is from the emulation's, in
	// units of what is allowed; NaN below metric.ChannelRows rows.
	Scale float64
}

// lastPlace is the rel_l2 of rounding values of all sizes to the type once:
// a rounding error is uniform in half a unit either way, 1.66e-3 in bfloat16 for
// a normal distribution. Below it a floor is an accident: values that happened
// to be exact.
func lastPlace(d tensor.DType) float64 { return leafNoise(d) / 8e-3 * 1.66e-3 }

// leastScale is the least wrong scale that is called one: an eighth of a
// rounding, and a third of what a wrong rms eps has shown (1.1e-3 in bfloat16).
func leastScale(d tensor.DType) float64 { return leafNoise(d) / 8e-3 * 4e-4 }

func newFloor(d tensor.DType, target, emulation *metric.Gap) *Floor {
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
	f := &Floor{Target: target, Emulation: emulation, Ratio: over(target.RelL2, emulation.RelL2), Token: math.NaN(), Channel: math.NaN(), Scale: math.NaN()}
	if t, e := target.WorstToken, emulation.WorstToken; t != nil && e != nil {
		f.Token = over(t.RelL2, e.RelL2)
	}
	if t, e := target.WorstChannel, emulation.WorstChannel; t != nil && e != nil {
		f.Channel = over(t.RelL2, e.RelL2)
		if s, z := target.Scale, emulation.Scale; s != nil && z != nil {
			allowed := max(leastScale(d), scaleErrors*math.Hypot(s.StdErr, z.StdErr))
			f.Scale = math.Abs(s.MinusOne-z.MinusOne) / allowed
		}
	}
	return f
}

// worst is the ratio that is judged. A column's is for information: of
// hundreds one is always far off.
func (f *Floor) worst() float64 {
	if math.IsNaN(f.Ratio) {
		return 0
	}
	if math.IsNaN(f.Token) {
		return f.Ratio
	}
	return max(f.Ratio, f.Token)
}

func (f *Floor) wrongScale() bool { return f.Scale > 1 }
