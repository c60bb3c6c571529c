package metric

import (
	"context"
	"math"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// Logits compares what rows of logits are for: the token they choose and the
// distribution they give.
type Logits struct {
	Rows  int `json:"rows"`
	Agree int `json:"agree"` // rows with the same first largest value
	// NearTies are rows that do not agree, but where the reference prefers its
	// choice to the target's by no more than TieNoise times the row's noise.
	NearTies int `json:"near_ties"`
	// Margin is the reference's top1 - top2 in the row where it is smallest
	// against the row's noise, Noise that noise: the deviation that a normal
	// distribution of the row's mean |d| has, which a few wrong values do not move.
	Margin float64 `json:"margin"`
	Noise  float64 `json:"noise"`
	KL     float64 `json:"kl"` // mean and largest KL(reference ‖ target) of a row, in nats
	MaxKL  float64 `json:"max_kl"`
}

// TieNoise is how many times its noise two logits of a row are apart by chance
// alone: their difference has √2 of one's deviation, and 4 of those are beyond
// what a vocabulary's few candidates reach.
const TieNoise = 4 * math.Sqrt2

// maxVocab bounds the two rows that are held.
const maxVocab = 1 << 24

// MeasureLogits compares two (rows, vocabulary) tensors of one shape. It gives
// nil where they are none, or hold values that are not finite.
func MeasureLogits(ctx context.Context, r, t *tensor.Tensor) (*Logits, error) {
	d := len(r.Shape)
	if d == 0 || r.Numel() == 0 || !r.DType.IsFloat() || !t.DType.IsFloat() || r.Shape[d-1] < 2 || r.Shape[d-1] > maxVocab {
		return nil, nil
	}
	n := r.Shape[d-1]
	a, b := make([]float64, n), make([]float64, n)
	out := &Logits{Rows: r.Numel() / n, Margin: math.Inf(1), Noise: 1}
	for row := range out.Rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := r.Float64s(a, row*n); err != nil {
			return nil, err
		}
		if err := t.Float64s(b, row*n); err != nil {
			return nil, err
		}
		if !out.row(a, b) {
			return nil, nil
		}
	}
	out.KL /= float64(out.Rows)
	return out, nil
}

// row adds a row; it reports whether all values are finite.
func (l *Logits) row(a, b []float64) bool {
	dist, sum := 0.0, 0.0
	first, second, chosen := 0, -1, 0
	for i := range a {
		d := b[i] - a[i]
		dist += math.Abs(d)
		sum += math.Abs(a[i]) + math.Abs(b[i])
		if b[i] > b[chosen] {
			chosen = i
		}
		switch {
		case i == 0:
		case a[i] > a[first]:
			first, second = i, first
		case second < 0 || a[i] > a[second]:
			second = i
		}
	}
	if !(sum <= math.MaxFloat64) {
		return false
	}
	noise := math.Sqrt(math.Pi/2) * dist / float64(len(a))
	if margin := a[first] - a[second]; margin*l.Noise < l.Margin*noise || math.IsInf(l.Margin, 1) {
		l.Margin, l.Noise = margin, noise
	}
	switch {
	case first == chosen:
		l.Agree++
	case a[first]-a[chosen] <= TieNoise*noise:
		l.NearTies++
	}
	kl := divergence(a, b, a[first], b[chosen])
	l.KL += kl
	l.MaxKL = max(l.MaxKL, kl)
	return true
}

// divergence is Σ p (log p - log q) of the two softmaxes.
func divergence(a, b []float64, maxA, maxB float64) float64 {
	za, zb, cross := kernel.SoftmaxSums(a, b, maxA, maxB)
	return max(0, cross/za+kernel.Log(zb/za))
}
