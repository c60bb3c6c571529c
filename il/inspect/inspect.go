// Package inspect describes the tensors of a .pt file: the logic of
// "ilref inspect".
package inspect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/ilref/ilref/il/pt"
	"github.com/ilref/ilref/tensor"
)

// hashLimit is the size in logical bytes above which a tensor is not read, unless
// that is asked for.
const hashLimit = 1 << 30

// Options says how much to read.
type Options struct {
	HashAll bool // read tensors of more than 1 GiB too, where they are stored
}

// Report describes a file.
type Report struct {
	File    string   `json:"file"`
	Tensors []Tensor `json:"tensors"`
}

// Tensor describes one tensor. SHA256 and the statistics are nil where it was
// not read (more than 1 GiB, far more than is stored, or without data), and a statistic is nil where the
// type has no real values or the number is not finite.
type Tensor struct {
	Path          string  `json:"path"` // "" for a bare tensor, "/key/0" inside containers
	DType         string  `json:"dtype"`
	Shape         []int   `json:"shape"`
	Stride        []int   `json:"stride"`
	StorageOffset int     `json:"storage_offset"`
	Numel         int     `json:"numel"`
	SHA256        *string `json:"sha256"` // of the contiguous, C-order, little-endian logical tensor
	Device        string  `json:"device"`
	Statistics

	values []string
	note   string
}

// File reads a .pt file. The error names the file, and what is wrong where.
func File(path string, opts Options) (*Report, error) {
	f, err := pt.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &Report{File: strings.ToValidUTF8(path, "\uFFFD"), Tensors: []Tensor{}}
	err = f.With(func(tensors []pt.Named) error {
		left := newBudget(f.Size())
		for _, n := range tensors {
			t, err := describe(n, opts, &left)
			if err != nil {
				return err
			}
			r.Tensors = append(r.Tensors, t)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// budget is how many bytes are read of all tensors: a file of a kilobyte may hold
// a thousand that claim a gigabyte each, and others that share what they store.
type budget int

// newBudget is that of a file of size bytes, which are inflated at most.
func newBudget(size int) budget { return budget(hashLimit + 32*size) }

func (b *budget) take(x *tensor.Tensor) bool {
	n := budget(x.NumBytes())
	if n > *b {
		return false
	}
	*b -= n
	return true
}

func describe(n pt.Named, opts Options, left *budget) (Tensor, error) {
	x := n.Tensor
	t := Tensor{
		Path:          n.Path,
		DType:         x.DType.String(),
		Shape:         append([]int{}, x.Shape...), // never null
		Stride:        append([]int{}, x.Stride...),
		StorageOffset: x.Offset,
		Numel:         x.Numel(),
		Device:        x.Device,
	}
	switch {
	case x.Meta:
		t.note = "a meta tensor: no data"
		return t, nil
	case x.NumBytes() > hashLimit && !opts.HashAll:
		t.note = "more than 1 GiB: not read without --hash-all"
		t.values = firstValues(x)
		return t, nil
	case x.CheckClaim() != nil:
		t.note = fmt.Sprintf("nearly all of it is repeated, by its strides: not read; %d bytes are stored", len(x.Data))
		t.values = firstValues(x)
		return t, nil
	case !left.take(x):
		t.note = "the tensors of the file claim far more than it stores: not read"
		t.values = firstValues(x)
		return t, nil
	}
	t.values = firstValues(x)
	return t, t.read(x)
}

// read computes the hash and the statistics in one pass.
func (t *Tensor) read(x *tensor.Tensor) error {
	h := sha256.New()
	s := newSummary(x)
	if err := x.Chunks(0, func(b []byte) error { h.Write(b); return s.add(b) }); err != nil {
		return err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	t.SHA256, t.Statistics = &sum, s.statistics()
	return nil
}
