package metric

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// noiseOf is the noise of values of z.
func noiseOf(t *testing.T, rows, width int, z func(row, column int) float64) *Noise {
	t.Helper()
	x := tensor.New(tensor.Float32, rows, width)
	v := make([]float32, rows*width)
	for i := range v {
		v[i] = float32(z(i/width, i%width))
	}
	tensor.StoreFloat32(x.Data, tensor.Float32, v)
	n, err := MeasureNoise(x)
	require.NoError(t, err)
	return n
}

// slowly looks at every block by itself.
func slowly(z []float64, rows, width int) (worst float64) {
	for h := 1; h < 2*rows; h *= 2 {
		for w := 1; w < 2*width; w *= 2 {
			for r := 0; r < rows; r += h {
				for c := 0; c < width; c += w {
					sum, m := 0., 0
					for i := r; i < min(r+h, rows); i++ {
						for j := c; j < min(c+w, width); j++ {
							sum += z[i*width+j] * z[i*width+j]
							m++
						}
					}
					worst = max(worst, Unlikely(math.Sqrt(sum/float64(m)), m))
				}
			}
		}
	}
	return worst
}

// The scan finds the least likely of all blocks.
func TestNoiseScan(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		rows, width := 1+rng.IntN(20), 1+rng.IntN(40)
		z := make([]float64, rows*width)
		for i := range z {
			z[i] = float64(float32(rng.NormFloat64() * (1 + 2*rng.Float64())))
		}
		n := noiseOf(t, rows, width, func(r, c int) float64 { return z[r*width+c] })
		require.InDelta(t, slowly(z, rows, width), n.Worst.Unlikely, 1e-6)
		require.True(t, n.Worst.In(n.Values, width))
	}
}

// Every place of an error is found and named, beside values that are right.
func TestNoisePlaces(t *testing.T) {
	const rows, width = 48, 96
	for name, c := range map[string]struct {
		wrong func(r, c int) bool
		size  float64
		want  Block
	}{
		"element": {func(r, c int) bool { return r == 5 && c == 17 }, 12, Block{Row: 5, Rows: 1, Column: 17, Columns: 1}},
		"row":     {func(r, c int) bool { return r == 5 }, 3, Block{Row: 5, Rows: 1, Columns: width}},
		"column":  {func(r, c int) bool { return c == 17 }, 3, Block{Rows: rows, Column: 17, Columns: 1}},
		"head":    {func(r, c int) bool { return c/32 == 1 }, 2.5, Block{Rows: rows, Column: 32, Columns: 32}},
		"tile":    {func(r, c int) bool { return r/16 == 2 && c/32 == 1 }, 2.5, Block{Row: 32, Rows: 16, Column: 32, Columns: 32}},
		"all":     {func(r, c int) bool { return true }, 2, Block{Rows: rows, Columns: width}},
	} {
		rng := rand.New(rand.NewPCG(3, 4))
		n := noiseOf(t, rows, width, func(r, col int) float64 {
			if z := rng.Float64()*2*math.Sqrt(3) - math.Sqrt(3); !c.wrong(r, col) {
				return z
			}
			return c.size
		})
		c.want.RMS, c.want.Unlikely = n.Worst.RMS, n.Worst.Unlikely
		require.Equal(t, c.want, n.Worst, name)
		require.InDelta(t, c.size, n.Worst.RMS, 1e-6, name)
		require.Greater(t, n.Worst.Unlikely, math.Log(Tests(rows*width)/1e-3), name)
	}
}

// Elements whose bits are right count as rounding, and what is not finite as
// infinitely far off.
func TestNoiseExtremes(t *testing.T) {
	n := noiseOf(t, 3, 4, func(r, c int) float64 { return 0 })
	require.Equal(t, &Noise{Values: 12, Rows: 3, RMS: 1, Worst: Block{Rows: 3, Columns: 4, RMS: 1}}, n)
	for _, z := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		n = noiseOf(t, 3, 4, func(r, c int) float64 {
			if r == 1 && c == 2 {
				return z
			}
			return 1
		})
		require.Equal(t, Block{Row: 1, Rows: 1, Column: 2, Columns: 1, RMS: math.Inf(1), Unlikely: math.Inf(1)}, n.Worst)
		require.Equal(t, []int{1, 2}, n.MaxAt)
	}
	_, err := MeasureNoise(tensor.New(tensor.Int64, 2, 2))
	require.ErrorContains(t, err, "is no noise of a result: expected floating-point values in rows")
}

// What is called unlikely is: of normal values with the spread that is allowed,
// no more blocks pass a bound than it says.
func TestUnlikely(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, m := range []int{1, 4, 64} {
		const trials = 20000
		beyond := 0
		for range trials {
			sum := 0.
			for range m {
				z := rng.NormFloat64()
				sum += z * z * Spread(m)
			}
			if Unlikely(math.Sqrt(sum/float64(m)), m) > math.Log(100) {
				beyond++
			}
		}
		require.LessOrEqual(t, beyond, trials/100, "%d values", m)
	}
}

// A shift far below the noise of an element shows in the sum over all, and one of
// each row's own in the sums of the rows.
func TestNoiseDrift(t *testing.T) {
	const rows, width = 64, 256
	enough := math.Log(Tests(rows*width) / 1e-3)
	for name, c := range map[string]struct {
		shift      func(row int) float64
		sum, inRow bool
	}{
		"none":         {func(int) float64 { return 0 }, false, false},
		"all":          {func(int) float64 { return 0.2 }, true, true},
		"rows' own":    {func(row int) float64 { return 0.4 * float64(1-2*(row%2)) }, false, true},
		"a single row": {func(row int) float64 { return 0.2 * float64(1-min(row, 1)) }, false, false},
	} {
		rng := rand.New(rand.NewPCG(7, 8))
		n := noiseOf(t, rows, width, func(r, _ int) float64 { return c.shift(r) + rng.Float64()*2*math.Sqrt(3) - math.Sqrt(3) })
		require.Equal(t, c.sum, n.Drift.Unlikely() > enough, name)
		require.Equal(t, c.inRow, n.Drift.RowsUnlikely(rows) > enough, name)
		require.Less(t, n.Worst.Unlikely, enough, name)
	}
}
