package metric

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// cutInto measures with parts of so many values and on so many processors.
func cutInto(t *testing.T, part, processors int, r, x *tensor.Tensor) *Gap {
	old, n := partValues, runtime.GOMAXPROCS(processors)
	partValues = part
	defer func() { partValues = old; runtime.GOMAXPROCS(n) }()
	g, err := Measure(r, x, nil)
	require.NoError(t, err)
	return g
}

// TestParts: any number of goroutines gives the same bits, and parts what the
// whole gives but for the order of sums: counts, places and maxima are equal.
func TestParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(41, 42))
	for i := range 60 {
		rows, cols := 1+rng.IntN(90), 1+rng.IntN(300)
		a, b := make([]float64, rows*cols), make([]float64, rows*cols)
		for i := range a {
			a[i] = rng.NormFloat64()
			b[i] = a[i] * (1 + 0x1p-8*float64(rng.IntN(3)))
		}
		if i%3 == 0 {
			a[rng.IntN(len(a))] = math.NaN()
			b[rng.IntN(len(b))] = math.Inf(1)
		}
		r, x := tensor.FromFloat64s(tensor.BFloat16, a, rows, cols), tensor.FromFloat64s(tensor.Float16, b, rows, cols)
		whole, one := cutInto(t, 1<<22, 1, r, x), cutInto(t, 1000, 1, r, x)
		for range 3 {
			require.Equal(t, toString(one), toString(cutInto(t, 1000, 8, r, x)))
		}
		for _, f := range []func(*Gap) any{
			func(g *Gap) any {
				return []any{g.MaxAbs, g.MaxAbsAt, g.Mismatched, g.Equal, g.NaN, g.Inf, g.NonFinite, g.MaxRel}
			},
			func(g *Gap) any { return []any{g.ULP, g.WorstToken, g.WorstChannel == nil} },
		} {
			require.Equal(t, f(whole), f(one))
		}
		if whole.NonFinite > 0 {
			continue
		}
		require.InEpsilon(t, whole.RelL2, one.RelL2, eps)
		if whole.WorstChannel != nil {
			require.Equal(t, whole.WorstChannel.Index, one.WorstChannel.Index)
		}
	}
}

// toString tells NaN from NaN by no bit.
func toString(g *Gap) string {
	d := *g
	d.Scale, d.WorstToken, d.WorstChannel, d.ULP = nil, nil, nil, nil
	return fmt.Sprintf("%v %+v %+v %+v %+v", d, g.Scale, g.WorstToken, g.WorstChannel, g.ULP)
}

// A file that is cut short under any of the goroutines is the error of the
// caller's mmap.Guard.
func TestPartsOfAFileCutShort(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a mapped file cannot be cut short there")
	}
	old := partValues
	partValues = 1000
	defer func() { partValues = old }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, make([]byte, 1<<20), 0o644))
	m, err := mmap.Open(path)
	require.NoError(t, err)
	defer m.Close()
	require.NoError(t, os.Truncate(path, 1<<18))
	shape := []int{1 << 13, 64}
	x := &tensor.Tensor{DType: tensor.BFloat16, Shape: shape, Stride: tensor.ContiguousStride(shape), Data: m.Bytes()}
	for range 5 {
		err = mmap.Guard(path, func() error {
			_, err := Measure(x, x, nil)
			return err
		})
		require.ErrorIs(t, err, mmap.ErrChanged)
	}
	require.Zero(t, helping.Load())
}

// The first error in order counts, and a panic of any part becomes one of the
// caller.
func TestPartsFail(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	run := func(do func(int) error) (done []int, err error) {
		err = inOrder(20, func() (func(int) error, func(int)) { return do, func(i int) { done = append(done, i) } })
		return done, err
	}
	done, err := run(func(i int) error {
		if i == 3 || i == 4 {
			return errors.New(fmt.Sprint(i))
		}
		return nil
	})
	require.EqualError(t, err, "3")
	require.Equal(t, []int{0, 1, 2}, done)
	require.PanicsWithValue(t, "out", func() {
		_, _ = run(func(i int) error {
			if i == 5 {
				panic("out")
			}
			return nil
		})
	})
	done, err = run(func(int) error { return nil })
	require.NoError(t, err)
	require.Len(t, done, 20)
	require.Zero(t, helping.Load())
}
