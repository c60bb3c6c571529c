package compare

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Progress counts every compared tensor once, and ends with all of all; a
// comparison that is stopped does not say it has ended.
func TestProgress(t *testing.T) {
	s := open(t, "gopher-1m-bf16")
	var calls []int
	r := run(t, s, s, Options{Progress: func(done, total int) {
		require.Equal(t, 1160, total)
		calls = append(calls, done)
	}})
	require.Equal(t, 1160, r.Coverage.Compared)
	require.Len(t, calls, 1161)
	for i, done := range calls {
		require.Equal(t, i, done)
	}

	ctx, cancel := context.WithCancel(context.Background())
	last := 0
	_, err := SessionsContext(ctx, s, s, Options{Progress: func(done, total int) {
		if last = done; done == 100 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, last, 1160)
}
