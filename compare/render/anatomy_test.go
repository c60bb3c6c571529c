package render

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ilref/ilref/compare"
	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/tensor"
)

// The parts agree with a plain count, and with what package metric says of the
// whole.
func TestAnatomy(t *testing.T) {
	value := rapid.OneOf(rapid.Float64Range(-4, 4), rapid.SampledFrom([]float64{0, math.NaN(), math.Inf(1), math.Inf(-1), 1e-300, 1e300, 1, math.Sqrt2, -2}))
	rapid.Check(t, func(t *rapid.T) {
		rows, width := rapid.IntRange(1, 600).Draw(t, "rows"), rapid.IntRange(1, 20).Draw(t, "width")
		n := rows * width
		a := rapid.SliceOfN(value, 8, 8).Draw(t, "a")
		b := rapid.SliceOfN(value, 8, 8).Draw(t, "b")
		r, u := make([]float64, n), make([]float64, n)
		for i := range r {
			r[i], u[i] = a[i%7], a[i%7]
			if i%3 == 0 {
				u[i] = b[i%8]
			}
		}
		x, y := tensor.FromFloat64s(tensor.Float64, r, rows, width), tensor.FromFloat64s(tensor.Float64, u, rows, width)
		got, err := dissect(x, y)
		require.NoError(t, err)
		gap, err := metric.Measure(x, y, nil)
		require.NoError(t, err)
		require.Equal(t, n, got.values)
		require.Equal(t, gap.Equal, got.equal)
		require.Equal(t, gap.NonFinite, got.nonFinite)
		checkHistogram(t, got, r, u)
		checkWorst(t, got, gap)
		if rows < 2 {
			require.Empty(t, got.rows)
			return
		}
		require.LessOrEqual(t, len(got.rows), strip)
		worst := slices.MaxFunc(got.rows, func(a, b rowGap) int { return int(math.Copysign(1, a.relL2-b.relL2)) })
		if gap.NonFinite == 0 && gap.MaxAbs < 1e100 && gap.WorstToken.RelL2 < 1e100 {
			require.InEpsilon(t, 1+gap.WorstToken.RelL2, 1+worst.relL2, 1e-12) // sums of 20 squares in another order
		}
		next := 0
		for _, g := range got.rows {
			require.Equal(t, next, g.first)
			require.True(t, g.first <= g.worst && g.worst <= g.last)
			next = g.last + 1
		}
		require.Equal(t, rows, next)
	})
}

func checkHistogram(t require.TestingT, got *anatomy, r, u []float64) {
	require.LessOrEqual(t, len(got.histogram), bins)
	counted := got.equal + got.nonFinite
	for i, b := range got.histogram {
		n := 0
		for j := range r {
			if d := math.Abs(u[j] - r[j]); d > 0 && d < b.to && (d >= b.from || i == 0) {
				n++
			}
		}
		require.Equal(t, n, b.n, "|d| in [%g, %g)", b.from, b.to)
		counted += b.n
	}
	require.Equal(t, len(r), counted)
}

func checkWorst(t require.TestingT, got *anatomy, gap *metric.Gap) {
	require.Len(t, got.worst, min(elements, gap.Values-gap.Equal))
	for i, e := range got.worst[:max(0, len(got.worst)-1)] {
		require.GreaterOrEqual(t, e.d, got.worst[i+1].d)
	}
	if len(got.worst) > 0 {
		require.Equal(t, gap.MaxAbs, got.worst[0].d)
		require.Equal(t, gap.MaxAbsAt, got.worst[0].at)
	}
}

// Tensors that are no longer those of the report, and kinds without rows.
func TestAnatomyOf(t *testing.T) {
	_, err := dissect(tensor.New(tensor.Float32, 2, 3), tensor.New(tensor.Float32, 3, 2))
	require.EqualError(t, err, "float32[2,3] and float32[3,2] cannot be compared: the files have changed since")
	a, err := dissect(tensor.FromInts(tensor.Int64, []int{1, 2, 3}, 3), tensor.FromInts(tensor.Int64, []int{1, 2, 7}, 3))
	require.NoError(t, err)
	require.Empty(t, a.rows)
	require.Equal(t, []element{{at: []int{2}, reference: 3, target: 7, d: 4, index: 2}}, a.worst)
	require.Equal(t, []bin{{4, 4 * math.Sqrt2, 1}}, a.histogram)
	for _, shape := range [][]int{{}, {0}, {0, 4}, {4, 0}} {
		_, err = dissect(tensor.New(tensor.BFloat16, shape...), tensor.New(tensor.BFloat16, shape...))
		require.NoError(t, err)
	}
}

func TestSessionsWithout(t *testing.T) {
	r, o := compared(t, "llama3-gqa-bf16", "llama3-gqa-bf16-max1000", compare.Options{Modules: []string{`norm$`}})
	x := *r.Tensors[0]
	x.Step = 99
	err := o.Reread(&x, nil)
	require.ErrorContains(t, err, "holds no step_99/")
	require.ErrorContains(t, err, "run the comparison again")
}
