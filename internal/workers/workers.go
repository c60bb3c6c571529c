// Package workers does many things of one kind, several at a time.
package workers

import (
	"context"
	"sync"
)

// Each calls do for 0 … n-1, at most workers at a time, and returns when all
// calls have.
func Each(workers, n int, do func(i int)) {
	_ = Until(context.Background(), workers, n, func(int) {}, do)
}

// Until is Each that begins nothing more when ctx ends, and returns its error
// then. begin is called before each, in order, by the caller's goroutine.
func Until(ctx context.Context, workers, n int, begin, do func(i int)) error {
	todo := make(chan int)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(todo)
	for range min(workers, n) {
		wg.Go(func() {
			for i := range todo {
				do(i)
			}
		})
	}
	for i := range n {
		begin(i)
		select {
		case todo <- i:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
