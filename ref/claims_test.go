package ref

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// A replay copies what a session stores, not what a tensor claims.
func TestReadCopy(t *testing.T) {
	file := func(x *tensor.Tensor) *il.TensorFile {
		return il.VirtualTensor("cuda:0", "x.pt", func() (*tensor.Tensor, io.Closer, error) { return x, io.NopCloser(nil), nil })
	}
	x := &tensor.Tensor{DType: tensor.BFloat16, Shape: []int{1 << 40, 64}, Stride: []int{0, 1}, Data: make([]byte, 128)}
	_, err := readCopy(file(x))
	require.EqualError(t, err, "x.pt: bfloat16[1099511627776,64] would take 140737488355328 bytes, but 128 are stored")
	x.Shape[0] = 11
	copied, err := readCopy(file(x))
	require.NoError(t, err)
	require.Len(t, copied.Data, 11*128)
	x.Meta = true
	_, err = readCopy(file(x))
	require.ErrorContains(t, err, "x.pt: bfloat16[11,64] is on device meta, which has no values")
}
