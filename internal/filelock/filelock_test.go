package filelock

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// One at a time, and all in the end; who is told to stop does not wait.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var inside, done atomic.Int64 // the race detector does not see what the lock orders
	for range 8 {
		wg.Go(func() {
			unlock, err := Lock(context.Background(), dir)
			if !assert(t, err) {
				return
			}
			defer unlock()
			if inside.Add(1) != 1 {
				t.Error("two at once")
			}
			done.Add(1)
			inside.Add(-1)
		})
	}
	wg.Wait()
	require.EqualValues(t, 8, done.Load())

	unlock, err := Lock(context.Background(), dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Lock(ctx, dir)
	require.ErrorIs(t, err, context.Canceled)
	unlock()
	_, err = Lock(context.Background(), dir+"/no/such")
	require.ErrorContains(t, err, "cannot be locked")
}

func assert(t *testing.T, err error) bool {
	if err != nil {
		t.Error(err)
	}
	return err == nil
}
