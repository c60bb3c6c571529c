package pairing

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Rows of an embedding are copied where they are as wide as a hidden state.
func TestEmbeddedRowsAreNarrow(t *testing.T) {
	session := func(width int) *il.Session {
		virtual := func(x *tensor.Tensor) []*il.TensorFile {
			return []*il.TensorFile{il.VirtualTensor("cuda:0", "x", func() (*tensor.Tensor, io.Closer, error) { return x, io.NopCloser(nil), nil })}
		}
		out := &tensor.Tensor{DType: tensor.BFloat16, Shape: []int{2, width}, Stride: []int{0, 0}, Data: make([]byte, 2)}
		call := &il.Call{Module: "model.embed_tokens", Slots: []*il.Slot{
			{Direction: il.Inputs, Path: "0", Tensors: virtual(tensor.FromInts(tensor.Int64, []int{5, 6}, 2))},
			{Direction: il.Outputs, Tensors: virtual(out)},
		}}
		return &il.Session{Steps: []*il.Step{{Calls: []*il.Call{call}}}}
	}
	require.Len(t, embeddedRows(session(64), nil), 2)
	require.Empty(t, embeddedRows(session(widestRow+1), nil))
}
