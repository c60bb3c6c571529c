package metric

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/tensor"
)

// ending is a context that ends when it is asked for the n-th time.
type ending struct {
	context.Context
	left atomic.Int64
}

func (e *ending) Err() error {
	if e.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// Logits are measured row by row.
func TestMeasureLogitsStops(t *testing.T) {
	x := &tensor.Tensor{DType: tensor.BFloat16, Shape: []int{1 << 50, 64}, Stride: []int{0, 1}, Data: make([]byte, 128)}
	ctx := &ending{Context: context.Background()}
	ctx.left.Store(3)
	_, err := MeasureLogits(ctx, x, x)
	require.ErrorIs(t, err, context.Canceled)
}

// Measuring stops within a tensor, of whatever shape and type.
func TestMeasureStops(t *testing.T) {
	wide := func(d tensor.DType, shape ...int) *tensor.Tensor {
		stride := make([]int, len(shape))
		return &tensor.Tensor{DType: d, Shape: shape, Stride: stride, Data: make([]byte, 8)}
	}
	for _, c := range []struct {
		what string
		d    tensor.DType
		n    []int
	}{
		{"parts", tensor.BFloat16, []int{1 << 40, 64}},
		{"one row", tensor.Float32, []int{1 << 50}},
		{"integers", tensor.Int64, []int{1 << 50}},
		{"converted", tensor.Float8E5M2, []int{1 << 50}},
	} {
		r, x := wide(c.d, c.n...), wide(c.d, c.n...)
		r.Quant, x.Quant = &tensor.Quant{Scales: []float64{1}, ZeroPoints: []float64{0}, Axis: -1}, nil // not folded to one value
		ctx := &ending{Context: context.Background()}
		ctx.left.Store(3)
		_, err := MeasureContext(ctx, r, x, nil)
		require.ErrorIs(t, err, context.Canceled, c.what)
	}
}
