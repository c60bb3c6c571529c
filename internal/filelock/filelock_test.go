package filelock

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// One at a time, and all in the end; who is told to stop does not wait.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	inside, done := 0, 0 // by the lock alone
	for range 8 {
		wg.Go(func() {
			unlock, err := Lock(context.Background(), dir)
			if !assert(t, err) {
				return
			}
			defer unlock()
			if inside++; inside != 1 {
				t.Error("two at once")
			}
			done++
			inside--
		})
	}
	wg.Wait()
	require.Equal(t, 8, done)

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
