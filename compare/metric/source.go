package metric

import (
	"sync"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// source is where one goroutine takes pairs of values from.
type source struct {
	r, t   *tensor.Tensor
	n      int       // values
	width  int       // of a row
	stored bool      // rows are read as they are stored
	row    [2][]byte // the row at hand, where stored
	memory
}

// memory is what sources use one after another.
type memory struct {
	pairs  kernel.Pairs
	start  int // of the decoded values
	end    int
	buf    [2][block]float64
	unused [2][block]float64 // channels where none are wanted
}

var memories = sync.Pool{New: func() any { return new(source) }}

func newSource(r, t *tensor.Tensor, m *meter) *source {
	s := memories.Get().(*source)
	s.r, s.t, s.n, s.width, s.start, s.end = r, t, m.n, m.rows.width, 0, 0
	s.stored = s.pairs.Reads(r.DType, t.DType) && r.Row(0) != nil && t.Row(0) != nil
	s.pairs.Prepare(m.tol.ATol, m.tol.RTol, m.least, m.ulps.precision, m.ulps.least)
	return s
}

func (s *source) release() {
	s.r, s.t, s.row = nil, nil, [2][]byte{}
	memories.Put(s)
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
