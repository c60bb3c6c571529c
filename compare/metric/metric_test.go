package metric

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ilref/ilref/tensor"
)

type golden struct {
	Name           string
	Shape          []int
	DTypes         [2]string
	Reference      string
	Target         string
	MaxAbs         *string `json:"max_abs"`
	MaxAbsAt       []int   `json:"max_abs_at"`
	OneMinusCosine *string `json:"one_minus_cosine"`
	RelL2          *string `json:"rel_l2"`
	NormRatio      *string `json:"norm_ratio"`
	Mismatched     int
	Equal          int
	NaN            [2]int
	Inf            [2]int
	NonFinite      int
}

func (g *golden) tensor(t *testing.T, side int, data string) *tensor.Tensor {
	d, ok := tensor.ParseDType(g.DTypes[side])
	require.True(t, ok)
	b, err := hex.DecodeString(data)
	require.NoError(t, err)
	return &tensor.Tensor{DType: d, Shape: g.Shape, Stride: tensor.ContiguousStride(g.Shape), Data: b}
}

// The figures of golden.json are exact to the last place. Here every sum of n
// terms of one sign may be off by about n units of 2^-53, and the difference
// in the cosine's formula can cancel, relative to rel_l2²: 1e-13 covers n up
// to 1000 with the blocks' short chains.
const eps = 1e-13

func TestGolden(t *testing.T) {
	raw, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var cases []golden
	require.NoError(t, json.Unmarshal(raw, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			g, err := Measure(c.tensor(t, 0, c.Reference), c.tensor(t, 1, c.Target), nil)
			require.NoError(t, err)
			require.Equal(t, c.Equal, g.Equal, "equal")
			require.Equal(t, c.Mismatched, g.Mismatched, "mismatched")
			require.Equal(t, c.NaN, g.NaN, "nan")
			require.Equal(t, c.Inf, g.Inf, "inf")
			require.Equal(t, c.NonFinite, g.NonFinite, "nonfinite")
			require.Equal(t, c.MaxAbsAt, g.MaxAbsAt, "max_abs_at")
			requireNumber(t, c.MaxAbs, g.MaxAbs, 0, "max_abs")
			requireNumber(t, c.RelL2, g.RelL2, eps*g.RelL2, "rel_l2")
			requireNumber(t, c.NormRatio, g.NormRatio, eps*g.NormRatio, "norm_ratio")
			requireNumber(t, c.OneMinusCosine, g.OneMinus, eps*max(g.OneMinus, g.RelL2*g.RelL2), "1-cos")
			if c.Equal == g.Values {
				require.Zero(t, g.OneMinus)
				require.True(t, g.Identical())
				require.Nil(t, g.MaxAbsAt)
			}
		})
	}
}

func requireNumber(t *testing.T, want *string, got, tol float64, name string) {
	t.Helper()
	if want == nil {
		require.True(t, math.IsNaN(got) || math.IsInf(got, 0), "%s is %v, want a number that is not finite", name, got)
		return
	}
	w, err := strconv.ParseFloat(*want, 64)
	require.NoError(t, err)
	require.False(t, math.IsNaN(got), name)
	require.LessOrEqual(t, math.Abs(got-w), tol, "%s is %v, want %v", name, got, w)
}

// Views and block borders do not matter: any strided pair gives what its
// contiguous copies give.
func TestStridedEqualsContiguous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, cols := rapid.IntRange(1, 60).Draw(t, "rows"), rapid.IntRange(1, 90).Draw(t, "cols")
		pitch := cols + rapid.IntRange(0, 3).Draw(t, "gap")
		v := rapid.SliceOfN(rapid.Float64Range(-4, 4), rows*pitch, rows*pitch).Draw(t, "v")
		a := tensor.FromFloat64s(tensor.BFloat16, v, rows, pitch).Narrow(1, pitch-cols, pitch)
		for i := range v {
			v[i] *= 1 + 1e-2*float64(i%5)
		}
		b := tensor.FromFloat64s(tensor.Float32, v, rows, pitch).Narrow(1, 0, cols)
		got, err := Measure(a, b, nil)
		require.NoError(t, err)
		want, err := Measure(a.Clone(), b.Clone(), nil)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// A tensor that repeats one row a million million times is measured at once,
// and its counts are those of all the copies.
func TestBroadcast(t *testing.T) {
	const n = 1_000_000_000_000
	wide := func(v ...float64) *tensor.Tensor {
		x := tensor.FromFloat64s(tensor.Float32, v, 1, len(v))
		x.Shape, x.Stride = []int{n, len(v)}, []int{0, 1}
		return x
	}
	g, err := Measure(wide(1, 2, math.NaN()), wide(1, 2.5, math.NaN()), nil)
	require.NoError(t, err)
	require.Equal(t, 3*n, g.Numel)
	require.Equal(t, 2*n, g.Equal)
	require.Equal(t, n, g.Mismatched)
	require.Equal(t, [2]int{n, n}, g.NaN)
	require.Equal(t, []int{0, 1}, g.MaxAbsAt)
	require.InDelta(t, 0.5/math.Sqrt(5), g.RelL2, 1e-15)
}

func TestUint64IsNotNegative(t *testing.T) {
	r := tensor.FromInts(tensor.Uint64, []int{-1, 7}, 2) // 2^64-1
	g, err := Measure(r, tensor.FromInts(tensor.Int64, []int{-1, 7}, 2), nil)
	require.NoError(t, err)
	require.Equal(t, 0x1p64, g.MaxAbs)
	require.Equal(t, 0x1p64, g.Reference)
	require.Equal(t, -1.0, g.Target)
}

func TestTolerance(t *testing.T) {
	r, x := tensor.FromFloat64s(tensor.Float64, []float64{1, 100}, 2), tensor.FromFloat64s(tensor.Float64, []float64{1.05, 104}, 2)
	for _, c := range []struct {
		tol  Tolerance
		want int
	}{{Tolerance{}, 2}, {Tolerance{ATol: 0.06}, 1}, {Tolerance{RTol: 0.045}, 1}, {Tolerance{RTol: 0.045, ATol: 0.01}, 0}, {Tolerance{ATol: 4}, 0}} {
		g, err := Measure(r, x, &c.tol)
		require.NoError(t, err)
		require.Equal(t, c.want, g.Mismatched, "%+v", c.tol)
	}
}

func TestCannotBeMeasured(t *testing.T) {
	f := tensor.New(tensor.Float32, 2, 3)
	meta := tensor.New(tensor.Float32, 2, 3)
	meta.Meta = true
	for _, c := range []struct {
		r, t *tensor.Tensor
		want string
	}{
		{f, tensor.New(tensor.Float32, 3, 2), "shapes differ: [2,3] in the reference, [3,2] in the target"},
		{f, tensor.New(tensor.Bits8, 2, 3), "no numeric values: float32 in the reference, bits8 in the target"},
		{tensor.New(tensor.Complex64, 2, 3), f, "complex64 in the reference and float32 in the target cannot be compared"},
		{f, meta, "a tensor of device meta has no data"},
	} {
		_, err := Measure(c.r, c.t, nil)
		require.EqualError(t, err, c.want)
	}
}
