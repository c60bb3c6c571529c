// Package workers does many things of one kind, several at a time.
package workers

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// Panic is a panic of a call that goes on in the goroutine that waits for it.
type Panic struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (p *Panic) Error() string { return fmt.Sprint(p.Value) }

// Each calls do for 0 … n-1, at most workers at a time, and returns when all
// calls have. A panic of one goes on in the caller, as a *Panic.
func Each(workers, n int, do func(i int)) {
	_ = Until(context.Background(), workers, n, func(int) {}, do)
}

// Until is Each that begins nothing more when ctx ends, and returns its error
// then. begin is called before each, in order, by the caller's goroutine.
func Until(ctx context.Context, workers, n int, begin, do func(i int)) error {
	todo := make(chan int)
	var wg sync.WaitGroup
	var once sync.Once
	var failure *Panic
	failed := make(chan struct{})
	defer func() {
		close(todo)
		wg.Wait()
		if failure != nil {
			panic(failure)
		}
	}()
	for range min(workers, n) {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					once.Do(func() { failure = &Panic{r, debug.Stack()}; close(failed) })
				}
			}()
			for i := range todo {
				do(i)
			}
		})
	}
	for i := range n {
		begin(i)
		select {
		case todo <- i:
		case <-failed:
			return nil // the panic goes on
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
