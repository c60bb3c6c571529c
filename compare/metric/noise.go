package metric

import (
	"fmt"
	"math"

	"github.com/ilref/ilref/tensor"
)

// Noise is how many times what rounding explains a result is off: z of its
// elements (nn.Deviation), of which 0 stands for one that is within half a last place
// of what is right, and counts as what rounding gives, 1.
type Noise struct {
	Values int     `json:"values"`
	Rows   int     `json:"rows"`
	RMS    float64 `json:"rms"`    // of z
	Max    float64 `json:"max"`    // the largest |z|
	MaxAt  []int   `json:"max_at"` // coordinates of it, nil where all are 0
	Worst  Block   `json:"worst"`  // that is the least likely by chance
	Drift  Drift   `json:"drift"`
}

// Drift is how far a result is too large or too small on the whole: an error far
// below the noise of one element shows in the sum of many, where each is rounded
// by itself.
type Drift struct {
	Mean float64 `json:"mean"` // of z: positive where it is too large
	Sum  float64 `json:"sum"`  // of z, in standard deviations
	Rows float64 `json:"rows"` // root mean square of the rows' sums in theirs
}

// Unlikely is Block.Unlikely of the sum.
func (d Drift) Unlikely() float64 { return Unlikely(d.Sum, 1) }

// RowsUnlikely is that of the sums of n rows.
func (d Drift) RowsUnlikely(n int) float64 { return Unlikely(d.Rows, n) }

// Block is neighbouring rows and columns of a result, rows being all dimensions
// but the last in C order.
type Block struct {
	Row      int     `json:"row"` // the first
	Rows     int     `json:"rows"`
	Column   int     `json:"column"` // the first
	Columns  int     `json:"columns"`
	RMS      float64 `json:"rms"`      // of z in it
	Unlikely float64 `json:"unlikely"` // -ln of an upper bound of the probability that rounding gives that much; 0 for no more than usual
}

// In reports whether the block lies in a tensor of so many values a row.
func (b Block) In(values, width int) bool {
	return width > 0 && b.Row >= 0 && b.Rows > 0 && b.Rows <= values/width-b.Row && b.Column >= 0 && b.Columns > 0 && b.Columns <= width-b.Column
}

// Tests is how many blocks the noise of n values is looked for in, at most: the
// blocks of every power of two of rows and of columns.
func Tests(values int) float64 { return 4 * float64(values) }

// Spread is the variance of z that a correct kernel may have in a block of m
// elements: 1, but for what the model of its noise misses. Measured (docs/verdicts.md):
// single elements of split and tensor-parallel sums have a tail of 1.05, whole
// tensors under another set of rounding points an rms of up to 1.2.
func Spread(m int) float64 { return 1 + 0.35*(1-1/math.Sqrt(float64(m))) }

// Unlikely is -ln of Chernoff's bound of the probability that the squares of m
// normal values with variance Spread have a mean of rms² or more:
//
//	m/2 (r - 1 - ln r), r = rms²/Spread
func Unlikely(rms float64, m int) float64 {
	switch r := rms * rms / Spread(m); {
	case math.IsInf(r, 1):
		return math.Inf(1)
	case r > 1:
		return float64(m) / 2 * (r - 1 - math.Log(r))
	}
	return 0
}

// MeasureNoise reads z.
func MeasureNoise(z *tensor.Tensor) (*Noise, error) {
	if len(z.Shape) == 0 || z.Numel() == 0 || z.DType.ValuesPerElement() != 1 || !z.DType.IsFloat() {
		return nil, fmt.Errorf("%s is no noise of a result: expected floating-point values in rows", z)
	}
	s := newNoiseScan(z.Numel(), z.Shape[len(z.Shape)-1])
	row := make([]float64, s.width)
	for i := range s.rows {
		if err := z.Float64s(row, i*s.width); err != nil {
			return nil, err
		}
		s.add(row)
	}
	n := s.result()
	if s.maxAt >= 0 {
		n.MaxAt = unravel(s.maxAt, z.Shape)
	}
	return n, nil
}

// noiseScan looks for the least likely of all blocks of 2^a rows and 2^b columns
// that begin at multiples of these, in one pass: two neighbours of a row are
// added to one of half the width, and two such rows to one of twice the height,
// as digits carry in counting.
type noiseScan struct {
	rows, width int
	n           int         // rows so far
	pending     [][]float64 // Σ z² of the columns over the last 2^a rows, nil for none
	free        [][]float64
	halves      []float64 // scratch
	total       float64   // Σ z²
	sum         float64   // Σ z
	sums        float64   // Σ (Σ z of a row)²
	max         float64
	maxAt       int
	worst       Block
}

