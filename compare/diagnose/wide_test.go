package diagnose

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// One row that claims a gigabyte is worth no hint; one that is stored is.
func TestWideRow(t *testing.T) {
	row := func(n, stored, stride int) *tensor.Tensor {
		return &tensor.Tensor{DType: tensor.BFloat16, Shape: []int{n}, Stride: []int{stride}, Data: make([]byte, 2*stored)}
	}
	const wide = 1 << 29
	require.False(t, new(suspect).load(row(wide, 1, 0), row(wide, 1, 0)))
	require.True(t, new(suspect).load(row(hintValues+1, hintValues+1, 1), row(hintValues+1, hintValues+1, 1)))
	require.True(t, new(suspect).load(row(1000, 1, 0), row(1000, 1, 0)))
}
