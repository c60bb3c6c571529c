// Package safetensors reads the safetensors format over bytes in memory,
// usually a mapped file: eight bytes of header length, a JSON header that
// names each tensor's type, shape and place, then the data.
//
// Every rule of the reference implementation is checked before a tensor is
// handed out (safetensors 0.8, src/tensor.rs: Metadata::validate and
// SafeTensors::read_metadata), so that no view reaches outside the file and no
// two tensors share bytes. Tensors are views: nothing is copied.
package safetensors

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ilref/ilref/tensor"
)

// maxHeader is the largest header that the reference implementation reads.
const maxHeader = 100_000_000

// File is a parsed safetensors file.
type File struct {
	Name     string            // what errors call the file, usually its path
	Metadata map[string]string // the header's __metadata__; nil where absent

	data    []byte  // the bytes after the header
	entries []Entry // by place in the file
	index   map[string]int
}

// Entry is what the header says of one tensor.
type Entry struct {
	Name       string
	DType      string // the format's own name: "BF16", "F8_E4M3", …
	Shape      []int  // elements per dimension; F4 and F6 types count elements below a byte
	Begin, End int    // bytes from the start of the data
}

// Parse checks the whole header of a file. The name is for error messages. The
// data is kept, not copied.
func Parse(name string, data []byte) (*File, error) {
	f, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: not a valid safetensors file: %w", name, err)
	}
	f.Name = name
	return f, nil
}

func parse(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("%d bytes, expected at least the 8 of the header length", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader {
		return nil, fmt.Errorf("header length %d, expected at most %d", n, maxHeader)
	}
	if n > uint64(len(data)-8) {
		return nil, fmt.Errorf("the header needs %d bytes, the file ends after %d: it is cut off, copy it again", n, len(data)-8)
	}
	f := &File{data: data[8+n:]}
	if err := f.parseHeader(data[8 : 8+n]); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := f.checkLayout(); err != nil {
		return nil, err
	}
	f.index = make(map[string]int, len(f.entries))
	for i := range f.entries {
		f.index[f.entries[i].Name] = i
	}
	return f, nil
}

// checkLayout sorts the tensors by place and checks that each fills its bytes
// exactly, and that together they fill the data without holes or overlaps.
func (f *File) checkLayout() error {
	slices.SortStableFunc(f.entries, func(a, b Entry) int {
		if a.Begin != b.Begin {
			return a.Begin - b.Begin
		}
		return a.End - b.End
	})
	end, last := 0, "the start of the data"
	for i := range f.entries {
		e := &f.entries[i]
		size, err := e.size()
		switch {
		case err != nil:
			return err
		case e.Begin > e.End:
			return fmt.Errorf("tensor %q: data_offsets [%d,%d] end before they begin", e.Name, e.Begin, e.End)
		case e.Begin < end:
			return fmt.Errorf("tensor %q at bytes [%d,%d] overlaps %s, which ends at %d", e.Name, e.Begin, e.End, last, end)
		case e.Begin > end:
			return fmt.Errorf("tensor %q at bytes [%d,%d] leaves a hole of %d bytes after %s", e.Name, e.Begin, e.End, e.Begin-end, last)
		case e.End-e.Begin != size:
			return fmt.Errorf("tensor %q: %s%s needs %d bytes, data_offsets [%d,%d] give %d",
				e.Name, e.DType, tensor.ShapeString(e.Shape), size, e.Begin, e.End, e.End-e.Begin)
		case e.End > len(f.data):
			return fmt.Errorf("tensor %q at bytes [%d,%d] reaches beyond the %d bytes of data: the file is cut off, copy it again", e.Name, e.Begin, e.End, len(f.data))
		}
		end, last = e.End, fmt.Sprintf("tensor %q", e.Name)
	}
	if end != len(f.data) {
		return fmt.Errorf("%d bytes of data after %s belong to no tensor", len(f.data)-end, last)
	}
	return nil
}

// Entries returns the tensors in the order of their place in the file.
func (f *File) Entries() []Entry { return f.entries }

// Entry returns what the header says of a tensor.
func (f *File) Entry(name string) (Entry, bool) {
	i, ok := f.index[name]
	if !ok {
		return Entry{}, false
	}
	return f.entries[i], true
}

// Tensor returns a tensor as a view of the file's bytes. It is an error if the
// file has no tensor of the name, or if its type is one of the 6-bit floats,
// which package tensor cannot hold.
func (f *File) Tensor(name string) (*tensor.Tensor, error) {
	i, ok := f.index[name]
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", f.Name, name)
	}
	e := &f.entries[i]
	d := dtypes[e.DType].tensor
	shape := slices.Clone(e.Shape)
	if d == tensor.Float4E2M1FNx2 { // its elements are pairs, along the last dimension
		last := len(shape) - 1
		if last < 0 || shape[last]%2 != 0 {
			return nil, fmt.Errorf("%s: tensor %q: F4%s has an odd last dimension, expected pairs", f.Name, name, tensor.ShapeString(shape))
		}
		shape[last] /= 2
	}
	if d == tensor.Invalid {
		return nil, fmt.Errorf("%s: tensor %q has type %s, which cannot be read; convert the checkpoint", f.Name, name, e.DType)
	}
	return &tensor.Tensor{
		DType: d, Shape: shape, Stride: tensor.ContiguousStride(shape),
		Data: f.data[e.Begin:e.End:e.End], Device: "cpu",
	}, nil
}
