package measure

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/compare/metric"
	"github.com/ilref/ilref/compare/pairing"
	"github.com/ilref/ilref/compare/report"
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// A comparison that is interrupted does not wait for the end of a tensor.
func TestPairsStopsWithinATensor(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	endless := func(q *tensor.Quant) *il.Slot {
		return &il.Slot{Direction: il.Outputs, Tensors: []*il.TensorFile{il.VirtualTensor("cpu", "x.pt", func() (*tensor.Tensor, io.Closer, error) {
			cancel() // as it is read
			return &tensor.Tensor{DType: tensor.BFloat16, Shape: []int{1 << 40, 64}, Stride: []int{0, 0}, Data: make([]byte, 2), Quant: q}, io.NopCloser(nil), nil
		})}}
	}
	p := &pairing.Pair{
		Key:    report.Key{Module: "model.norm", Direction: report.Outputs},
		Status: pairing.Compared, Target: endless(nil),
		Ref: endless(&tensor.Quant{Scales: []float64{1}, ZeroPoints: []float64{0}, Axis: -1}), // not folded to one value
	}
	f := &pairing.Forward{Calls: []*pairing.Call{{Module: "model.norm", Slots: []*pairing.Pair{p}}}}
	_ = Pairs(ctx, []*pairing.Forward{f}, metric.DefaultTolerance, nil, nil)
	require.Nil(t, p.Result)
	require.Equal(t, context.Canceled.Error(), p.Why)
}