func newNoiseScan(values, width int) *noiseScan {
	s := &noiseScan{rows: values / width, width: width, halves: make([]float64, width), maxAt: -1}
	s.worst = Block{Rows: s.rows, Columns: width}
	return s
}

// add takes the next row, which it changes.
func (s *noiseScan) add(z []float64) {
	drift := 0.
	for i, v := range z {
		if v != v {
			v = math.Inf(1)
		}
		drift += v
		if a := math.Abs(v); a > s.max {
			s.max, s.maxAt = a, s.n*s.width+i
		}
		z[i] = float64(v * v)
		if v == 0 {
			z[i] = 1
		}
	}
	s.sum += drift
	s.sums += float64(drift * drift)
	s.block(z, s.n, 1)
	carry := z
	level := 0
	for ; level < len(s.pending) && s.pending[level] != nil; level++ {
		sum := s.pending[level]
		for i, v := range carry {
			sum[i] += v
		}
		s.pending[level] = nil
		s.block(sum, s.n+1-2<<level, 2<<level)
		if level > 0 {
			s.free = append(s.free, carry)
		}
		carry = sum
	}
	if level == 0 {
		carry = s.copyOf(z)
	}
	if level == len(s.pending) {
		s.pending = append(s.pending, nil)
	}
	s.pending[level] = carry
	s.n++
}

func (s *noiseScan) copyOf(z []float64) []float64 {
	if len(s.free) == 0 {
		s.free = append(s.free, make([]float64, s.width))
	}
	last := len(s.free) - 1
	out := s.free[last]
	s.free = s.free[:last]
	copy(out, z)
	return out
}

// block looks at the blocks of all widths in rows of the given number.
func (s *noiseScan) block(sums []float64, row, rows int) {
	width, n := 1, s.width
	for {
		last := s.width - (n-1)*width // columns of the last block
		least := s.least(rows * width)
		for i, v := range sums[:n-1] {
			if v > least {
				s.look(v, Block{Row: row, Rows: rows, Column: i * width, Columns: width})
				least = s.least(rows * width)
			}
		}
		if v := sums[n-1]; v > s.least(rows*last) {
			s.look(v, Block{Row: row, Rows: rows, Column: (n - 1) * width, Columns: last})
		}
		if n == 1 {
			return
		}
		half := s.halves[:(n+1)/2]
		for i := range n / 2 {
			half[i] = sums[2*i] + sums[2*i+1]
		}
		if n%2 == 1 {
			half[n/2] = sums[n-1]
		}
		sums, n, width = half, len(half), 2*width
	}
}

// least is a sum that a block of m elements must exceed to be less likely than the
// least likely so far: r - 1 - ln r is at most (r-1)²/2 for r from 1 on, so that
// m/2 (r - 1 - ln r) is above a figure f only where r is above 1 + 2 √(f/m).
func (s *noiseScan) least(m int) float64 {
	if math.IsInf(s.worst.Unlikely, 1) { // of infinities the smallest block counts
		return math.MaxFloat64
	}
	n := float64(m)
	return n * Spread(m) * (1 + 2*math.Sqrt(s.worst.Unlikely/n)*(1-1e-9))
}

// look keeps the least likely block.
func (s *noiseScan) look(sum float64, b Block) {
	m := b.Rows * b.Columns
	b.RMS = math.Sqrt(sum / float64(m))
	if b.Unlikely = Unlikely(b.RMS, m); b.Unlikely > s.worst.Unlikely || math.IsInf(b.Unlikely, 1) && m < s.worst.Rows*s.worst.Columns {
		s.worst = b
	}
}

// result ends the scan: what is left over at the bottom is a block too.
func (s *noiseScan) result() *Noise {
	var rest []float64
	rows := 0
	for level, sum := range s.pending {
		if sum == nil {
			continue
		}
		for i, v := range rest {
			sum[i] += v
		}
		if rest != nil {
			s.block(sum, s.n-rows-1<<level, rows+1<<level)
		}
		rest, rows = sum, rows+1<<level
	}
	for _, v := range rest {
		s.total += v
	}
	values := float64(s.rows * s.width)
	n := &Noise{Values: s.rows * s.width, Rows: s.rows, RMS: math.Sqrt(s.total / values), Max: s.max, Worst: s.worst}
	if !math.IsInf(s.max, 0) {
		n.Drift = Drift{Mean: s.sum / values, Sum: math.Abs(s.sum) / math.Sqrt(values), Rows: math.Sqrt(s.sums / values)}
	}
	if n.Worst.Unlikely == 0 {
		n.Worst = Block{Rows: s.rows, Columns: s.width, RMS: n.RMS}
	}
	return n
}
