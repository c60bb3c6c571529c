package normalize

import (
	"fmt"
	"io"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/tensor"
)

// origin is a slot of a pass, whose tensor has a row for each of its tokens.
type origin struct {
	slot *il.Slot // nil where the pass recorded none
	rows int
	name string // what lacks, in messages
	many bool   // the tensor may have several rows a token, one a head
}

// gathered is a slot of the given rows: where[i] is the origin of row i and its
// index there. Devices are gathered one by one.
func gathered(like *il.Slot, from []origin, where []place, ranks rankNotes) *il.Slot {
	out := &il.Slot{Direction: like.Direction, Path: like.Path}
	for _, o := range from {
		if o.slot != nil && o.slot.Stub != nil {
			out.Stub = o.slot.Stub
			return out
		}
	}
	for _, f := range like.Tensors {
		out.Tensors = append(out.Tensors, gatheredFile(f, from, where, ranks))
	}
	return out
}

func gatheredFile(like *il.TensorFile, from []origin, where []place, ranks rankNotes) *il.TensorFile {
	var files []*il.TensorFile
	for _, o := range from {
		var file *il.TensorFile
		if o.slot != nil {
			if i := slices.IndexFunc(o.slot.Tensors, func(f *il.TensorFile) bool { return f.Device == like.Device }); i >= 0 {
				file = o.slot.Tensors[i]
			}
		}
		if file == nil {
			return failing(like.Device, like.File, fmt.Errorf("%s: some of its rows lie in %s, which lacks this tensor", like.File, o.name))
		}
		files = append(files, file)
	}
	rows := func(files []*il.TensorFile) *il.TensorFile {
		return il.VirtualTensor(like.Device, files[0].File, func() (*tensor.Tensor, io.Closer, error) {
			return openRows(files, from, where)
		})
	}
	out := rows(files)
	ranks.gather(out, files, rows)
	return out
}

// openRows gives rows of files: a view where they are neighbours in one, else
// a copy.
func openRows(files []*il.TensorFile, from []origin, where []place) (*tensor.Tensor, io.Closer, error) {
	if at, ok := run(where); ok && len(files) == 1 {
		t, c, err := files[0].Open()
		if err != nil {
			return nil, nil, err
		}
		n, err := rowsEach(t, from[0], files[0])
		if err != nil {
			c.Close()
			return nil, nil, err
		}
		return t.Narrow(0, n*at, n*(at+len(where))), c, nil
	}
	return copied(files, func(ts []*tensor.Tensor) (*tensor.Tensor, error) {
		each := 1
		for i, t := range ts {
			n, err := rowsEach(t, from[i], files[i])
			if err != nil {
				return nil, err
			}
			each = n
		}
		var pieces []piece
		for _, w := range where {
			if n := len(pieces) - 1; n >= 0 && pieces[n].source == w.forward && pieces[n].from+pieces[n].n == each*w.index {
				pieces[n].n += each
				continue
			}
			pieces = append(pieces, piece{w.forward, each * w.index, each})
		}
		return join(ts, 0, pieces)
	})
}

// run tells whether rows follow one another in one source, and where they
// begin.
func run(where []place) (at int, ok bool) {
	for i, w := range where {
		if w.forward != 0 || w.index != where[0].index+i {
			return 0, false
		}
	}
	return where[0].index, true
}

// rowsEach is how many rows a tensor has for each token of its pass.
func rowsEach(t *tensor.Tensor, o origin, f *il.TensorFile) (int, error) {
	if len(t.Shape) > 0 && o.rows > 0 {
		if n := t.Shape[0] / o.rows; t.Shape[0] == n*o.rows && (n == 1 || n > 1 && o.many) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s: is %s, expected a row for each of the %d rows of its forward: it cannot be lined up with the other session", f.File, t, o.rows)
}
