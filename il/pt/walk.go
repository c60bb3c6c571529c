package pt

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/ilref/ilref/tensor"
)

// Named is a tensor and where in the file's object it is.
type Named struct {
	// Path is the keys with a slash before each: "" for a bare tensor,
	// "/state/0/step" in dicts, lists and tuples. Keys that hold a slash make
	// it ambiguous; Keys is not.
	Path   string
	Keys   []string
	Tensor *tensor.Tensor
}

const maxDepth = 512 // of dicts, lists and tuples in each other

// walker collects the tensors of an object. The object may be a graph with
// cycles and with lists that are shared a billion times over.
type walker struct {
	keys   []pathKey            // from the root to here
	above  map[any]bool         // the containers on the way
	unique map[*types.Dict]bool // dicts without repeated keys
	found  []Named
	most   int // tensors to find
	steps  int // that may still be taken
	memory *budget
}

// pathKey is the key of a dict, or an index where text is nil.
type pathKey struct {
	text  *string
	index int
}

func (k pathKey) String() string {
	if k.text != nil {
		return *k.text
	}
	return strconv.Itoa(k.index)
}

var errSteps = errors.New("its lists and dicts hold each other too many times over")

func (w *walker) visit(v any) error {
	if w.steps--; w.steps < 0 {
		return errSteps
	}
	switch v := v.(type) {
	case *torchTensor:
		return w.find(v)
	case *types.Dict:
		return w.inside(v, func() error { return w.dict(v) })
	case *orderedDict:
		return w.inside(v, func() error { return w.dict(&v.Dict) })
	case *types.List:
		return w.inside(v, func() error { return w.sequence(*v) })
	case *types.Tuple:
		return w.inside(v, func() error { return w.sequence(*v) })
	}
	return nil
}

// inside runs f for a container that is not inside itself.
func (w *walker) inside(v any, f func() error) error {
	if w.above[v] {
		return nil
	}
	if len(w.above) >= maxDepth {
		return fmt.Errorf("containers more than %d deep", maxDepth)
	}
	w.above[v] = true
	defer delete(w.above, v)
	return f()
}

// find notes a tensor under the path to here.
func (w *walker) find(x *torchTensor) error {
	if len(w.found) >= w.most {
		return errSteps
	}
	n := Named{Tensor: x.t}
	size := 0
	for _, k := range w.keys {
		key := k.String()
		n.Keys = append(n.Keys, key)
		size += 1 + len(key)
	}
	if err := w.memory.spend(128 + size + 16*len(n.Keys)); err != nil {
		return fmt.Errorf("the paths to its tensors: %w", err)
	}
	var b strings.Builder
	b.Grow(size)
	for _, key := range n.Keys {
		b.WriteByte('/')
		b.WriteString(strings.ToValidUTF8(key, "\uFFFD"))
	}
	n.Path = b.String()
	w.found = append(w.found, n)
	return nil
}

func (w *walker) under(key pathKey, v any) error {
	w.keys = append(w.keys, key)
	err := w.visit(v)
	w.keys = w.keys[:len(w.keys)-1]
	return err
}

func (w *walker) sequence(v []any) error {
	for i, x := range v {
		if err := w.under(pathKey{index: i}, x); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) dict(d *types.Dict) error {
	if !w.unique[d] {
		w.unique[d] = true
		if w.steps -= 8 * d.Len(); w.steps < 0 {
			return errSteps
		}
		keepLast(d)
	}
	for i, e := range *d {
		k, ok := plainKey(e.Key)
		if !ok {
			k = "key " + strconv.Itoa(i)
		}
		if err := w.under(textKey(keyText(k)), e.Value); err != nil {
			return err
		}
	}
	return nil
}

// keepLast leaves of the entries with the same key one: the last value, at the
// place of the first. gopickle keeps all.
func keepLast(d *types.Dict) {
	place := make(map[any]int, d.Len())
	kept := (*d)[:0]
	for _, e := range *d {
		k, ok := plainKey(e.Key)
		if i, twice := place[k]; ok && twice {
			kept[i].Value = e.Value
			continue
		}
		if ok {
			place[k] = len(kept)
		}
		kept = append(kept, e)
	}
	*d = kept
}

// plainKey returns a key that Go can compare as Python does.
func plainKey(k any) (any, bool) {
	switch k := k.(type) {
	case string, int, bool, float64, nil:
		return k, true
	case *big.Int:
		return k.String(), true
	}
	return nil, false
}

func keyText(k any) string {
	switch k := k.(type) {
	case string:
		return k
	case bool:
		return map[bool]string{false: "False", true: "True"}[k]
	case nil:
		return "None"
	}
	return fmt.Sprint(k)
}

func textKey(s string) pathKey { return pathKey{text: &s} }
