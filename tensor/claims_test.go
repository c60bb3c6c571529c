package tensor

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a tensor may claim follows from what is stored.
func TestCheckClaim(t *testing.T) {
	data := make([]byte, 1<<16)
	for _, c := range []struct {
		what string
		x    Tensor
		want string
	}{
		{"contiguous", *New(BFloat16, 100, 100), ""},
		{"a small one, expanded", Tensor{DType: Float32, Shape: []int{1 << 24}, Stride: []int{0}, Data: data[:4]}, ""},
		{"a mask over heads", Tensor{DType: Bool, Shape: []int{1, 1024, 512, 512}, Stride: []int{1 << 18, 0, 512, 1}, Data: make([]byte, 1<<18)}, ""},
		{"2^40 times one", Tensor{DType: Int64, Shape: []int{1 << 40}, Stride: []int{0}, Data: data[:8]}, "is int64[1099511627776] by strides [0] over a storage of 8 bytes, so nearly all of it is repeated: save a contiguous copy of it"},
		{"2^63-1 times one", Tensor{DType: Int32, Shape: []int{math.MaxInt}, Stride: []int{0}, Data: data[:4]}, "repeated"},
		{"2^63-1 overlapping", Tensor{DType: Int32, Shape: []int{7, math.MaxInt / 7}, Stride: []int{1, 1}, Data: data}, "repeated"},
		{"overlapping", Tensor{DType: BFloat16, Shape: []int{1 << 13, 1 << 13, 1 << 13}, Stride: []int{1, 1, 1}, Data: data}, "repeated"},
		{"100 times the storage, overlapping", Tensor{DType: Int8, Shape: []int{100, 1 << 20}, Stride: []int{1, 1}, Data: make([]byte, 1<<20+99)}, "repeated"},
		{"2 GB of 2 MB", Tensor{DType: Int8, Shape: []int{1 << 10, 1 << 21}, Stride: []int{0, 1}, Data: make([]byte, 1<<21)}, "repeated"},
		{"quantised", Tensor{DType: QInt8, Shape: []int{1 << 40}, Stride: []int{0}, Data: data[:1], Quant: &Quant{}}, "repeated"},
		{"meta", Tensor{DType: BFloat16, Shape: []int{1 << 40, 64}, Stride: []int{64, 1}, Meta: true}, "is bfloat16[1099511627776,64] on device meta, which has no values"},
		{"meta, small", Tensor{DType: BFloat16, Shape: []int{64}, Stride: []int{1}, Meta: true}, ""},
	} {
		if err := c.x.CheckClaim(); c.want == "" {
			require.NoError(t, err, c.what)
		} else {
			require.ErrorContains(t, err, c.want, c.what)
		}
	}
}

// A copy takes what is stored, or little.
func TestCheckCopy(t *testing.T) {
	wide := Tensor{DType: BFloat16, Shape: []int{512, 1 << 19}, Stride: []int{0, 1}, Data: make([]byte, 1<<20)}
	require.NoError(t, wide.CheckClaim())
	require.EqualError(t, wide.CheckCopy(), "bfloat16[512,524288] would take 536870912 bytes, but 1048576 are stored")
	wide.Shape[0] = 256
	require.NoError(t, wide.CheckCopy())
	wide.Meta = true
	require.ErrorContains(t, wide.CheckCopy(), "device meta")

	list := Tensor{DType: Int8, Shape: []int{1<<24 + 1}, Stride: []int{0}, Data: make([]byte, 1)}
	_, err := list.Ints()
	require.EqualError(t, err, "int8[16777217] has more integers than the 16777216 of a list")
}

// A tensor without elements is read nowhere, wherever its offset points; one on
// device meta has no values.
func TestNothingToRead(t *testing.T) {
	empty := Tensor{DType: Float32, Shape: []int{0, 64}, Stride: []int{64, 1}, Offset: 1 << 40, Data: make([]byte, 8)}
	ints := empty
	ints.DType = Int64
	require.NoError(t, empty.Float64s(nil, 0))
	require.Nil(t, empty.Bytes())
	require.NoError(t, empty.Chunks(0, func([]byte) error { panic("a chunk") }))
	require.Empty(t, empty.Clone().Data)
	require.Nil(t, empty.Row(0))
	v, err := ints.Ints()
	require.NoError(t, err)
	require.Empty(t, v)

	meta := Tensor{DType: Int32, Shape: []int{4}, Stride: []int{1}, Meta: true}
	require.ErrorContains(t, meta.Float64s(make([]float64, 4), 0), "int32[4] is on device meta, which has no values")
	_, err = meta.Ints()
	require.ErrorContains(t, err, "device meta")
	require.ErrorContains(t, meta.Int64s(make([]int64, 4), 0), "device meta")
	require.True(t, meta.Clone().Meta)
	require.Nil(t, meta.Bytes())
	meta.Gather(make([]byte, 16), 0)
}
