package pt

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"

	"github.com/ilref/ilref/tensor"
)

// loader runs verified pickles of one file and collects the storages and
// tensors that they name. Tensors get their bytes in bind, at the end: in the
// legacy format the storages lie after the pickle.
type loader struct {
	holds     content
	memory    *budget
	storages  map[string]*storage
	tensors   []*torchTensor // in the order they were made
	foreign   []*foreignClass
	bigEndian bool
	copies    *budget // for storages that cannot be used in place
	legacy    bool
	ops       int                            // opcodes run
	fetch     func(*storage) ([]byte, error) // the bytes of a storage; nil in the legacy format
}

// storage is one torch storage: n elements of a type at a key.
type storage struct {
	key      string
	class    storageClass
	location string
	numel    int
	nbytes   int
	data     []byte
	swapped  map[int][]byte // little-endian copies by component size

	views map[string]*storage // legacy: parts that are storages of their own
	root  *storage            // of such a part
	start int                 // its first byte in the root
}

// bytes returns the content. It is there when the storages have been read.
func (s *storage) bytes() []byte {
	if s.root != nil {
		return s.root.data[s.start : s.start+s.nbytes : s.start+s.nbytes]
	}
	return s.data
}

// torchTensor is a tensor object of a pickle.
type torchTensor struct {
	t             *tensor.Tensor
	storage       *storage     // nil where the pickle itself has the data, or nothing has
	scales, zeros *torchTensor // of a tensor quantised per channel
}

// PySetState takes the attributes that BUILD would set; none matters here.
func (*torchTensor) PySetState(any) error { return nil }

// orderedDict is a collections.OrderedDict. Keys need not be hashable in Go.
type orderedDict struct{ types.Dict }

// PySetState ignores the attributes: _metadata in a state dict.
func (*orderedDict) PySetState(any) error { return nil }

// run executes a verified pickle.
func (l *loader) run(p *program) (result any, err error) {
	code := p.rewrite()
	r := bytes.NewReader(code)
	offset := func() int { return p.offset(len(code) - r.Len()) }
	defer func() {
		if x := recover(); x != nil {
			if _, ok := x.(interface{ Addr() uintptr }); ok {
				panic(x) // the mapping went away: mmap.Guard's business
			}
			result, err = nil, faultf(p.record, offset(), "the pickle cannot be executed: %s", quote(fmt.Sprint(x)))
		}
	}()
	l.ops += p.ops
	u := pickle.NewUnpickler(r)
	u.FindClass = func(_, index string) (any, error) {
		i, err := strconv.Atoi(index)
		if err != nil || i >= len(p.globals) {
			return nil, fmt.Errorf("global %s was not verified", quote(index))
		}
		return l.global(p.globals[i]), nil
	}
	u.PersistentLoad = func(id any) (any, error) { return l.persistentID(id) }
	result, err = u.Load()
	if err != nil {
		return nil, faultf(p.record, offset(), "%s", clip(err.Error()))
	}
	for _, f := range l.foreign {
		if !f.used {
			return nil, faultf(p.record, f.global.offset, "the name %s, which no tensor needs; nothing of it was looked up or run", f.global)
		}
	}
	return result, nil
}

// clip keeps an error to one line of sensible length.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func (l *loader) global(g *global) any {
	switch {
	case g.foreign:
		f := &foreignClass{global: g}
		l.foreign = append(l.foreign, f)
		return f
	case g.call != nil:
		return &function{l, g}
	}
	return g.value
}

// function is a callable of the allow-list, for gopickle.
type function struct {
	l *loader
	g *global
}

// Call runs REDUCE.
func (f *function) Call(args ...any) (any, error) {
	if err := f.l.memory.spend(16); err != nil {
		return nil, err
	}
	result, err := f.g.call(f.l, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.g.name, err)
	}
	return result, nil
}

// PyNew runs NEWOBJ.
func (f *function) PyNew(args ...any) (any, error) { return f.Call(args...) }

var (
	_ types.Callable  = (*function)(nil)
	_ types.PyNewable = (*function)(nil)
)

