package tensor

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestStridedReads compares every way to read a random view with its
// definition: element (i, j, …) lies at offset + i*stride0 + j*stride1 + ….
func TestStridedReads(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		nd := rapid.IntRange(0, 4).Draw(rt, "ndim")
		x := &Tensor{DType: rapid.SampledFrom([]DType{Uint8, Int16, Float32, Complex64}).Draw(rt, "dtype"), Offset: rapid.IntRange(0, 3).Draw(rt, "offset")}
		last := x.Offset
		for range nd {
			n, s := rapid.IntRange(0, 4).Draw(rt, "size"), rapid.IntRange(0, 7).Draw(rt, "stride")
			x.Shape, x.Stride = append(x.Shape, n), append(x.Stride, s)
			last += max(n-1, 0) * s
		}
		es := x.DType.Size()
		x.Data = make([]byte, (last+1)*es)
		for i := range x.Data {
			x.Data[i] = byte(i*7 + i>>8)
		}
		want := []byte{}
		var walk func(d, pos int)
		walk = func(d, pos int) {
			if d == nd {
				want = append(want, x.Data[pos*es:(pos+1)*es]...)
				return
			}
			for i := range x.Shape[d] {
				walk(d+1, pos+i*x.Stride[d])
			}
		}
		walk(0, x.Offset)
		require.Equal(rt, len(want), x.NumBytes())
		require.Equal(rt, want, append([]byte{}, x.Bytes()...))
		require.Equal(rt, want, x.Clone().Data)
		if n := len(want) / es; n > 0 {
			lo := rapid.IntRange(0, n-1).Draw(rt, "start")
			hi := rapid.IntRange(lo, n).Draw(rt, "end")
			part := make([]byte, (hi-lo)*es)
			x.Gather(part, lo)
			require.Equal(rt, want[lo*es:hi*es], part)
		}
		got := []byte{}
		require.NoError(rt, x.Chunks(rapid.IntRange(1, 40).Draw(rt, "chunk"), func(b []byte) error {
			got = append(got, b...)
			return nil
		}))
		require.Equal(rt, want, got)
	})
}

func TestConjNegAndQuant(t *testing.T) {
	c := FromFloat64s(Float32, []float64{1, 2, 3, -4}, 4)
	c.DType, c.Shape, c.Stride = Complex64, []int{2}, []int{1}
	c.Conj = true
	v := make([]float64, 4)
	require.NoError(t, c.Float64s(v, 0))
	require.Equal(t, []float64{1, -2, 3, 4}, v)
	c.Neg = true
	require.NoError(t, c.Float64s(v, 0))
	require.Equal(t, []float64{-1, 2, -3, -4}, v)

	q := FromInts(Int8, []int{-128, 5, 10, 127}, 2, 2)
	q.DType, q.Quant = QInt8, &Quant{Scales: []float64{0.5, 2}, ZeroPoints: []float64{1, -3}, Axis: 0}
	require.NoError(t, q.Float64s(v, 0))
	require.Equal(t, []float64{-64.5, 2, 26, 260}, v)

	require.EqualError(t, New(Bits8, 2).Float64s(v[:2], 0), "bits8 has no numeric values")
	_, err := New(Float32, 2).Ints()
	require.EqualError(t, err, "float32 is not an integer type")
}

func TestDTypeNames(t *testing.T) {
	for d := Invalid + 1; d < numDTypes; d++ {
		got, ok := ParseDType("torch." + d.String())
		require.True(t, ok)
		require.Equal(t, d, got)
	}
	_, ok := ParseDType("float")
	require.True(t, ok)
	_, ok = ParseDType("invalid")
	require.False(t, ok)
}
