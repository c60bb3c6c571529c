package model

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"github.com/ilref/ilref/model/safetensors"
	"github.com/ilref/ilref/tensor"
)

const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// openWeights finds the weights as transformers does: the single file before
// the index.
func (c *Checkpoint) openWeights(open opener) error {
	var err error
	switch {
	case c.exists(singleFile):
		if c.exists(indexFile) {
			c.warn("%s is used and %s beside it is not", c.path(singleFile), indexFile)
		}
		c.weights, err = c.openSingle(open)
	case c.exists(indexFile):
		c.weights, err = c.openShards(open)
	default:
		err = c.noWeights()
	}
	return err
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
	want := fmt.Sprintf("expected %s, or %s and its shards", singleFile, indexFile)
	for _, p := range weightFiles {
		if f := c.glob(p); path.Ext(f) == ".safetensors" {
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

// shards are the safetensors files of a checkpoint.
type shards struct {
	list   string // the single file or the index
	sorted []string
	holder map[string]shard // by tensor
	closes []func() error
}

type shard struct {
	file string
	*safetensors.File
}

func (s *shards) names() []string { return s.sorted }
func (s *shards) listing() string { return s.list }

func (s *shards) tensor(name string) (*tensor.Tensor, string, error) {
	h := s.holder[name]
	t, err := h.Tensor(name)
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
		h.File, err = safetensors.Parse(c.path(file), data.data)
		return err
	})
	return h, err
}

func (c *Checkpoint) openSingle(open opener) (source, error) {
	s := &shards{list: singleFile, holder: map[string]shard{}}
	h, err := s.openFile(c, open, singleFile)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	for _, e := range h.Entries() {
		s.holder[e.Name] = h
	}
	s.sorted = slices.Sorted(maps.Keys(s.holder))
	return s, nil
}

// openShards opens every file that the index names and checks that each holds
// what the index says.
func (c *Checkpoint) openShards(open opener) (source, error) {
	index, total, err := c.readIndex()
	if err != nil {
		return nil, err
	}
	s := &shards{list: indexFile, sorted: slices.Sorted(maps.Keys(index)), holder: map[string]shard{}}
	size := 0
	for _, file := range slices.Compact(slices.Sorted(maps.Values(index))) {
		n, err := c.openShard(s, open, index, file)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		size += n
	}
	if total >= 0 && total != size {
		c.warn("%s: metadata.total_size is %d, but the tensors take %d bytes", c.path(indexFile), total, size)
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
		return 0, fmt.Errorf("%s: no such file; %s expects %d tensors in it, such as %q: download it again", c.path(file), indexFile, n, first)
	}
	if err != nil {
		return 0, err
	}
	size := 0
	for _, e := range h.Entries() {
		if index[e.Name] != file {
			c.warn("%s: tensor %q is not used: %s does not name it there", c.path(file), e.Name, indexFile)
			continue
		}
		s.holder[e.Name] = h
		size += e.End - e.Begin
	}
	for _, name := range s.sorted {
		if _, ok := h.Entry(name); index[name] == file && !ok {
			return 0, fmt.Errorf("%s: no tensor %q, which %s names there", c.path(file), name, indexFile)
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
func (c *Checkpoint) readIndex() (index map[string]string, total int, err error) {
	b, err := fs.ReadFile(c.fsys, indexFile)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", c.Name, err)
	}
	o := parseObject(c.path(indexFile), b)
	o.require("weight_map", "the file of each tensor")
	m := o.sub("weight_map")
	index = make(map[string]string, len(m.keys))
	for _, name := range m.keys {
		file := m.string(name, "")
		if o.doc.err == nil && (!filepath.IsLocal(filepath.FromSlash(file)) || !fs.ValidPath(file) || path.Ext(file) != ".safetensors") {
			m.failKey(name, "is %q, expected a *.safetensors file inside the folder", file)
		}
		index[name] = file
	}
	if o.doc.err == nil && len(index) == 0 {
		o.failKey("weight_map", "names no tensor")
	}
	total = o.sub("metadata").int("total_size", -1)
	return index, total, o.doc.err
}
