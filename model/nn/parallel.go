package nn

import (
	"sync"
	"sync/atomic"
)

// parallel runs tasks 0 to n-1 on the threads. worker is called once a thread
// and returns its task function, so that each thread has scratch memory of its
// own. Tasks write to disjoint places: the result does not depend on their
// order.
func (o *ops[F]) parallel(n int, worker func() func(task int)) {
	threads := min(o.threads, n)
	if threads <= 1 {
		run := worker()
		for i := range n {
			run(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range threads {
		wg.Go(func() {
			run := worker()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				run(i)
			}
		})
	}
	wg.Wait()
}
