package metric

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// plainLogprob is the formula as it is written, without care.
func plainLogprob(a, b []float64, id int) (p Logprob) {
	soft := func(x []float64) (log []float64) {
		sum := 0.
		for _, v := range x {
			sum += math.Exp(v)
		}
		for _, v := range x {
			log = append(log, v-math.Log(sum))
		}
		return log
	}
	x, y := soft(a), soft(b)
	p.Log = [2]float64{x[id], y[id]}
	for i := range x {
		if !math.IsInf(x[i], -1) {
			p.KL[0] += math.Exp(x[i]) * (x[i] - y[i])
		}
		if !math.IsInf(y[i], -1) {
			p.KL[1] += math.Exp(y[i]) * (y[i] - x[i])
		}
	}
	return p
}

func TestLogprobProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 70).Draw(t, "n")
		logit := rapid.Float64Range(-30, 30)
		if rapid.Bool().Draw(t, "masked") {
			logit = rapid.OneOf(logit, rapid.Just(math.Inf(-1)))
		}
		a, b := rapid.SliceOfN(logit, n, n).Draw(t, "a"), rapid.SliceOfN(logit, n, n).Draw(t, "b")
		a[n-1], b[n-1] = 1, 2 // a row must have a distribution
		id := rapid.IntRange(0, n-1).Draw(t, "id")
		p, ok := MeasureLogprob(a, b, id)
		want := plainLogprob(a, b, id)
		same := func(x, y float64) bool { return x == y || math.Abs(x-y) <= 1e-10*(1+math.Abs(y)) }
		back, _ := MeasureLogprob(b, a, id)
		equal, _ := MeasureLogprob(a, a, id)
		moved := make([]float64, n)
		for i := range moved {
			moved[i] = b[i] + 8
		}
		shifted, _ := MeasureLogprob(a, moved, id)
		for i := range 2 {
			switch {
			case !ok || !same(p.Log[i], want.Log[i]) || !same(p.KL[i], want.KL[i]):
				t.Fatalf("got %v, want %v", p, want)
			case math.IsNaN(p.Log[i]) || math.IsNaN(p.KL[i]) || p.KL[i] < 0:
				t.Fatalf("%v", p)
			case p.Log[i] != back.Log[1-i] || !same(p.KL[i], back.KL[1-i]):
				t.Fatalf("%v exchanged is %v", p, back)
			case equal.KL != [2]float64{} || equal.Log[0] != equal.Log[1]:
				t.Fatalf("equal rows give %v", equal)
			case !same(shifted.Log[i], p.Log[i]) || !same(shifted.KL[i], p.KL[i]):
				t.Fatalf("a constant that is added to all logits changes %v to %v", p, shifted)
			}
		}
	})
}

// Masked tokens have a probability of 0; what has no distribution tells nothing.
func TestLogprobNotFinite(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name string
		a, b []float64
		id   int
		ok   bool
		want Logprob
	}{
		{"the token is masked in the target", []float64{0, 0}, []float64{0, -inf}, 1, true, Logprob{[2]float64{-math.Ln2, -inf}, [2]float64{inf, math.Ln2}}},
		{"another token is masked in the reference", []float64{0, -inf}, []float64{0, 0}, 0, true, Logprob{[2]float64{0, -math.Ln2}, [2]float64{math.Ln2, inf}}},
		{"masked on both sides", []float64{-inf, 3, 3}, []float64{-inf, 5, 5}, 1, true, Logprob{[2]float64{-math.Ln2, -math.Ln2}, [2]float64{}}},
		{"NaN", []float64{0, math.NaN()}, []float64{0, 0}, 0, false, Logprob{}},
		{"NaN in the target", []float64{0, 0}, []float64{math.NaN(), 0}, 0, false, Logprob{}},
		{"an infinite logit", []float64{0, inf}, []float64{0, 0}, 0, false, Logprob{}},
		{"all masked", []float64{-inf, -inf}, []float64{0, 0}, 0, false, Logprob{}},
		{"no such token", []float64{0, 0}, []float64{0, 0}, 2, false, Logprob{}},
		{"a negative token", []float64{0, 0}, []float64{0, 0}, -1, false, Logprob{}},
		{"rows of other lengths", []float64{0, 0}, []float64{0, 0, 0}, 0, false, Logprob{}},
	} {
		got, ok := MeasureLogprob(c.a, c.b, c.id)
		require.Equal(t, c.ok, ok, c.name)
		if ok {
			require.InDeltaSlice(t, c.want.Log[:], got.Log[:], 1e-15, c.name)
			require.InDeltaSlice(t, c.want.KL[:], got.KL[:], 1e-15, c.name)
		}
	}
}
