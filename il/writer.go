package il

import (
	"errors"
	"io/fs"
	"runtime"
	"sync"

	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/tensor"
)

const (
	maxWaiting = 64 << 20 // bytes of copies that wait to be written at most
	maxWriters = 4        // goroutines that write at most
	fileCost   = 1 << 10  // what a file takes in memory beside its bytes
)

// writer writes the files of calls while the model computes. Modules work in
// place, so a call that waits holds copies of its tensors; where these would
// pass maxWaiting, the caller writes the call itself, from the tensors as they
// are. The goroutines end when nothing waits.
type writer struct {
	mu      sync.Mutex
	done    sync.WaitGroup
	queue   []*record
	waiting int // bytes of the queue and of what is being written
	running int // goroutines

	calls  int   // handed over so far
	err    error // of the earliest call that failed
	failed int   // its number
}

// write takes over a call whose tensors the caller may change afterwards.
func (w *writer) write(r *record) {
	w.mu.Lock()
	r.number = w.calls
	w.calls++
	if w.waiting > 0 && w.waiting+r.bytes > maxWaiting {
		w.mu.Unlock()
		w.run(r)
		return
	}
	w.waiting += r.bytes
	w.mu.Unlock()
	r.copyTensors()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, r)
	if w.running < min(maxWriters, runtime.GOMAXPROCS(0)) {
		w.running++
		w.done.Go(w.work)
	}
}

// work writes calls until none waits.
func (w *writer) work() {
	for {
		r := w.next()
		if r == nil {
			return
		}
		w.run(r)
		w.mu.Lock()
		w.waiting -= r.bytes
		w.mu.Unlock()
	}
}

func (w *writer) next() *record {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.running--
		return nil
	}
	r := w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	return r
}

// run writes one call, unless an earlier one failed.
func (w *writer) run(r *record) {
	w.mu.Lock()
	late := w.err != nil && w.failed < r.number
	w.mu.Unlock()
	if late {
		return
	}
	if err := r.write(); err != nil {
		w.fail(r.number, err)
	}
}

// fail keeps the failure of the earliest call: which it is does not depend on
// the order in which goroutines come to write.
func (w *writer) fail(number int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil || number < w.failed {
		w.err, w.failed = err, number
	}
}

// refuse fails in the place of a call that cannot be written.
func (w *writer) refuse(err error) {
	w.fail(w.calls, err)
	w.calls++
}

// hasFailed reports whether a failure is known by now.
func (w *writer) hasFailed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}

// finish returns when all is written, with the first failure. The caller helps.
func (w *writer) finish() error {
	w.mu.Lock()
	w.running++
	w.mu.Unlock()
	w.work()
	w.done.Wait()
	return w.err
}

// file is one file of a call: a tensor, or bytes.
type file struct {
	path   string
	tensor *tensor.Tensor // nil for bytes
	data   []byte
}

func (f file) write() error {
	if f.tensor != nil {
		return pt.WriteFile(f.path, f.tensor)
	}
	return writeWhole(f.path, f.data)
}

// copyTensors makes the call independent of what the modules do.
func (r *record) copyTensors() {
	for i, f := range r.files {
		if f.tensor != nil {
			r.files[i].tensor = f.tensor.Clone()
		}
	}
}

// write writes the files in order: a later one may replace an earlier one. The
// first file of a call finds no directory.
func (r *record) write() error {
	for _, f := range r.files {
		err := f.write()
		if errors.Is(err, fs.ErrNotExist) {
			if err = makeDir(r.dir); err == nil {
				err = f.write()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
