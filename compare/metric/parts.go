package metric

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// helping is the number of goroutines that help others with their tensor.
var helping atomic.Int64

// inOrder calls do for 0 … n-1, on this goroutine and on as many others as
// there are processors for, and then done, one call at a time and in order. A
// goroutine holds one part until it is done, so that memory is bounded. The
// error is the first in order. A fault of a mapped file becomes a panic of this
// goroutine, whose mmap.Guard knows the file.
func inOrder(n int, start func() (do func(int) error, done func(int))) error {
	var (
		next   atomic.Int64
		mu     sync.Mutex
		turned = sync.NewCond(&mu)
		turn   int
		failed error
		fault  any
		wg     sync.WaitGroup
	)
	work := func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		do, done := start()
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f, err := recovered(do, i)
			mu.Lock()
			for turn != i {
				turned.Wait()
			}
			switch {
			case failed != nil || fault != nil:
			case err != nil || f != nil:
				failed, fault = err, f
				next.Store(int64(n))
			default:
				done(i)
			}
			turn++
			turned.Broadcast()
			mu.Unlock()
		}
	}
	for range min(n, runtime.GOMAXPROCS(0)) - 1 {
		if helping.Add(1) >= int64(runtime.GOMAXPROCS(0)) {
			helping.Add(-1)
			break
		}
		wg.Go(func() {
			defer helping.Add(-1)
			work()
		})
	}
	work()
	wg.Wait()
	if fault != nil {
		panic(fault)
	}
	return failed
}

func recovered(do func(int) error, i int) (fault any, err error) {
	defer func() { fault = recover() }()
	return nil, do(i)
}
