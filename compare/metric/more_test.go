package metric

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

func f32(v []float64, shape ...int) *tensor.Tensor {
	return tensor.FromFloat64s(tensor.Float32, v, shape...)
}

// Figures of three rows, worked out by hand.
func TestRowsAndScale(t *testing.T) {
	g, err := Measure(f32([]float64{1, 2, 3, 4, 0, 8}, 3, 2), f32([]float64{1, 2, 3, 5, 0, 8}, 3, 2), nil)
	require.NoError(t, err)
	require.Equal(t, &Worst{Index: 1, RelL2: 0.2, Values: 2}, g.WorstToken) // 1 / 5
	require.Nil(t, g.WorstChannel)
	require.InDelta(t, 1./6, g.MeanAbs, 1e-15)
	require.InDelta(t, math.Sqrt(1./6), g.RMSE, 1e-15)
	require.Equal(t, 0.25, g.MaxRel)
	require.InDelta(t, 4./94, g.Scale.MinusOne, 1e-15)                    // r·d = 4, r·r = 94
	require.InDelta(t, math.Sqrt((1-16./94)/5/94), g.Scale.StdErr, 1e-15) // Σ e² = d·d - (r·d)²/r·r of 6 values
	require.Equal(t, 1.0, g.Scale.Signs)                                  // one row, and it is larger
}

// A channel that is all wrong shows, however small beside the others.
func TestWorstChannel(t *testing.T) {
	const rows, cols = 5000, 3 // several blocks, rows across their borders
	a, b := make([]float64, rows*cols), make([]float64, rows*cols)
	for i := range a {
		a[i] = []float64{1e6, 1e-3, 1e5}[i%cols]
		b[i] = a[i]
		if i%cols == 1 {
			b[i] *= 1.5
		}
	}
	g, err := Measure(f32(a, rows, cols), f32(b, rows, cols), nil)
	require.NoError(t, err)
	require.Less(t, g.RelL2, 1e-8)
	require.Equal(t, 1, g.WorstChannel.Index)
	require.InDelta(t, 0.5, g.WorstChannel.RelL2, 1e-6)
	a = a[:15*cols]
	g, err = Measure(f32(a, 15, cols), f32(b[:15*cols], 15, cols), nil)
	require.NoError(t, err)
	require.Nil(t, g.WorstChannel)
}

// The row of a NaN is the worst, and no figure of the others is lost.
func TestRowOfNaN(t *testing.T) {
	g, err := Measure(f32([]float64{1, 1, 1, 1}, 2, 2), f32([]float64{2, 1, 1, math.NaN()}, 2, 2), nil)
	require.NoError(t, err)
	require.Equal(t, 1, g.WorstToken.Index)
	require.True(t, math.IsInf(g.WorstToken.RelL2, 1))
	require.Nil(t, g.Scale)
	require.InDelta(t, 1./3, g.MeanAbs, 1e-15)
}

// Distances in last places are those between the bit patterns, within a binade.
func TestULP(t *testing.T) {
	for _, d := range []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float32, tensor.Float64} {
		f, _ := formatOf(d)
		eps := math.Ldexp(1, 1-f.precision)
		a, b := make([]float64, 200), make([]float64, 200)
		for i := range a {
			a[i], b[i] = 1, 1
		}
		b[3], b[7], b[9] = 1+eps, 1+3*eps, 1+9*eps
		g, err := Measure(tensor.FromFloat64s(d, a, 200), tensor.FromFloat64s(d, b, 200), nil)
		require.NoError(t, err)
		require.Equal(t, &ULP{P99: 1, Max: 9, Histogram: []int{197, 1, 1, 0, 1}}, g.ULP, d)
		require.Equal(t, 200, g.ULP.Histogram[0]+3)
	}
	// Of two types the coarser one's.
	g, err := Measure(f32([]float64{1, 2}, 2), tensor.FromFloat64s(tensor.BFloat16, []float64{1 + 0x1p-7, 2}, 2), nil)
	require.NoError(t, err)
	require.Equal(t, 1.0, g.ULP.Max)
	// Values about zero are not far apart for ever; subnormal ones have a last place too.
	g, err = Measure(tensor.FromFloat64s(tensor.BFloat16, []float64{0, 0x1p-133}, 2), tensor.FromFloat64s(tensor.BFloat16, []float64{1, 0x1p-132}, 2), nil)
	require.NoError(t, err)
	require.Equal(t, &ULP{P99: 128, Max: 128, Histogram: []int{0, 1, 0, 0, 0, 0, 0, 0, 1}}, g.ULP)
}

func TestLogits(t *testing.T) {
	row := func(v ...float64) []float64 { return append(v, make([]float64, 100)...) }
	shape := []int{1, 103}
	measure := func(a, b []float64) *Logits {
		l, err := MeasureLogits(context.Background(), f32(a, shape...), f32(b, shape...))
		require.NoError(t, err)
		return l
	}
	l := measure(row(5, 4, 1), row(5, 4, 1))
	require.Equal(t, [3]int{1, 1, 0}, [3]int{l.Rows, l.Agree, l.NearTies})
	require.Zero(t, l.MaxKL)
	require.Equal(t, 1.0, l.Margin)
	// A flip: two candidates within the noise, then without.
	noisy := row(5, 5.01, 1)
	for i := 3; i < len(noisy); i++ {
		noisy[i] = 0.1 * float64(i%2*2-1)
	}
	l = measure(row(5, 4.99, 1), noisy)
	require.Equal(t, [2]int{0, 1}, [2]int{l.Agree, l.NearTies})
	l = measure(row(5, 4, 1), row(5, 6, 1)) // one value alone is off, the others agree
	require.Equal(t, [2]int{0, 0}, [2]int{l.Agree, l.NearTies})
	// KL of two coins, by hand.
	a := f32([]float64{0, math.Log(3)}, 1, 2)
	k, err := MeasureLogits(context.Background(), a, f32([]float64{0, 0}, 1, 2))
	require.NoError(t, err)
	require.InDelta(t, 0.25*math.Log(0.5)+0.75*math.Log(1.5), k.KL, 1e-7) // float32's log 3
	k, err = MeasureLogits(context.Background(), a, f32([]float64{0, math.Inf(1)}, 1, 2))
	require.NoError(t, err)
	require.Nil(t, k)
}

// The median of the rows' gaps is at most an eighth above, and no row of huge
// or of tiny values moves it.
func TestTokenMedian(t *testing.T) {
	const cols = 16
	for _, want := range []float64{0, 1e-5, 3e-3, 0.11, 0.9} {
		var r, x []float64
		for row := range 9 {
			size, gap := 1.0, want
			switch row {
			case 0:
				size, gap = 1e4, want/8
			case 1:
				size, gap = 1e-4, 0.99
			}
			for range cols {
				r, x = append(r, size), append(x, size*(1+gap))
			}
		}
		g, err := Measure(f32(r, 9, cols), f32(x, 9, cols), nil)
		require.NoError(t, err)
		require.GreaterOrEqual(t, g.TokenMedian, want*0.98) // 1e-5 is 84 last places of float32
		require.LessOrEqual(t, g.TokenMedian, want*1.14)
	}
}
