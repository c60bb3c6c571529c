package pt

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/ilref/ilref/internal/mmap"
	"github.com/ilref/ilref/tensor"
)

// File is an open .pt file.
type File struct {
	m       *mmap.File
	path    string
	root    string
	tensors []Named
}

// Open maps a file and finds its tensors. They are views of the mapping,
// except where bytes are compressed or big-endian, and are valid until Close.
// Read their values inside With: somebody may cut the file short. The error says
// file, record and offset, what was found and what was expected.
func Open(path string) (*File, error) { return openAs(path, manyObjects) }

func openAs(path string, holds content) (*File, error) {
	m, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	return parse(m, path, holds)
}

func parse(m *mmap.File, path string, holds content) (*File, error) {
	f := &File{m: m, path: path}
	err := mmap.Guard(path, func() error {
		err := m.Scattered(func() error { return f.parse(m.Bytes(), holds) })
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	if err != nil {
		m.Close()
		return nil, err
	}
	return f, nil
}

// Tensors returns the tensors in the order of the file. What they are like can be
// asked for anywhere, their values are read inside With.
func (f *File) Tensors() []Named { return f.tensors }

// Size is that of the file, in bytes.
func (f *File) Size() int { return len(f.m.Bytes()) }

// With calls read with the tensors of the file, in its order. Where the file
// becomes shorter while read goes through them, that is an error, and not the end
// of the program. A goroutine that read starts needs a With of its own.
func (f *File) With(read func([]Named) error) error {
	return mmap.Guard(f.path, func() error { return read(f.tensors) })
}

// Close ends the validity of the tensors.
func (f *File) Close() error { return f.m.Close() }

// OpenTensor opens a file that holds one bare tensor, as the files of a
// session do. Closing the closer ends the validity of the tensor.
func OpenTensor(path string) (*tensor.Tensor, io.Closer, error) {
	f, err := openAs(path, oneTensor)
	if err != nil {
		return nil, nil, err
	}
	if len(f.tensors) != 1 || f.tensors[0].Path != "" {
		f.Close()
		return nil, nil, fmt.Errorf("%s: holds %s with %d tensors, want one bare tensor", path, f.root, len(f.tensors))
	}
	return f.tensors[0].Tensor, f, nil
}

// parse reads a whole file.
func (f *File) parse(data []byte, holds content) error {
	l := newLoader(len(data))
	l.holds = holds
	root, err := l.load(data)
	if err != nil {
		return err
	}
	f.root = typeName(root)
	f.tensors, err = l.named(root)
	return err
}

// newLoader makes the loader of a file of n bytes.
func newLoader(n int) *loader {
	return &loader{storages: map[string]*storage{}, memory: newBudget(0), copies: newBudget(64<<20 + 16*n)}
}

// named gives the tensors their bytes and returns those in the object.
func (l *loader) named(root any) ([]Named, error) {
	if err := l.bind(); err != nil {
		return nil, err
	}
	w := walker{
		above:  map[any]bool{},
		unique: map[*types.Dict]bool{},
		most:   1<<16 + 2*len(l.tensors),
		steps:  1<<20 + 6*l.ops,
		memory: l.memory,
	}
	if err := w.visit(root); err != nil {
		return nil, err
	}
	return w.found, nil
}

// load finds out the container and returns the object in it.
func (l *loader) load(data []byte) (any, error) {
	switch {
	case strings.HasPrefix(string(data[:min(len(data), 4)]), localSig):
		return l.loadArchive(data)
	case isLegacy(data):
		l.legacy = true
		l.memory = l.holds.budget(min(len(data), maxPickle))
		return loadLegacy(data, l)
	}
	return nil, errors.New(notTorch(data))
}

// content is what a file is opened for, and so how much its pickle is believed.
type content int

const (
	manyObjects content = iota // a file of its own
	oneTensor                  // of a session, of which many are open at once
)

// budget is what the objects of a pickle of n bytes may take: enough for those of
// a real file in gopickle. One tensor has few, of which only bytes are many.
func (c content) budget(n int) *budget {
	if c == oneTensor {
		return newBudget(4<<20 + 16*n)
	}
	return newBudget(4<<20 + 40*n)
}

// loadArchive reads a file of torch >= 1.6.
func (l *loader) loadArchive(data []byte) (any, error) {
	z, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	z.copies = l.copies
	switch {
	case z.has("constants.pkl"):
		return nil, errors.New("a TorchScript archive (of torch.jit.save or C++ torch::save), which is not read; save the tensors with torch.save")
	case !z.has("data.pkl"):
		return nil, errors.New("a zip file without the record data.pkl, so not one of torch.save")
	}
	if err := checkVersion(z); err != nil {
		return nil, err
	}
	if l.bigEndian, err = isBigEndian(z); err != nil {
		return nil, err
	}
	l.fetch = func(s *storage) ([]byte, error) { return z.bytes("data/"+s.key, math.MaxInt) }
	pickle, err := z.bytes("data.pkl", z.pickleLimit(l.holds))
	if err != nil {
		return nil, err
	}
	l.memory = l.holds.budget(len(pickle))
	return l.runPickle(pickle)
}

func (l *loader) runPickle(pickle []byte) (any, error) {
	p, err := verify("data.pkl", pickle, 0, false, l.memory)
	if err != nil {
		return nil, err
	}
	return l.run(p)
}

// checkVersion checks the format version, 3 in every file of torch.save so far.
func checkVersion(z *archiveReader) error {
	name := "version"
	if !z.has(name) {
		name = ".data/version"
	}
	b, err := z.bytes(name, 64)
	if err != nil {
		return err
	}
	if v, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || v < 1 || v > 10 {
		return fmt.Errorf("record %s: %s, want a format version from 1 to 10", name, quote(string(b)))
	}
	return nil
}

func isBigEndian(z *archiveReader) (bool, error) {
	if !z.has("byteorder") {
		return false, nil
	}
	b, err := z.bytes("byteorder", 64)
	if err != nil {
		return false, err
	}
	switch string(b) {
	case "little":
		return false, nil
	case "big":
		return true, nil
	}
	return false, fmt.Errorf("record byteorder: %s, want \"little\" or \"big\"", quote(string(b)))
}

// notTorch says what a file is that is not one of torch.save.
func notTorch(data []byte) string {
	for _, known := range []struct {
		offset       int
		magic, whose string
	}{
		{257, "ustar", "a tar file (of torch before 0.1.10?), which is not read; load and save it again with a newer torch"},
		{0, "version https://git-lfs", "a Git LFS pointer, not the file itself; run git lfs pull"},
		{0, "\x1f\x8b", "compressed with gzip; decompress it first"},
		{0, "GGUF", "a GGUF file, not one of torch.save"},
		{8, "{\"", "a safetensors file, not one of torch.save"},
	} {
		if len(data) >= known.offset && strings.HasPrefix(string(data[known.offset:min(len(data), known.offset+32)]), known.magic) {
			return known.whose
		}
	}
	if len(data) == 0 {
		return "an empty file, not one of torch.save"
	}
	return fmt.Sprintf("not a file of torch.save: it starts with %s, want PK\\x03\\x04 (or a legacy file's magic number)", quote(string(data[:min(len(data), 16)])))
}
