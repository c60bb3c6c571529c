package model

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/internal/nearest"
	"github.com/ilref/ilref/internal/sidefile"
	"github.com/ilref/ilref/tensor"
)

// Checkpoint is an open Hugging Face model folder: its configs, and its
// weights as views of mapped files. It is for one goroutine.
type Checkpoint struct {
	Name       string // the folder, for messages
	Config     *Config
	Generation *Generation // never nil; empty where the folder has no generation_config.json
	Warnings   []string    // what is odd but does not change the numbers

	fsys    fs.FS
	weights source
	used    map[string]bool
}

// source is where weights come from.
type source interface {
	// names lists the tensors in order of name.
	names() []string
	// tensor returns a view of a tensor and the file that holds it.
	tensor(name string) (t *tensor.Tensor, file string, err error)
	// largest returns the bytes of the largest tensor.
	largest() int
	// listing is the file that a missing tensor should have been in or named by.
	listing() string
	close() error
}

// Open opens a folder with config.json and model.safetensors, or
// model.safetensors.index.json and its shards. Weights stay mapped until
// Close.
func Open(dir string) (*Checkpoint, error) {
	st, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: no such folder; a model is a local folder with config.json and *.safetensors, nothing is downloaded", dir)
	case err != nil:
		return nil, fmt.Errorf("cannot open the model: %w", err)
	case !st.IsDir():
		return nil, fmt.Errorf("%s: is a file, expected a folder with config.json and *.safetensors", dir)
	}
	return open(dir, os.DirFS(dir), func(file string) (content, error) { return mapFile(filepath.Join(dir, file)) })
}

// OpenFS opens a model folder of a file system, such as an embedded one. The
// weights are read into memory. The name is for messages.
func OpenFS(name string, fsys fs.FS) (*Checkpoint, error) {
	return open(name, fsys, func(file string) (content, error) {
		b, err := sidefile.ReadFS(fsys, file, path.Join(name, file), math.MaxInt64-1)
		return content{data: b, close: func() error { return nil }, guard: func(f func() error) error { return f() }}, err
	})
}

// content is the bytes of a file until close; they are read inside guard.
type content struct {
	data  []byte
	close func() error
	guard func(func() error) error
}

type opener func(file string) (content, error)

func mapFile(path string) (content, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return content{}, err
	}
	return content{data: m.Bytes(), close: m.Close, guard: func(f func() error) error { return mmap.Guard(path, f) }}, nil
}

func open(name string, fsys fs.FS, open opener) (*Checkpoint, error) {
	c := &Checkpoint{Name: name, fsys: fsys, used: map[string]bool{}}
	if err := c.readConfigs(); err != nil {
		return nil, err
	}
	if err := c.openWeights(open); err != nil {
		return nil, err
	}
	if err := c.checkSizes(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// path is a file of the folder as messages name it.
func (c *Checkpoint) path(file string) string { return filepath.Join(c.Name, filepath.FromSlash(file)) }

// maxFile bounds the files beside the weights, in bytes. The largest there are:
// a tokenizer.json of 35 MB, an index of 10 MB, and all others below 5 MB.
var maxFile = map[string]int64{
	"tokenizer.json":               128 << 20,
	"tokenizer.model":              128 << 20,
	"model.safetensors.index.json": 64 << 20,
	"pytorch_model.bin.index.json": 64 << 20,
	"chat_template.jinja":          1 << 20,
	"config.json":                  4 << 20,
	"generation_config.json":       1 << 20,
}

// read reads a file beside the weights.
func (c *Checkpoint) read(file string) ([]byte, error) {
	limit, ok := maxFile[file]
	if !ok {
		limit = 16 << 20
	}
	b, err := sidefile.ReadFS(c.fsys, file, c.path(file), limit)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = fmt.Errorf("%s: %w", c.Name, err)
	}
	return b, err
}

func (c *Checkpoint) exists(file string) bool {
	_, err := fs.Stat(c.fsys, file)
	return err == nil
}

func (c *Checkpoint) readConfigs() error {
	b, err := c.read("config.json")
	switch {
	case errors.Is(err, fs.ErrNotExist) && !c.hasWeights():
		return fmt.Errorf("%s: not a model folder, it has neither config.json nor weights", c.Name)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: the model folder has no config.json; copy it from where the weights came", c.Name)
	case err != nil:
		return err
	}
	if c.Config, err = ParseConfig(c.path("config.json"), b); err != nil {
		return err
	}
	c.Warnings = append(c.Warnings, c.Config.Warnings...)

	c.Generation = &Generation{BOSTokenID: -1}
	b, err = c.read("generation_config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		c.Generation, err = ParseGeneration(c.path("generation_config.json"), b)
	}
	return err
}

// checkSizes holds the numbers of config.json by which memory is taken against
// the weights: a layer has a tensor at least, and a head's values are rows of
// one. The other sizes are shapes of tensors, which are compared with them.
func (c *Checkpoint) checkSizes() error {
	if n, have := c.Config.NumHiddenLayers, len(c.weights.names()); n > have {
		return fmt.Errorf("%s: num_hidden_layers is %d, but %s has only %d tensors", c.Config.File, n, c.weights.listing(), have)
	}
	if n, largest := c.Config.HeadDim, c.weights.largest(); n > 1<<16 && n > largest {
		return fmt.Errorf("%s: head_dim is %d, but the largest tensor of %s has only %d bytes", c.Config.File, n, c.weights.listing(), largest)
	}
	return nil
}

// Has reports whether the checkpoint holds a tensor.
func (c *Checkpoint) Has(name string) bool {
	_, ok := slices.BinarySearch(c.weights.names(), name)
	return ok
}

// Weight returns a tensor of the checkpoint, which must have the shape and be
// float64, float32, float16 or bfloat16, and marks it as used. The view is
// valid until Close.
func (c *Checkpoint) Weight(name string, shape ...int) (*tensor.Tensor, error) {
	if !c.Has(name) {
		near := ""
		if n := nearest.To(name, c.weights.names()); n != "" {
			near = fmt.Sprintf("; the nearest is %q", n)
		}
		return nil, fmt.Errorf("%s: no tensor %q of shape %s, which the model needs%s",
			c.path(c.weights.listing()), name, tensor.ShapeString(shape), near)
	}
	t, file, err := c.weights.tensor(name)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(t.Shape, shape) {
		return nil, fmt.Errorf("%s: tensor %q has shape %s, expected %s by config.json",
			c.path(file), name, tensor.ShapeString(t.Shape), tensor.ShapeString(shape))
	}
	switch t.DType {
	case tensor.Float64, tensor.Float32, tensor.Float16, tensor.BFloat16:
	default:
		return nil, fmt.Errorf("%s: tensor %q is %s, expected float64, float32, float16 or bfloat16; quantized checkpoints cannot be read",
			c.path(file), name, t.DType)
	}
	c.used[name] = true
	return t, nil
}

// skip marks the tensors with a prefix as used, which the model passes over.
func (c *Checkpoint) skip(prefix string) {
	for _, n := range c.weights.names() {
		if strings.HasPrefix(n, prefix) {
			c.used[n] = true
		}
	}
}

// Unused lists the tensors that Weight never returned, in order of name.
func (c *Checkpoint) Unused() []string {
	var unused []string
	for _, n := range c.weights.names() {
		if !c.used[n] {
			unused = append(unused, n)
		}
	}
	return unused
}

// Close ends the mapping of the weights: tensors must not be used any more.
func (c *Checkpoint) Close() error { return c.weights.close() }
