package normalize

import (
	"io"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// Where ranks hold the same by nature (a replicated tensor, or keys and values
// that lie on several ranks), a tensor put together of them has copies: that of
// the first ranks, which stands for all, and those of the ranks beside them. They
// are made only where they differ.

// rankNotes tells what tensors were put together of.
type rankNotes map[*il.TensorFile]*joined

// joined is a tensor put together of ranks.
type joined struct {
	from   []*assembly // several where rows of several are gathered
	copy   int         // which of the copies it is
	other  func(copy int) *il.TensorFile
	copies []*il.TensorFile // by number, once they were asked for
}

// add makes the tensor of an assembly.
func (r rankNotes) add(a *assembly) *il.TensorFile {
	file := func(copy int) *il.TensorFile {
		f := a.files[copy]
		return il.VirtualTensor(f.Device, f.File, func() (*tensor.Tensor, io.Closer, error) { return a.open(copy) })
	}
	f := file(0)
	r[f] = &joined{from: []*assembly{a}, other: file}
	return f
}

// gather notes of out, rows of files, what is known of those. rows takes the
// same rows of others.
func (r rankNotes) gather(out *il.TensorFile, files []*il.TensorFile, rows func([]*il.TensorFile) *il.TensorFile) {
	var from []*assembly
	for _, f := range files {
		if x := r[f]; x != nil {
			from = append(from, x.from...)
		}
	}
	if from == nil {
		return
	}
	r[out] = &joined{from: from, other: func(copy int) *il.TensorFile {
		var others []*il.TensorFile
		for _, f := range files {
			if cs := r.copiesOf(f); copy < len(cs) {
				f = cs[copy]
			}
			others = append(others, f)
		}
		return rows(others)
	}}
}

// copiesOf are the copies of a tensor, itself the first; it alone where ranks
// share no part of it. It was opened before.
func (r rankNotes) copiesOf(f *il.TensorFile) []*il.TensorFile {
	x := r[f]
	switch {
	case x == nil:
		return []*il.TensorFile{f}
	case x.copies != nil:
		return x.copies
	}
	n := 1
	for _, a := range x.from {
		n = max(n, a.copies())
	}
	all := []*il.TensorFile{f}
	for k := 1; k < n; k++ {
		all = append(all, x.other(k))
	}
	for k, g := range all {
		r[g] = &joined{x.from, k, x.other, all}
	}
	return all
}

// Copies are what the ranks hold of a tensor that all must hold alike, and do
// not: f, the first, and those of the ranks beside it. nil where all is well, and
// where ranks share no part of it. f was opened before. Not for several
// goroutines at a time.
func (n *Notes) Copies(f *il.TensorFile) []*il.TensorFile {
	if n.Finding(f) == "" {
		return nil
	}
	return n.ranks.copiesOf(f)
}
