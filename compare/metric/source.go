package metric

import (
	"slices"
	"sync"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// source is where one goroutine takes pairs of values from.
type source struct {
	r, t   *tensor.Tensor
	n      int       // values
	width  int       // of a row
	stored bool      // values are measured as they are stored
	row    [2][]byte // the row at hand, where stored and in one piece
	memory
}

// memory is what sources use one after another.
type memory struct {
	pairs  kernel.Pairs
	copied [2][]byte // of rows that are not in one piece
	start  int       // of the decoded values
	end    int
	buf    [2][block]float64
	unused [2][block]float64 // channels where none are wanted
}

var memories = sync.Pool{New: func() any { return new(source) }}

func newSource(r, t *tensor.Tensor, m *meter) *source {
	s := memories.Get().(*source)
	s.r, s.t, s.n, s.width, s.start, s.end = r, t, m.n, m.rows.width, 0, 0
	return s
}

// prepare sets out to measure values as they are stored, or as float64 where
// these are not those of the tensor or not finite.
func (s *source) prepare(m *meter) {
	r, t := s.r.DType, s.t.DType
	s.stored = !m.careful && asStored(s.r) && asStored(s.t)
	if !s.stored {
		r, t = tensor.Float64, tensor.Float64
	}
	s.pairs.Prepare(r, t, m.tol.ATol, m.tol.RTol, m.least, m.ulps.precision, m.ulps.least)
	s.pairs.Reset()
}

func asStored(t *tensor.Tensor) bool {
	return t.Quant == nil && slices.Contains(kernel.PairTypes, t.DType)
}

func (s *source) release() {
	s.r, s.t, s.row = nil, nil, [2][]byte{}
	memories.Put(s)
}

// bytes returns n values from a column of a row on, as they are stored.
func (s *source) bytes(row, column, n int) (r, t []byte) {
	var piece [2][]byte
	for i, x := range [2]*tensor.Tensor{s.r, s.t} {
		es := x.DType.Size()
		if column == 0 {
			s.row[i] = x.Row(row)
		}
		if s.row[i] != nil {
			piece[i] = s.row[i][column*es:][:n*es]
			continue
		}
		if s.copied[i] == nil {
			s.copied[i] = make([]byte, block*8)
		}
		piece[i] = s.copied[i][:n*es]
		x.Gather(piece[i], row*s.width+column)
	}
	return piece[0], piece[1]
}

// values decodes n values from index at on, and where rows are short the rows
// that follow.
func (s *source) values(at, n int) (r, t []float64, err error) {
	if at < s.start || at+n > s.end {
		k := n
		if s.width <= block {
			row := at / s.width * s.width
			k = min(block/s.width*s.width, s.n-row)
			s.start = row
		} else {
			s.start = at
		}
		s.end = s.start // nothing, where an error comes
		if err := s.r.Float64s(s.buf[0][:k], s.start); err != nil {
			return nil, nil, err
		}
		if err := s.t.Float64s(s.buf[1][:k], s.start); err != nil {
			return nil, nil, err
		}
		s.end = s.start + k
	}
	return s.buf[0][at-s.start:][:n], s.buf[1][at-s.start:][:n], nil
}