// persistentID finds the storage that a tuple names:
// ("storage", class, key, location, numel) and, in the legacy format, None or
// (key, offset, numel) of the part of it that is meant.
func (l *loader) persistentID(id any) (any, error) {
	v, ok := id.(*types.Tuple)
	if !ok || v.Len() < 5 || v.Len() > 6 || (v.Len() == 6) != l.legacy {
		return nil, errors.New(`the id of a storage is not ("storage", class, key, location, numel)`)
	}
	if kind, ok := (*v)[0].(string); !ok || kind != "storage" {
		return nil, fmt.Errorf("an id of kind %s, want \"storage\"", show((*v)[0]))
	}
	class, ok1 := (*v)[1].(storageClass)
	key, ok2 := (*v)[2].(string)
	location, ok3 := (*v)[3].(string)
	numel, ok4 := (*v)[4].(int)
	switch {
	case !ok1:
		return nil, errors.New("the class of a storage is not one of torch's storages")
	case !ok2 || !isKey(key):
		return nil, fmt.Errorf("the key of a storage is %s, want 1 to 64 digits", show((*v)[2]))
	case !ok3 || !isDevice(location):
		return nil, fmt.Errorf("the location of storage %s is %s, want a device like \"cuda:0\"", key, show((*v)[3]))
	case !ok4 || numel < 0:
		return nil, fmt.Errorf("the length of storage %s is %s, want a count", key, show((*v)[4]))
	}
	s, err := l.storage(key, class, location, numel)
	if err != nil || v.Len() == 5 || (*v)[5] == nil {
		return s, err
	}
	return l.storageView(s, (*v)[5])
}

func isKey(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

// isDevice checks a location tag, which goes into reports as it is.
func isDevice(s string) bool { return isName(s) && len(s) <= 64 }

// storage returns the storage of a key, at its first mention a new one.
func (l *loader) storage(key string, class storageClass, location string, numel int) (*storage, error) {
	if s, ok := l.storages[key]; ok {
		if s.class != class || s.numel != numel {
			return nil, fmt.Errorf("storage %s is %d elements of %s here, and was %d of %s", key, numel, class.dtype, s.numel, s.class.dtype)
		}
		return s, nil
	}
	if numel > math.MaxInt/class.dtype.Size() {
		return nil, fmt.Errorf("storage %s of %d elements of %s", key, numel, class.dtype)
	}
	if err := l.memory.spend(512); err != nil {
		return nil, err
	}
	s := &storage{key: key, class: class, location: location, numel: numel, nbytes: numel * class.dtype.Size()}
	if l.fetch != nil {
		b, err := l.fetch(s)
		if err != nil {
			return nil, err
		}
		// A record may be longer: torch before 2.14 ignores the rest.
		if len(b) < s.nbytes {
			return nil, fmt.Errorf("storage %s has %d bytes, want %d for %d elements of %s", key, len(b), s.nbytes, numel, class.dtype)
		}
		s.data = b[:s.nbytes:s.nbytes]
	}
	l.storages[key] = s
	return s, nil
}

// storageView returns a part of a legacy storage as a storage of its own.
func (l *loader) storageView(root *storage, meta any) (*storage, error) {
	v, ok := meta.(*types.Tuple)
	if !ok || v.Len() != 3 {
		return nil, fmt.Errorf("the view of storage %s is not (key, offset, numel)", root.key)
	}
	key, ok1 := (*v)[0].(string)
	offset, ok2 := (*v)[1].(int)
	numel, ok3 := (*v)[2].(int)
	if !ok1 || !ok2 || !ok3 || offset < 0 || numel < 0 || offset > root.numel || numel > root.numel-offset {
		return nil, fmt.Errorf("the view of storage %s is %s elements at %s, outside its %d", root.key, show((*v)[2]), show((*v)[1]), root.numel)
	}
	if view, ok := root.views[key]; ok {
		return view, nil
	}
	if err := l.memory.spend(512 + len(key)); err != nil {
		return nil, err
	}
	if root.views == nil {
		root.views = map[string]*storage{}
	}
	size := root.class.dtype.Size()
	view := &storage{
		key: root.key, class: root.class, location: root.location,
		numel: numel, nbytes: numel * size, root: root, start: offset * size,
	}
	root.views[key] = view
	return view, nil
}

// show renders a value of a pickle for an error: a scalar, or what it is.
func show(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case string:
		return quote(v)
	case int, bool:
		return fmt.Sprint(v)
	case float64:
		return fmt.Sprintf("the float %g", v)
	case *big.Int:
		return fmt.Sprintf("an integer of %d bits", v.BitLen())
	}
	return typeName(v)
}

func typeName(v any) string {
	switch v.(type) {
	case *torchTensor:
		return "a tensor"
	case *types.Dict, *orderedDict:
		return "a dict"
	case *types.List:
		return "a list"
	case *types.Tuple:
		return "a tuple"
	case *storage:
		return "a bare storage"
	}
	return "an object"
}
