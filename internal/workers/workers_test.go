package workers

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Everything is done once, by no more workers than there may be.
func TestEach(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		done := make([]atomic.Int32, n)
		var now, most atomic.Int32
		Each(3, n, func(i int) {
			k := now.Add(1)
			for m := most.Load(); k > m && !most.CompareAndSwap(m, k); m = most.Load() {
			}
			done[i].Add(1)
			now.Add(-1)
		})
		for i := range done {
			require.EqualValues(t, 1, done[i].Load())
		}
		require.LessOrEqual(t, most.Load(), int32(3))
	}
}

// What began before the end of the context is done, and little more.
func TestUntil(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var begun []int
	var done atomic.Int32
	err := Until(ctx, 2, 100, func(i int) {
		begun = append(begun, i)
		if i == 10 {
			cancel()
		}
	}, func(int) { done.Add(1) })
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, len(begun), 100)
	require.Equal(t, 10, begun[10])
	require.GreaterOrEqual(t, done.Load(), int32(10))
	require.LessOrEqual(t, int(done.Load()), len(begun))
}
