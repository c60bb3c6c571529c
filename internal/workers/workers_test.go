package workers

import (
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
