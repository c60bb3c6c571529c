package il

import (
	"fmt"

	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// With opens the file, calls read with its tensor and closes it. The tensor is a
// view of the mapped file: where the file becomes shorter while read goes through
// it, that is an error, and not the end of the program. What read keeps it must
// copy.
func (f *TensorFile) With(read func(*tensor.Tensor) error) error {
	t, closer, err := f.Open()
	if err != nil {
		return err
	}
	defer closer.Close()
	return mmap.Guard(f.File, func() error { return read(t) })
}

// WithBoth is With for two files.
func WithBoth(a, b *TensorFile, read func(x, y *tensor.Tensor) error) error {
	x, xc, err := a.Open()
	if err != nil {
		return err
	}
	defer xc.Close()
	y, yc, err := b.Open()
	if err != nil {
		return err
	}
	defer yc.Close()
	name := a.File
	if b.File != name {
		name += " or " + b.File
	}
	return mmap.Guard(name, func() error { return read(x, y) })
}

// CallName is the name of a call's directory: the module's, with a number from
// the second call of a step on.
func CallName(module string, call int) string {
	if call == 0 {
		return module
	}
	return fmt.Sprintf("%s_%d", module, call)
}
