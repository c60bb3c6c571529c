package lint

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ilref/ilref/tensor"
)

func alive() error { return nil }

// The flags of any tensor against a plain loop over its values, whatever its
// type, strides and blocks.
func TestScan(t *testing.T) {
	types := []tensor.DType{tensor.BFloat16, tensor.Float16, tensor.Float32, tensor.Float64}
	special := []float64{0, math.Copysign(0, -1), 1, -2.5, math.NaN(), math.Inf(1), math.Inf(-1)}
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom(types).Draw(t, "type")
		rows, cols := rapid.IntRange(0, 5).Draw(t, "rows"), rapid.SampledFrom([]int{1, 3, 20_000}).Draw(t, "columns")
		v := make([]float64, rows*cols)
		fill := rapid.SampledFrom(special).Draw(t, "fill")
		for i := range v {
			v[i] = fill
		}
		for range rapid.IntRange(0, min(3, len(v))).Draw(t, "others") {
			v[rapid.IntRange(0, len(v)-1).Draw(t, "at")] = rapid.SampledFrom(special).Draw(t, "value")
		}
		x := tensor.FromFloat64s(d, v, rows, cols)
		got, err := scan(x, alive)
		require.NoError(t, err)
		want := flags{zero: len(v) > 0, badFirst: -1}
		same := len(v) > 0
		for i, y := range v {
			want.zero = want.zero && y == 0
			same = same && math.Float64bits(y) == math.Float64bits(v[0])
			if y-y == 0 {
				continue
			}
			switch {
			case math.IsNaN(y):
				want.nan++
			case y > 0:
				want.posInf++
			default:
				want.negInf++
			}
			if want.badFirst < 0 {
				want.badFirst = i
			}
			want.badLast = i
		}
		want.constant = same || want.zero
		if len(v) > 0 && !math.IsNaN(v[0]) {
			want.first = v[0]
		}
		want.hash = got.hash
		if len(v) > 0 && math.IsNaN(v[0]) {
			got.first = 0
		}
		require.Equal(t, want, got)

		wide := tensor.FromFloat64s(d, append(v, v...), 2, len(v)) // the same values, in other places
		again, err := scan(wide.Narrow(0, 1, 2), alive)
		require.NoError(t, err)
		require.Equal(t, got.hash, again.hash)
	})
}

// A strided view has the hash of its copy, another type or value another.
func TestHash(t *testing.T) {
	x := tensor.FromFloat64s(tensor.BFloat16, []float64{1, 2, 3, 4, 5, 6}, 2, 3)
	hash := func(x *tensor.Tensor) uint64 {
		f, err := scan(x, alive)
		require.NoError(t, err)
		return f.hash
	}
	columns := x.Narrow(1, 1, 3)
	require.Equal(t, hash(columns.Clone()), hash(columns))
	require.NotEqual(t, hash(x), hash(columns))
	half := *x
	half.DType = tensor.Float16
	require.NotEqual(t, hash(x), hash(&half))
	y := x.Clone()
	y.Data[11] ^= 1
	require.NotEqual(t, hash(x), hash(y))
}

func TestScanStops(t *testing.T) {
	stop := errors.New("stop")
	_, err := scan(tensor.New(tensor.Float32, 100), func() error { return stop })
	require.ErrorIs(t, err, stop)
}

// Every type can be scanned.
func TestScanTypes(t *testing.T) {
	for _, d := range tensor.DTypes() {
		f, err := scan(tensor.New(d, 3, 5), alive)
		require.NoError(t, err, d)
		require.True(t, f.constant, d)
		require.Equal(t, d.ValuesPerElement() > 0 && d != tensor.Float8E8M0FNU, f.zero, d)
	}
}

func BenchmarkScan(b *testing.B) {
	x := tensor.New(tensor.BFloat16, 16<<20)
	for i := range x.Data {
		x.Data[i] = byte(i*7) & 0x3f
	}
	b.SetBytes(int64(len(x.Data)))
	for b.Loop() {
		_, _ = scan(x, alive)
	}
}
