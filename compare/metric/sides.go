package metric

import (
	"math"

	"github.com/ilref/ilref/tensor"
)

// Sides counts the values that differ by the side they lie on: rounding puts as
// many above as below, in every row, whatever their size.
type Sides struct {
	Larger  int     `json:"larger"`  // farther from 0 than the reference's
	Smaller int     `json:"smaller"` // nearer to it
	Rows    float64 `json:"rows"`    // root mean square of the rows' (larger - smaller) / √(both)
	Counted int     `json:"counted"` // rows with a value that differs
}

// Drift is (larger - smaller) / √(both), a normal variable where rounding alone
// decides.
func (s *Sides) Drift() float64 {
	return math.Abs(float64(s.Larger-s.Smaller)) / math.Sqrt(float64(max(s.Larger+s.Smaller, 1)))
}

// MeasureSides compares two tensors of equal shape, row by row.
func MeasureSides(r, t *tensor.Tensor) (*Sides, error) {
	width := r.Shape[len(r.Shape)-1]
	a, b := make([]float64, width), make([]float64, width)
	s, squares := &Sides{}, 0.
	for at := 0; at < r.Numel(); at += width {
		if err := r.Float64s(a, at); err != nil {
			return nil, err
		}
		if err := t.Float64s(b, at); err != nil {
			return nil, err
		}
		larger, smaller := 0, 0
		for i := range a {
			switch x, y := math.Abs(a[i]), math.Abs(b[i]); {
			case y > x:
				larger++
			case y < x:
				smaller++
			}
		}
		if n := larger + smaller; n > 0 {
			s.Counted++
			squares += float64((larger-smaller)*(larger-smaller)) / float64(n)
		}
		s.Larger += larger
		s.Smaller += smaller
	}
	s.Rows = math.Sqrt(squares / float64(max(s.Counted, 1)))
	return s, nil
}
