package il

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/ilref/ilref/tensor"
)

// reloader replaces logged inputs by those of a recorded session.
type reloader struct {
	dir            string // "" for none
	call           string // directory of the current call, below the session
	loaded, absent int
	firstAbsent    string
}

func (r *reloader) check() error {
	if r.dir == "" {
		return nil
	}
	entries, err := readDir(r.dir)
	if err != nil {
		return fmt.Errorf("reload_input_dir: %w", err)
	}
	if !hasStep(entries) {
		return fmt.Errorf("reload_input_dir: %s is not a session: expected the directories step_0, step_1, … in it", r.dir)
	}
	return nil
}

// replace returns a copy of the tensor that the recorded session holds under a
// name for the current call, or t where it holds none.
func (r *reloader) replace(t *tensor.Tensor, name string) (*tensor.Tensor, error) {
	if r.dir == "" {
		return t, nil
	}
	file := filepath.Join(r.dir, r.call, name)
	var c *tensor.Tensor
	err := (&TensorFile{File: file}).With(func(x *tensor.Tensor) error {
		if x.DType != t.DType || !slices.Equal(x.Shape, t.Shape) {
			return fmt.Errorf("%s is %v, expected %v as in this run", file, x, t)
		}
		if err := x.CheckCopy(); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		c = x.Clone() // modules write to their arguments
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		if r.absent++; r.absent == 1 {
			r.firstAbsent = file
		}
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reload_input_dir: %w", err)
	}
	r.loaded++
	c.Device = t.Device
	return c, nil
}

func (r *reloader) warnings() []string {
	if r.absent == 0 {
		return nil
	}
	return []string{fmt.Sprintf("reload_input_dir holds %d of %d inputs, the others kept their own values: the first that it lacks is %s", r.loaded, r.loaded+r.absent, r.firstAbsent)}
}
