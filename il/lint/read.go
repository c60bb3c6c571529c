package lint

import (
	"context"
	"runtime"
	"slices"

	"github.com/ilref/ilref/internal/workers"
	"github.com/ilref/ilref/tensor"
)

// read opens every tensor and side file, several calls at the same time. Each
// call's facts are its own, so that the order does not matter.
func (l *linter) read() error {
	var calls []*callFacts
	for _, s := range l.steps {
		calls = append(calls, s.calls...)
	}
	err := workers.Until(l.ctx, runtime.GOMAXPROCS(0), len(calls), func(int) {}, func(i int) {
		calls[i].readTensors(l.ctx, l.opts)
		calls[i].readSides()
	})
	if err == nil {
		err = l.ctx.Err()
	}
	if err != nil {
		return err
	}
	for f := range l.each {
		l.Checked.Tensors++
		if f.whole {
			l.Checked.Bytes += int64(f.numel()) * int64(f.dtype.Size())
		}
	}
	l.usual = newUsual(l.steps)
	l.devices = l.usual.devices()
	return nil
}

// each yields the facts of all tensors in execution order.
func (l *linter) each(yield func(*fact) bool) {
	for _, s := range l.steps {
		for _, c := range s.calls {
			for _, f := range c.facts {
				if !yield(f) {
					return
				}
			}
		}
	}
}

func (c *callFacts) readTensors(ctx context.Context, o Options) {
	for _, f := range c.facts {
		if !o.NoValues {
			f.file.Load()
		}
		f.err = f.file.With(func(t *tensor.Tensor) error {
			f.dtype, f.shape = t.DType, slices.Clone(t.Shape)
			if o.NoValues || t.Meta {
				return nil
			}
			var err error
			f.flags, err = scan(t, ctx.Err)
			f.whole = err == nil
			return err
		})
	}
}
