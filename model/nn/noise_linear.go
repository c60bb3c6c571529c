package nn

import (
	"bytes"
	"math"

	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// deviation of y = x Wᵀ + b: a kernel, or tensor-parallel ranks, may split the
// sum and round its parts. If the terms are independent, the squares of the parts of
// any split add up to those of the terms, on average; where they are not, the
// parts are larger, so that the splits in 2, 4 and 8 are looked at as well.
func (m *Linear) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	d.linear(o, in.Tensor(0), m.Parts)
}

// fewDiffer is the share of the elements of a product up to which those that
// differ are computed one by one. Measured: a dot product of its own and of its
// squares costs some 20 times what an element of two matrix products does.
const fewDiffer = 1. / 32

func (d *deviation) linear(o *ops[float32], x *tensor.Tensor, parts []PackedWeight) {
	xr := rowsOf(x)
	t, k := xr.n, xr.width
	l := linearNoise{deviation: d, ops: o, parts: parts, t: t, k: k, x: make([]float32, t*k)}
	for i := range t {
		o.load(l.x[i*k:][:k], o.dtype, xr.bytes(i))
	}
	if columns, few := l.differing(int(fewDiffer * float64(t*d.recorded.width))); few {
		l.elements(columns)
		return
	}
	l.whole(func() func(row, col int, y0, variance []float32) { return l.setter(o) })
}

// linearNoise is a product whose elements are held against the exact ones.
type linearNoise struct {
	*deviation
	ops   *ops[float32]
	parts []PackedWeight
	x     []float32 // (t, k)
	t, k  int

	// variance is that of x, where x has noise itself (t, k).
	variance []float32
}

// differing lists the rows in which each column differs, if no more than most
// elements do.
func (l *linearNoise) differing(most int) (columns [][]int32, few bool) {
	const block = 64 // bytes that are mostly equal
	columns = make([][]int32, l.recorded.width)
	es := l.ops.dtype.Size()
	for i := range l.t {
		y, r := l.recorded.bytes(i), l.replayed.bytes(i)
		for lo := 0; lo < len(columns)*es; lo += block {
			hi := min(lo+block, len(columns)*es)
			if bytes.Equal(y[lo:hi], r[lo:hi]) {
				continue
			}
			for j := lo / es; j < hi/es; j++ {
				if bytes.Equal(y[j*es:][:es], r[j*es:][:es]) {
					continue
				}
				if most--; most < 0 {
					return nil, false
				}
				columns[j] = append(columns[j], int32(i))
			}
		}
	}
	return columns, true
}

// elements computes those of each column that differ.
func (l *linearNoise) elements(columns [][]int32) {
	const block = 16
	l.ops.parallel((len(columns)+block-1)/block, func() func(int) {
		w, terms, set := make([]float32, l.k), make([]float32, l.k), l.setter(l.ops)
		sums := newSplitSums(1)
		return func(task int) {
			for j := task * block; j < min((task+1)*block, len(columns)); j++ {
				if len(columns[j]) == 0 {
					continue
				}
				p, at := l.partOf(j)
				p.Weight.row(l.ops, w, at)
				bias := l.bias(p, at)
				for _, i := range columns[j] {
					copy(terms, l.x[int(i)*l.k:][:l.k])
					kernel.Mul(terms, w)
					for n := range splits {
						sums.parts[n][0] = kernel.Sum(terms[n*l.k/splits : (n+1)*l.k/splits])
					}
					sums.squares[0] = kernel.SumSquares(terms)
					y0, variance := l.of(sums, 1)
					l.add(y0, variance, []float32{bias})
					set(int(i), j, y0, variance)
				}
			}
		}
	})
}

// partOf is the weight that a column of the output is of, and its row there.
func (l *linearNoise) partOf(column int) (p *PackedWeight, row int) {
	for i := range l.parts {
		out, _ := l.parts[i].Weight.Shape()
		if column < out {
			return &l.parts[i], column
		}
		column -= out
	}
	panic("unreachable: a column of no weight")
}

func (l *linearNoise) bias(p *PackedWeight, row int) float32 {
	if p.Bias == nil {
		return 0
	}
	var b [1]float32
	l.ops.weights(b[:], p.Bias, row)
	return b[0]
}

