package inspect

import (
	"math"

	"github.com/ilref/ilref/tensor"
)

// Statistics are over the finite values of a tensor: of float4 pairs and
// quantised types the values they stand for. Integers beyond 2^53 are rounded.
type Statistics struct {
	Min  *float64 `json:"min"`
	Max  *float64 `json:"max"`
	Mean *float64 `json:"mean"`
	Std  *float64 `json:"std"` // of a sample (n-1), as torch.std
	NaN  *int     `json:"nan"` // elements that are not a number
	Inf  *int     `json:"inf"` // infinite elements
}

// summary gathers statistics in one pass: blocks are summed up on their own and
// merged (Chan, Golub and LeVeque, 1979), which keeps the digits of the variance.
type summary struct {
	t         *tensor.Tensor
	next      int // the value that comes next
	buf       []float64
	n         float64
	min, max  float64
	mean, dev float64 // of n values: mean and sum of squared deviations
	nan, inf  int
}

const block = 4096 // values; even, and so whole elements

func newSummary(t *tensor.Tensor) *summary {
	s := &summary{t: t, min: math.Inf(1), max: math.Inf(-1)}
	if t.DType.ValuesPerElement() > 0 {
		s.buf = make([]float64, block)
	}
	return s
}

// add takes the next logical bytes of the tensor, of whole elements.
func (s *summary) add(b []byte) error {
	d := s.t.DType
	per, size := d.ValuesPerElement(), d.Size()
	for per > 0 && len(b) > 0 {
		elements := min(len(b)/size, block/per)
		v := s.buf[:elements*per]
		if s.t.Quant != nil {
			if err := s.t.Float64s(v, s.next); err != nil {
				return err
			}
		} else {
			tensor.LoadFloat64(v, d, b)
		}
		if d.Kind() == tensor.KindComplex {
			s.addComplex(v)
		} else {
			s.addReal(v)
		}
		s.next += len(v)
		b = b[elements*size:]
	}
	return nil
}

func (s *summary) addReal(v []float64) {
	v = s.finiteOf(v)
	if len(v) == 0 {
		return
	}
	sum, lo, hi := 0.0, s.min, s.max
	for _, x := range v {
		sum += x
		if x < lo {
			lo = x
		}
		if x > hi {
			hi = x
		}
	}
	n := float64(len(v))
	mean := sum / n
	dev := 0.0
	for _, x := range v {
		d := x - mean
		dev += float64(d * d)
	}
	all := s.n + n
	delta := mean - s.mean
	s.mean += float64(delta * (n / all))
	s.dev += dev + float64(float64(delta*delta)*(s.n*(n/all)))
	s.n, s.min, s.max = all, lo, hi
}

// finiteOf returns the finite values, in place, and counts the others.
func (s *summary) finiteOf(v []float64) []float64 {
	n := 0
	for _, x := range v {
		if x-x == 0 { // neither NaN nor infinite
			n++
		}
	}
	if n == len(v) {
		return v
	}
	kept := v[:0]
	for _, x := range v {
		switch {
		case x != x:
			s.nan++
		case math.IsInf(x, 0):
			s.inf++
		default:
			kept = append(kept, x)
		}
	}
	return kept
}

// addComplex only counts: complex numbers have no order.
func (s *summary) addComplex(v []float64) {
	for i := 0; i < len(v); i += 2 {
		re, im := v[i], v[i+1]
		switch {
		case re != re || im != im:
			s.nan++
		case math.IsInf(re, 0) || math.IsInf(im, 0):
			s.inf++
		}
	}
}

func (s *summary) statistics() Statistics {
	if s.buf == nil {
		return Statistics{}
	}
	st := Statistics{NaN: &s.nan, Inf: &s.inf}
	if s.n > 0 {
		st.Min, st.Max, st.Mean = finite(s.min), finite(s.max), finite(s.mean)
	}
	if s.n > 1 {
		st.Std = finite(math.Sqrt(s.dev / (s.n - 1)))
	}
	return st
}

func finite(x float64) *float64 {
	if x != x || math.IsInf(x, 0) {
		return nil
	}
	return &x
}
