// Package workers does many things of one kind, several at a time.
package workers

import "sync"

// Each calls do for 0 … n-1, at most workers at a time, and returns when all
// calls have.
func Each(workers, n int, do func(i int)) {
	todo := make(chan int)
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for i := range todo {
				do(i)
			}
		})
	}
	for i := range n {
		todo <- i
	}
	close(todo)
	wg.Wait()
}