// whole computes all elements: the product in parts, and that of the squares. It tells
// them to what emit makes for each thread, a run of columns of a row at a time.
func (l *linearNoise) whole(emit func() func(row, col int, y0, variance []float32)) {
	const width, height = 128, 256 // of what is computed at a time
	squares := append([]float32(nil), l.x...)
	kernel.Mul(squares, l.x)
	var tasks []task
	col := 0
	for i, p := range l.parts {
		out, _ := p.Weight.Shape()
		for lo := 0; lo < out; lo += width {
			tasks = append(tasks, task{i, lo, min(lo+width, out), col + lo})
		}
		col += out
	}
	l.ops.parallel(len(tasks), func() func(int) {
		w, w2, bias := make([]float32, width*l.k), make([]float32, width*l.k), make([]float32, width)
		sums, set := newSplitSums(min(l.t, height)*width), emit()
		product := func(c, x, w []float32, rows, n, lo, hi int) {
			clear(c)
			if hi > lo {
				l.ops.gemm(blas.Trans, rows, n, hi-lo, x[lo:], l.k, w[lo:], l.k, c, n)
			}
		}
		return func(i int) {
			c := tasks[i]
			p, n := &l.parts[c.part], c.hi-c.lo
			for j := range n {
				p.Weight.row(l.ops, w[j*l.k:][:l.k], c.lo+j)
				bias[j] = l.bias(p, c.lo+j)
			}
			copy(w2, w[:n*l.k])
			kernel.Mul(w2[:n*l.k], w[:n*l.k])
			for lo := 0; lo < l.t; lo += height {
				rows := min(height, l.t-lo)
				for part, s := range sums.parts {
					product(s[:rows*n], l.x[lo*l.k:], w, rows, n, part*l.k/splits, (part+1)*l.k/splits)
				}
				product(sums.squares[:rows*n], squares[lo*l.k:], w2, rows, n, 0, l.k)
				y0, variance := l.of(sums, rows*n)
				if l.variance != nil {
					product(sums.square[:rows*n], l.variance[lo*l.k:], w2, rows, n, 0, l.k)
					kernel.Add(variance, sums.square[:rows*n])
				}
				for r := range rows {
					y0, v := y0[r*n:][:n], variance[r*n:][:n]
					l.add(y0, v, bias[:n])
					set(lo+r, c.col, y0, v)
				}
			}
		}
	})
}

// splits is the most parts of a sum that are looked at.
const splits = 8

// splitSums are sums of elements in parts, and those of the squares of their terms.
type splitSums struct {
	parts           [splits][]float32
	squares         []float32
	square, square1 []float32 // scratch
}

func newSplitSums(n int) *splitSums {
	s := &splitSums{squares: make([]float32, n), square: make([]float32, n), square1: make([]float32, n)}
	for i := range s.parts {
		s.parts[i] = make([]float32, n)
	}
	return s
}

// of turns the parts of n elements into their sums and the variances of those.
func (l *linearNoise) of(s *splitSums, n int) (sums, variance []float32) {
	most, total, one := s.squares[:n], s.square[:n], s.square1[:n]
	atLeast := func(x []float32) {
		for i, v := range x {
			most[i] = max(most[i], v)
		}
	}
	for parts := splits; parts > 1; parts /= 2 {
		clear(total)
		for i := range parts {
			copy(one, s.parts[i])
			kernel.Mul(one, one)
			kernel.Add(total, one)
			if i%2 == 1 {
				to := s.parts[i/2][:n]
				copy(to, s.parts[i-1])
				kernel.Add(to, s.parts[i][:n])
			}
		}
		atLeast(total)
	}
	sums = s.parts[0][:n]
	further := reduced(l.ranks)
	if further == 0 && !l.chained() {
		l.products(most)
		return sums, most
	}
	copy(total, most)
	copy(one, sums)
	kernel.Mul(one, one)
	atLeast(one)
	l.products(total)
	if !l.chained() {
		l.products(most)
		kernel.Scale(most, further)
		kernel.Add(most, total)
		return sums, most
	}
	chain := l.chain(l.k) + l.chain(l.k/splits) // in the kernel, and here
	for i, m := range most {
		e := l.ulp(float32(math.Sqrt(float64(m))))
		most[i] = float32(float64(total[i]) + chain*(e*e/12))
	}
	return sums, most
}

// reduced is what a ring of R ranks adds to the variance of rounding their parts
// once each, in units of u²/6 times the squares of the terms or of the sum, which are
// the larger: it passes on sums of 2 to R-1 of them in the model's type, of which
// that of i has i/R of the squares of the terms:
//
//	Σ_{i=2}^{R-1} i/R = (R-1)/2 - 1/R
//
// If the terms are not independent, but all of one sign, it has (i/R)² of the square of the sum,
// which adds up to less from R = 3 on.
func reduced(ranks int) float32 {
	if ranks <= 2 {
		return 0
	}
	r := float64(ranks)
	return float32((r-1)/2 - 1/r)
}

// add adds a bias to a row, and its rounding to the variances.
func (l *linearNoise) add(y0, variance, bias []float32) {
	kernel.Add(y0, bias)
	for i, b := range bias {
		variance[i] += float32(float32(b*b) * float32(l.u2))
	}
}
