package metric

import (
	"math"

	"github.com/ilref/ilref/internal/kernel"
)

// Logprob is what two rows of logits say of one token and of each other, in nats.
type Logprob struct {
	Log [2]float64 `json:"log"` // log of the token's probability, in the reference and in the target; -Inf for 0
	KL  [2]float64 `json:"kl"`  // KL(reference ‖ target) and KL(target ‖ reference) of the whole rows; +Inf where the latter has a probability of 0 that the former has not
}

// MeasureLogprob takes two rows of logits, of the reference and of the target, as
// long as each other:
//
//	log p(id) = x(id) - log Σ exp x
//
// A logit of -Inf is a probability of 0, as samplers write masked tokens. ok is
// false where a row has no distribution (NaN, +Inf, or -Inf alone), or no such
// token.
func MeasureLogprob(ref, target []float64, id int) (p Logprob, ok bool) {
	if id < 0 || id >= len(ref) || len(target) != len(ref) {
		return p, false
	}
	a, maskedA := largestLogit(ref)
	b, maskedB := largestLogit(target)
	if math.IsNaN(a) || math.IsNaN(b) || math.IsInf(a, 0) || math.IsInf(b, 0) {
		return p, false
	}
	sums := kernel.SoftmaxSums
	if maskedA || maskedB {
		sums = maskedSums
	}
	za, zb, cross := sums(ref, target, a, b)
	_, _, back := sums(target, ref, b, a)
	la, lb := kernel.Log(za), kernel.Log(zb)
	p.Log = [2]float64{ref[id] - a - la, target[id] - b - lb}
	p.KL = [2]float64{max(0, cross/za+(lb-la)), max(0, back/zb+(la-lb))}
	return p, true
}

// largestLogit is NaN where the row holds NaN; masked reports a value of -Inf.
func largestLogit(row []float64) (most float64, masked bool) {
	most = math.Inf(-1)
	for _, x := range row {
		switch {
		case x != x:
			return x, false
		case x > most:
			most = x
		case math.IsInf(x, -1):
			masked = true
		}
	}
	return most, masked || math.IsInf(row[0], -1)
}

// maskedSums is kernel.SoftmaxSums where some values are -Inf: what has no
// probability in a adds nothing, and what has one in a and none in b makes the
// third sum infinite.
func maskedSums(a, b []float64, mostA, mostB float64) (za, zb, cross float64) {
	for i := range a {
		x, y := a[i]-mostA, b[i]-mostB
		e := kernel.Exp(x)
		za += e
		zb += kernel.Exp(y)
		switch {
		case math.IsInf(x, -1):
		case math.IsInf(y, -1):
			cross = math.Inf(1)
		default:
			cross += float64(e * (x - y))
		}
	}
	return za, zb, cross
}
