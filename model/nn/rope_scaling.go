package nn

import (
	"math"

	"github.com/ilref/ilref/internal/kernel"
)

// Llama3Scaling is the rope scaling of Llama 3.1 and later: low frequencies
// are divided by the factor, high ones kept, those between blended
// (vLLM v0.10.2 rotary_embedding/llama3_rope.py).
type Llama3Scaling struct {
	Factor, LowFreqFactor, HighFreqFactor float64
	OriginalMaxPosition                   float64
}

// Scale implements Scaling.
func (s Llama3Scaling) Scale(_ Rope, inv []float64, r func(float64) float64) {
	for j, f := range inv {
		wavelen := r(2 * math.Pi / f)
		switch {
		case wavelen < s.OriginalMaxPosition/s.HighFreqFactor:
		case wavelen > s.OriginalMaxPosition/s.LowFreqFactor:
			inv[j] = r(f / s.Factor)
		default:
			smooth := 0.0
			if s.LowFreqFactor != s.HighFreqFactor {
				smooth = r(r(r(s.OriginalMaxPosition/wavelen)-s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor))
			}
			inv[j] = r(r(r(r(1-smooth)*f)/s.Factor) + r(smooth*f))
		}
	}
}

// YarnScaling blends interpolated and extrapolated frequencies by how often a
// dimension turns within the original context (arXiv 2309.00071; vLLM v0.10.2
// rotary_embedding/yarn_scaling_rope.py).
type YarnScaling struct {
	Factor, OriginalMaxPosition float64
	BetaFast, BetaSlow          float64
	ExtrapolationFactor         float64
	Truncate                    bool // round the bounds of the ramp outwards
}

// Scale implements Scaling.
func (s YarnScaling) Scale(rope Rope, inv []float64, r func(float64) float64) {
	low, high := s.bound(rope, s.BetaFast), s.bound(rope, s.BetaSlow)
	if s.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(rope.Dim-1))
	if low == high {
		high += 0.001
	}
	for j := range inv {
		ramp := min(max(r(r(float64(j)-low)/r(high-low)), 0), 1)
		mask := r(r(1-ramp) * s.ExtrapolationFactor)
		interpolated := r(1 / r(s.Factor*rope.power(j, r)))
		inv[j] = r(r(interpolated*r(1-mask)) + r(inv[j]*mask))
	}
}

// bound is the dimension that turns a number of times in the original context.
func (s YarnScaling) bound(rope Rope, turns float64) float64 {
	return float64(rope.Dim) * kernel.Log(s.OriginalMaxPosition/(turns*2*math.Pi)) / (2 * kernel.Log(rope.Theta))
}

// YarnMScale is the factor on cosines and sines that yarn recommends.
func YarnMScale(factor, mscale float64) float64 {
	if factor <= 1 {
		return 1
	}
	return float64(0.1*mscale*kernel.Log(factor)) + 1
}

// LongRopeScaling divides each frequency by a factor of its own (Phi-3;
// arXiv 2402.13753; vLLM v0.10.2 rotary_embedding/phi3_long_rope_scaled_rope.py).
// It is used by pointer, so that Ropes can be compared.
type LongRopeScaling struct {
	Factors []float64 // Dim/2
}

// Scale implements Scaling.
func (s *LongRopeScaling) Scale(rope Rope, inv []float64, r func(float64) float64) {
	for j := range inv {
		inv[j] = r(1 / r(r(s.Factors[j])*rope.power(j, r)))
	}
}

// LongRopeByLength is longrope as transformers computes it: the factors are those
// of contexts up to a length, or longer ones, by the positions so far
// (modeling_rope_utils.py longrope_frequency_update; of a batch, by the longest).
type LongRopeByLength struct {
	Short, Long *LongRopeScaling
	Original    int // positions that the short factors are for
}

// Scale implements Scaling: nothing beyond the factors that are in force.
func (LongRopeByLength) Scale(Rope, []float64, func(float64) float64) {}

func (s LongRopeByLength) at(rope Rope, n int) Rope {
	rope.Scaling = s.Short
	if n > s.Original {
		rope.Scaling = s.Long
	}
	return rope
}

// LongRopeMScale is the factor on cosines and sines that longrope recommends.
func LongRopeMScale(factor, originalMaxPosition float64) float64 {
	if factor <= 1 {
		return 1
	}
	return math.Sqrt(1 + kernel.Log(factor)/kernel.Log(originalMaxPosition))
}

// DynamicTheta is the base of dynamic NTK scaling for contexts of a length
// (transformers modeling_rope_utils.py; vLLM takes maxPosition*factor for all
// lengths).
func DynamicTheta(theta, factor, length, maxPosition float64, dim int) float64 {
	return theta * kernel.Pow(float64(factor*length/maxPosition)-(factor-1), float64(dim)/float64(dim-2))
}

// DynamicScaling is transformers' dynamic NTK scaling: a context longer than
// the model's positions raises theta by its length.
type DynamicScaling struct {
	Factor, MaxPosition float64
}

// Scale implements Scaling: nothing beyond the theta that is in force.
func (DynamicScaling) Scale(Rope, []float64, func(float64) float64) {}

func (s DynamicScaling) at(rope Rope, n int) Rope {
	rope.Scaling = nil
	if length := float64(n); length > s.MaxPosition {
		rope.Theta = DynamicTheta(rope.Theta, s.Factor, length, s.MaxPosition, rope.Dim)
	}
	return rope
}
