package model

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"github.com/ilref/ilref/tensor"
)

// openWeights finds the weights as transformers does: safetensors before
// pickles, the single file before the index.
func (c *Checkpoint) openWeights(open opener) error {
	for _, f := range weightForms {
		var err error
		switch {
		case c.exists(f.single):
			if c.exists(f.index) {
				c.warn("%s is used and %s beside it is not", c.path(f.single), f.index)
			}
			c.weights, err = c.openSingle(f, open)
		case c.exists(f.index):
			c.weights, err = c.openShards(f, open)
		default:
			continue
		}
		return err
	}
	return c.noWeights()
}

// weightFiles are the names under which weights are found, for messages.
var weightFiles = []string{"*.safetensors", "pytorch_model*.bin", "*.gguf", "consolidated*.pth"}

func (c *Checkpoint) hasWeights() bool {
	return slices.ContainsFunc(weightFiles, func(p string) bool { return c.glob(p) != "" })
}

// glob returns the first file that matches, or "".
func (c *Checkpoint) glob(pattern string) string {
	m, _ := fs.Glob(c.fsys, pattern) // the patterns are well formed
	if len(m) == 0 {
		return ""
	}
	return m[0]
}

func (c *Checkpoint) noWeights() error {
	want := fmt.Sprintf("expected %s, or %s and its shards", weightForms[0].single, weightForms[0].index)
	for _, p := range weightFiles {
		if f := c.glob(p); path.Ext(f) == ".safetensors" || path.Ext(f) == ".bin" {
			return fmt.Errorf("%s: %s; found only files like %s, whose part of the model nothing names", c.Name, want, f)
		} else if f != "" {
			return fmt.Errorf("%s: %s; found only %s, which cannot be read: convert it to safetensors", c.Name, want, f)
		}
	}
	return fmt.Errorf("%s: the model folder has no weights; %s", c.Name, want)
}

func (c *Checkpoint) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// shards are the files that hold a checkpoint's weights.
type shards struct {
	form   weightForm
	list   string // the single file or the index
	sorted []string
	holder map[string]shard // by tensor
	most   int              // bytes of the largest tensor
	closes []func() error
}

type shard struct {
	file string
	weightFile
}

func (s *shards) names() []string { return s.sorted }
func (s *shards) listing() string { return s.list }

func (s *shards) largest() int { return s.most }

func (s *shards) tensor(name string) (*tensor.Tensor, string, error) {
	h := s.holder[name]
	t, err := h.tensor(name)
	return t, h.file, err
}

func (s *shards) close() error {
	var errs []error
	for _, f := range s.closes {
		errs = append(errs, f())
	}
	s.closes = nil
	return errors.Join(errs...)
}

// openFile maps and checks one file.
func (s *shards) openFile(c *Checkpoint, open opener, file string) (shard, error) {
	data, err := open(file)
	if err != nil {
		return shard{}, err
	}
	s.closes = append(s.closes, data.close)
	h := shard{file: file}
	err = data.guard(func() (err error) {
		h.weightFile, err = s.form.parse(c.path(file), data.data)
		return err
	})
	if err == nil {
		for _, n := range h.sizes() {
			s.most = max(s.most, n)
		}
	}
	return h, err
}

func (c *Checkpoint) openSingle(f weightForm, open opener) (source, error) {
	s := &shards{form: f, list: f.single, holder: map[string]shard{}}
	h, err := s.openFile(c, open, f.single)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	for name := range h.sizes() {
		s.holder[name] = h
	}
	s.sorted = slices.Sorted(maps.Keys(s.holder))
	return s, nil
}

// openShards opens every file that the index names and checks that each holds
// what the index says.
func (c *Checkpoint) openShards(f weightForm, open opener) (source, error) {
	index, total, err := c.readIndex(f)
	if err != nil {
		return nil, err
	}
	s := &shards{form: f, list: f.index, sorted: slices.Sorted(maps.Keys(index)), holder: map[string]shard{}}
	size := 0
	for _, file := range slices.Compact(slices.Sorted(maps.Values(index))) {
		n, err := c.openShard(s, open, index, file)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		size += n
	}
	if total >= 0 && total != size {
		c.warn("%s: metadata.total_size is %d, but the tensors take %d bytes", c.path(f.index), total, size)
	}
	return s, nil
}

// openShard adds the tensors of one file and returns their bytes.
func (c *Checkpoint) openShard(s *shards, open opener, index map[string]string, file string) (int, error) {
	h, err := s.openFile(c, open, file)
	if errors.Is(err, fs.ErrNotExist) {
		n, first := 0, ""
		for _, name := range s.sorted {
			if index[name] == file {
				n++
				first = firstNonEmpty(first, name)
			}
		}
		return 0, fmt.Errorf("%s: no such file; %s expects %d tensors in it, such as %q: download it again", c.path(file), s.list, n, first)
	}
	if err != nil {
		return 0, err
	}
	size := 0
	sizes := h.sizes()
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if index[name] != file {
			c.warn("%s: tensor %q is not used: %s does not name it there", c.path(file), name, s.list)
			continue
		}
		s.holder[name] = h
		size += sizes[name]
	}
	for _, name := range s.sorted {
		if _, ok := sizes[name]; index[name] == file && !ok {
			return 0, fmt.Errorf("%s: no tensor %q, which %s names there", c.path(file), name, s.list)
		}
	}
	return size, nil
}

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// readIndex returns the file of each tensor, and metadata.total_size or -1.
func (c *Checkpoint) readIndex(f weightForm) (index map[string]string, total int, err error) {
	b, err := c.read(f.index)
	if err != nil {
		return nil, 0, err
	}
	o := parseObject(c.path(f.index), b)
	o.require("weight_map", "the file of each tensor")
	m := o.sub("weight_map")
	index = make(map[string]string, len(m.keys))
	for _, name := range m.keys {
		file := m.string(name, "")
		if o.doc.err == nil && (!filepath.IsLocal(filepath.FromSlash(file)) || !fs.ValidPath(file) || path.Ext(file) != path.Ext(f.single)) {
			m.failKey(name, "is %q, expected a *%s file inside the folder", file, path.Ext(f.single))
		}
		index[name] = file
	}
	if o.doc.err == nil && len(index) == 0 {
		o.failKey("weight_map", "names no tensor")
	}
	total = o.sub("metadata").int("total_size", -1)
	return index, total, o.doc.err
}
