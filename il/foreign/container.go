package foreign

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/model/safetensors"
	"github.com/ilref/ilref/tensor"
)

// idle is how many files stay open that nobody reads at the moment: the tensors
// of one are asked for one after another.
const idle = 8

// shelf keeps files with several tensors open while they are read, and some
// beyond that, so that the names in them are read once and not once a tensor.
type shelf struct {
	mu    sync.Mutex
	files map[string]*container
	idle  []*container // the one that was put back last comes last
}

// container is an open file.
type container struct {
	shelf   *shelf
	path    string
	tensors map[string]*tensor.Tensor
	file    io.Closer
	users   int

	once sync.Once // of reading it
	err  error
}

func newShelf() *shelf { return &shelf{files: map[string]*container{}} }

// tensor is a tensor of a file by its key, of which make makes what is asked for;
// nil for the tensor itself. device labels it.
func (s *shelf) tensor(device, path, key string, change func(*tensor.Tensor) (*tensor.Tensor, error)) *il.TensorFile {
	what := path
	if key != "" && key != dumperKey {
		what += " [" + printable(key) + "]"
	}
	return il.TensorWithin(device, path, what, func() (*tensor.Tensor, io.Closer, error) {
		c, err := s.open(path)
		if err != nil {
			return nil, nil, err
		}
		t, err := c.take(key, change)
		if err != nil {
			c.Close()
			return nil, nil, fmt.Errorf("%s: %w", what, err)
		}
		return t, c, nil
	})
}

// take finds a tensor of the file.
func (c *container) take(key string, change func(*tensor.Tensor) (*tensor.Tensor, error)) (*tensor.Tensor, error) {
	t := c.tensors[key]
	switch {
	case t == nil && key == "":
		return nil, fmt.Errorf("holds %d tensors in a container, expected one bare tensor", len(c.tensors))
	case t == nil:
		return nil, fmt.Errorf("holds no tensor at %q: it is another kind of value, or the file is not one of this dump", printable(key))
	}
	if err := t.CheckClaim(); err != nil {
		return nil, err
	}
	if change == nil {
		return t, nil
	}
	var err error
	if e := mmap.Guard(c.path, func() error { t, err = change(t); return nil }); e != nil {
		return nil, e
	}
	return t, err
}

// open opens a file, or takes it from the shelf. Files are read side by side.
func (s *shelf) open(path string) (*container, error) {
	s.mu.Lock()
	c := s.files[path]
	switch {
	case c == nil:
		c = &container{shelf: s, path: path}
		s.files[path] = c
	case c.users == 0:
		s.idle = slices.DeleteFunc(s.idle, func(x *container) bool { return x == c })
	}
	c.users++
	s.mu.Unlock()
	c.once.Do(func() { c.err = c.read() })
	if c.err != nil {
		c.drop()
		return nil, c.err
	}
	return c, nil
}

// drop forgets a file that cannot be read.
func (c *container) drop() {
	c.shelf.mu.Lock()
	defer c.shelf.mu.Unlock()
	if c.users--; c.users == 0 && c.shelf.files[c.path] == c {
		delete(c.shelf.files, c.path)
	}
}

// Close puts the file back; of too many that nobody reads the oldest is closed.
func (c *container) Close() error {
	s := c.shelf
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.users--; c.users > 0 {
		return nil
	}
	s.idle = append(s.idle, c)
	if len(s.idle) <= idle {
		return nil
	}
	old := s.idle[0]
	s.idle = s.idle[1:]
	delete(s.files, old.path)
	return old.file.Close()
}

// read lists the tensors of the file by their keys: those of a .pt file joined
// with a slash.
func (c *container) read() error {
	if strings.HasSuffix(c.path, ".safetensors") {
		return c.readSafetensors()
	}
	f, err := pt.Open(c.path)
	if err != nil {
		return err
	}
	c.file, c.tensors = f, map[string]*tensor.Tensor{}
	for _, n := range f.Tensors() {
		c.tensors[strings.Join(n.Keys, "/")] = n.Tensor
	}
	return nil
}

func (c *container) readSafetensors() error {
	m, err := mmap.Open(c.path)
	if err != nil {
		return err
	}
	err = mmap.Guard(c.path, func() error {
		f, err := safetensors.Parse(c.path, m.Bytes())
		if err != nil {
			return err
		}
		c.tensors = map[string]*tensor.Tensor{}
		for _, e := range f.Entries() {
			t, err := f.Tensor(e.Name)
			if err != nil {
				return err
			}
			c.tensors[e.Name] = t
		}
		return nil
	})
	if err != nil {
		m.Close()
		return err
	}
	c.file = m
	return nil
}
