package il

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ilref/ilref/tensor"
)

// record collects the files of one call, for a writer.
type record struct {
	cfg    *Config
	device string
	dir    string    // of the call
	reload *reloader // where recorded tensors come from; nil for outputs

	number int // among the calls of the writer
	files  []file
	bytes  int // that they take in memory
}

// save adds the side file of a value and the tensors in it, and returns the
// value with those replaced that were reloaded.
func (r *record) save(d Direction, v Value) (Value, error) {
	path := r.path(string(d) + ".json")
	side, err := encodeSide(v)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	r.add(file{path: path, data: side}, len(side))
	return r.tensors(d, "", v)
}

func (r *record) path(name string) string { return filepath.Join(r.dir, name) }

func (r *record) add(f file, bytes int) {
	r.files = append(r.files, f)
	r.bytes += bytes + fileCost
}

// tensors adds the tensors in a value. A container adds the index or the key
// to the slot of what it holds.
func (r *record) tensors(d Direction, slot string, v Value) (Value, error) {
	switch v := v.(type) {
	case *tensor.Tensor:
		if v == nil {
			return v, nil
		}
		return r.tensor(d, slot, v)
	case Tuple:
		items, err := r.items(d, slot, v)
		return Tuple(items), err
	case List:
		items, err := r.items(d, slot, v)
		return List(items), err
	case Dict:
		return r.dict(d, slot, v)
	}
	return v, nil
}

func (r *record) items(d Direction, slot string, items []Value) ([]Value, error) {
	out := make([]Value, len(items))
	for i, it := range items {
		var err error
		if out[i], err = r.tensors(d, below(slot, strconv.Itoa(i)), it); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *record) dict(d Direction, slot string, items Dict) (Value, error) {
	out := make(Dict, len(items))
	for i, it := range items {
		if strings.ContainsAny(it.Key, "/\\\x00") {
			return nil, fmt.Errorf("write %s: the dict key %q cannot be part of a file name", r.path(fileBase(d, slot)), it.Key)
		}
		v, err := r.tensors(d, below(slot, it.Key), it.Value)
		if err != nil {
			return nil, err
		}
		out[i] = Item{it.Key, v}
	}
	return out, nil
}

func below(slot, key string) string {
	if slot == "" {
		return key
	}
	return slot + "_" + key
}

// tensor adds one tensor, or the stub of one that is too large. The stub of a
// single result overwrites the side file of the same name, as in the logger.
func (r *record) tensor(d Direction, slot string, t *tensor.Tensor) (*tensor.Tensor, error) {
	base := fileBase(d, slot)
	if limit := r.cfg.MaxTensorSize; limit != nil && t.Numel() > *limit {
		stub := encodeStub(t, r.device, *limit)
		r.add(file{path: r.path(base + ".json"), data: stub}, len(stub))
		return t, nil
	}
	if !r.cfg.SelectsDevice(r.device) {
		return t, nil
	}
	name := base + "_" + deviceSuffix(r.device) + ".pt"
	r.add(file{path: r.path(name), tensor: t}, t.NumBytes())
	if r.reload == nil {
		return t, nil
	}
	return r.reload.replace(t, name)
}
