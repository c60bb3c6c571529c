package nn

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// parallel runs tasks 0 to n-1 on the threads. worker is called once a thread
// and returns its task function, so that each thread has scratch memory of its
// own. Tasks write to disjoint places: the result does not depend on their
// order. A panic of a task goes on in the caller, where a fault in the mapped
// checkpoint can become an error (mmap.Guard).
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
	var failure atomic.Pointer[any]
	for range threads {
		wg.Go(func() {
			debug.SetPanicOnFault(true) // for this goroutine, which ends here
			defer func() {
				if r := recover(); r != nil {
					failure.Store(&r)
				}
			}()
			run := worker()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				run(i)
			}
		})
	}
	wg.Wait()
	if r := failure.Load(); r != nil {
		panic(*r)
	}
}
