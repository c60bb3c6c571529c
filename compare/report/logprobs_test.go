package report

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ilref/ilref/compare/metric"
)

func tokensOf(logs ...[2]float64) []*LogitsTokens {
	out := &LogitsTokens{}
	for i, l := range logs {
		out.Tokens = append(out.Tokens, TokenLogprob{Request: i % 3, Position: i, Logprob: metric.Logprob{Log: l}})
	}
	return []*LogitsTokens{out}
}

func TestLogprobFigures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		logs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [2]float64 {
			p := rapid.Float64Range(-12, 0)
			return [2]float64{p.Draw(t, "r"), p.Draw(t, "t")}
		}), 1, 40).Draw(t, "logs")
		var back, equal [][2]float64
		for _, l := range logs {
			back, equal = append(back, [2]float64{l[1], l[0]}), append(equal, [2]float64{l[0], l[0]})
		}
		f, b, e := NewLogprobs(tokensOf(logs...), 0.2), NewLogprobs(tokensOf(back...), 0.2), NewLogprobs(tokensOf(equal...), 0)
		near := func(x, y float64) bool { return math.Abs(x-y) <= 1e-9*(1+math.Abs(y)) }
		n := float64(len(logs))
		switch {
		case e.MeanAbs != 0 || e.MaxAbs != 0 || e.K3 != 0 || e.MeanExpAbs != 1 || e.ESS != 1 || e.Clipped != 0 || e.MaxProbDiff != 0 || e.Worst != nil:
			t.Fatalf("equal sides give %+v", e.LogprobFigures)
		case !near(f.MeanAbs, b.MeanAbs) || f.MaxAbs != b.MaxAbs || !near(f.Mean, -b.Mean) || !near(f.MeanExpAbs, b.MeanExpAbs) || !near(f.MaxProbDiff, b.MaxProbDiff):
			t.Fatalf("%+v exchanged is %+v", f.LogprobFigures, b.LogprobFigures)
		case f.ESS > 1+1e-12 || f.ESS < (1-1e-12)/n:
			t.Fatalf("an effective sample size of %g of %g", f.ESS, n)
		case f.K3 < 0 || f.MeanExpAbs < 1 || f.MaxAbs < f.MeanAbs-1e-9 || f.MeanAbs < math.Abs(f.Mean)-1e-9 || f.MaxProbDiff > 1:
			t.Fatalf("%+v", f.LogprobFigures)
		}
		all := 0.
		for _, q := range f.Requests {
			all += q.MeanAbs * float64(q.Tokens)
		}
		if !near(all/n, f.MeanAbs) {
			t.Fatalf("the requests' mean is %g, that of all %g", all/n, f.MeanAbs)
		}
	})
}

// A token of no probability on one side makes figures infinite, and none NaN.
func TestLogprobFiguresInfinite(t *testing.T) {
	never, outweighs, plain := [2]float64{math.Inf(-1), -1}, [2]float64{-1, math.Inf(-1)}, [2]float64{-1, -1.1}
	inf := math.Inf(1)
	for _, c := range []struct {
		name      string
		logs      [][2]float64
		mean, ess float64
		infinite  int
	}{
		{"the reference never gives it", [][2]float64{never, plain}, inf, 0.5, 1},
		{"the target never gives it", [][2]float64{outweighs, plain, plain, plain}, -inf, 0.25, 1},
		{"both", [][2]float64{never, outweighs}, inf, 0.5, 2},
		{"no other token", [][2]float64{never}, inf, 0, 1},
	} {
		f := NewLogprobs(tokensOf(c.logs...), 0.2)
		require.Equal(t, c.mean, f.Mean, c.name)
		require.InDelta(t, c.ess, f.ESS, 1e-12, c.name)
		require.Equal(t, c.infinite, f.Infinite, c.name)
		for _, v := range []float64{f.MaxAbs, f.MeanAbs, f.K3, f.MeanExpAbs} {
			require.Equal(t, inf, v, c.name)
		}
		require.False(t, math.IsNaN(f.MaxProbDiff+f.MeanProbDiff+f.Clipped), c.name)
		require.NotNil(t, f.Worst)
	}
	huge := NewLogprobs(tokensOf([2]float64{0, -600}, plain), 0.2) // w² is beyond float64
	require.Equal(t, 0.5, huge.ESS)
}

func TestLogprobBounds(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	l := NewLogprobs(tokensOf([2]float64{-1, -1.5}, [2]float64{-2, -2}), 0.2)
	l.Tokens[0].KL = [2]float64{0.1, 0.2}
	l = NewLogprobs([]*LogitsTokens{{Tokens: l.Tokens}}, 0.2)
	for _, c := range []struct {
		b    LogprobBounds
		want string
	}{
		{LogprobBounds{MaxAbsLogRatio: v(0.5)}, ""},
		{LogprobBounds{MaxAbsLogRatio: v(0.4)}, "max |log ratio| 0.5 is above 0.4"},
		{LogprobBounds{MeanAbsLogRatio: v(0.2)}, "mean |log ratio| 0.25 is above 0.2"},
		{LogprobBounds{MeanExpAbs: v(1.05)}, "mean exp|log ratio| 1.32 is above 1.05"},
		{LogprobBounds{MaxKL: v(0.15)}, "max KL 0.2 is above 0.15"},
		{LogprobBounds{MeanKL: v(0.05)}, "mean KL 0.1 is above 0.05"},
		{LogprobBounds{MaxProbDiff: v(0.1)}, "max |difference of p| 0.145 is above 0.1"},
		{LogprobBounds{MinESS: v(0.99)}, "the effective sample size 0.943409 is below 0.99"},
		{LogprobBounds{MaxClipped: v(0.1)}, "50.0 % of the ratios lie outside [0.8, 1.2], and 10.0 % may"},
		{LogprobBounds{Clip: v(0.1)}, ""},
	} {
		l.Bounds = &c.b
		got := l.Check()
		if c.want == "" {
			require.Empty(t, got)
			continue
		}
		require.Equal(t, []string{c.want}, got)
	}
	l.Undefined, l.Bounds = 1, &LogprobBounds{MaxKL: v(9)}
	require.Equal(t, []string{"no bound holds where logits give no distribution (NaN, +Inf): in 1 of them"}, l.Check())
}
