package render

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ilref/ilref/tensor"
)

const (
	bins     = 64  // of a histogram, half an octave each
	elements = 16  // the worst that are listed
	strip    = 256 // rows that are drawn; of more, the worst of each of so many runs
	tokens   = 1 << 20
)

// anatomy is what a gap is made of. Its size does not depend on that of the
// tensors.
type anatomy struct {
	values    int
	equal     int // values, NaN on both sides included
	nonFinite int // values where NaN or an infinity meets something else
	histogram []bin
	worst     []element // the largest |d|, the largest first
	rows      []rowGap  // by row, that is all dimensions but the last; nil for less than two rows
}

// bin counts |d| in [from, to); the first holds smaller ones as well.
type bin struct {
	from, to float64
	n        int
}

type element struct {
	at                []int
	reference, target float64
	d                 float64 // |target-reference|; infinite where that is no number
	index             int
}

// rowGap is the worst row of first … last.
type rowGap struct {
	first, last, worst int
	relL2              float64
}

// dissect goes once over two tensors of equal shape.
func dissect(r, t *tensor.Tensor) (*anatomy, error) {
	per := r.DType.ValuesPerElement()
	if !slices.Equal(r.Shape, t.Shape) || per == 0 || per != t.DType.ValuesPerElement() {
		return nil, fmt.Errorf("%s and %s cannot be compared: the files have changed since", r, t)
	}
	n := r.Numel() * per
	d := &dissection{anatomy: anatomy{values: n}, octaves: map[int]int{}}
	if k := len(r.Shape); k > 1 && n > 0 && n/(r.Shape[k-1]*per) <= tokens {
		d.width = r.Shape[k-1] * per
	}
	var bufs [2][4096]float64
	for at := 0; at < n; at += len(bufs[0]) {
		a, b := bufs[0][:min(len(bufs[0]), n-at)], bufs[1][:min(len(bufs[0]), n-at)]
		if err := r.Float64s(a, at); err != nil {
			return nil, err
		}
		if err := t.Float64s(b, at); err != nil {
			return nil, err
		}
		for i := range a {
			d.add(a[i], b[i], at+i)
		}
	}
	for i := range d.worst {
		d.worst[i].at = coordinate(d.worst[i].index/per, r.Shape)
	}
	d.fold()
	d.bins()
	return &d.anatomy, nil
}

type dissection struct {
	anatomy
	octaves map[int]int // |d| by half octave
	width   int         // values in a row; 0 where rows are not told apart
	dd, rr  float64     // of the row at hand
	gaps    []float64   // rel_l2 of every row
}

func (d *dissection) add(r, t float64, at int) {
	diff := math.Abs(t - r)
	switch {
	case r == t || r != r && t != t:
		d.equal++
		diff = 0
	case diff-diff != 0: // NaN or infinite
		d.nonFinite++
		diff = math.Inf(1)
	default:
		d.octaves[halfOctave(diff)]++
	}
	if diff > 0 {
		d.note(element{reference: r, target: t, d: diff, index: at})
	}
	if d.width == 0 {
		return
	}
	d.dd += float64(diff * diff)
	if r-r == 0 {
		d.rr += float64(r * r)
	}
	if (at+1)%d.width == 0 {
		d.gaps = append(d.gaps, relative(d.dd, d.rr))
		d.dd, d.rr = 0, 0
	}
}

func relative(dd, rr float64) float64 {
	if dd == 0 {
		return 0
	}
	return math.Sqrt(dd) / math.Sqrt(rr)
}

// note keeps the largest differences, the first of equals.
func (d *dissection) note(e element) {
	if len(d.worst) == elements && e.d <= d.worst[elements-1].d {
		return
	}
	i, _ := slices.BinarySearchFunc(d.worst, e, func(x, e element) int {
		return cmp.Or(cmp.Compare(e.d, x.d), -1)
	})
	d.worst = slices.Insert(d.worst, i, e)
	d.worst = d.worst[:min(elements, len(d.worst))]
}

// halfOctave is floor(2 log2 v), exact: Frexp and a comparison are the same on
// every platform, a logarithm is not.
func halfOctave(v float64) int {
	f, e := math.Frexp(v) // f in [1/2, 1)
	if f >= math.Sqrt2/2 {
		return 2*e - 1
	}
	return 2*e - 2
}

func octaveStart(h int) float64 {
	v := math.Ldexp(1, h>>1)
	if h&1 != 0 {
		v *= math.Sqrt2
	}
	return v
}

// bins lays the histogram out from the largest difference down.
func (d *dissection) bins() {
	if len(d.octaves) == 0 {
		return
	}
	top, low := math.MinInt, math.MaxInt
	for h := range d.octaves {
		top, low = max(top, h), min(low, h)
	}
	low = max(low, top-bins+1)
	d.histogram = make([]bin, top-low+1)
	for i := range d.histogram {
		d.histogram[i] = bin{from: octaveStart(low + i), to: octaveStart(low + i + 1)}
	}
	for h, n := range d.octaves {
		d.histogram[max(0, h-low)].n += n
	}
}

// fold makes at most strip entries of the rows.
func (d *dissection) fold() {
	n := len(d.gaps)
	if n < 2 {
		return
	}
	size := (n + strip - 1) / strip
	for from := 0; from < n; from += size {
		g := rowGap{first: from, last: min(from+size, n) - 1, worst: from, relL2: d.gaps[from]}
		for i := from + 1; i <= g.last; i++ {
			if d.gaps[i] > g.relL2 {
				g.worst, g.relL2 = i, d.gaps[i]
			}
		}
		d.rows = append(d.rows, g)
	}
}

// coordinate is the index of an element in C order.
func coordinate(i int, shape []int) []int {
	at := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		at[d] = i % shape[d]
		i /= shape[d]
	}
	return at
}
