package requests

import (
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
	"github.com/ilref/ilref/topology"
)

type noCloser struct{}

func (noCloser) Close() error { return nil }

// turns are the cosines or sines that positions turn by, of which the second pair turns slower.
func turns(path string, positions []int, f func(float64) float64, dtype tensor.DType) *il.Slot {
	x := tensor.New(dtype, 1, len(positions), 4)
	var v []float32
	for _, p := range positions {
		a, b := float32(f(float64(p))), float32(f(float64(float32(float64(p)*0.01))))
		v = append(v, a, b, a, b)
	}
	tensor.StoreFloat32(x.Data, dtype, v)
	return &il.Slot{Direction: il.Outputs, Path: path, Tensors: []*il.TensorFile{il.VirtualTensor("cpu", path, func() (*tensor.Tensor, io.Closer, error) { return x, noCloser{}, nil })}}
}

// Positions are read out of cosines and sines in float32: of several requests, at the limit, and none
// where the values are no turns, or too coarse to tell.
func TestPositionsOfTurns(t *testing.T) {
	read := func(dtype tensor.DType, positions ...int) []int {
		c := il.NewCall(topology.RotaryEmbName, 0, "", []*il.Slot{turns("0", positions, math.Cos, dtype), turns("1", positions, math.Sin, dtype)})
		return positionsOfTurns(&il.Step{Calls: []*il.Call{c}})
	}
	for _, want := range [][]int{{0, 1, 2}, {7}, {710}, {0, 1, 355, 44, 45}, {maxTurned - 2, maxTurned - 1}, {40000, 710, 0}} {
		require.Equal(t, want, read(tensor.Float32, want...))
	}
	require.Nil(t, read(tensor.Float32, maxTurned+7))
	require.Nil(t, read(tensor.BFloat16, 0, 1, 2))
	c := il.NewCall(topology.RotaryEmbName, 0, "", []*il.Slot{turns("0", []int{3}, math.Cos, tensor.Float32)})
	require.Nil(t, positionsOfTurns(&il.Step{Calls: []*il.Call{c}}))
}
