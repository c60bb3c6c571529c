package mmap

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Guard runs f, which reads mapped bytes of path, on the calling goroutine. A
// mapped page that has gone (somebody cut the file short) becomes an error
// that wraps ErrChanged instead of a crash; any other panic passes on. A
// goroutine that f starts needs a Guard of its own.
func Guard(path string, f func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		fault, ok := r.(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok || !mapped(fault.Addr()) {
			panic(r)
		}
		err = fmt.Errorf("%s: %w", path, ErrChanged)
	}()
	return f()
}
