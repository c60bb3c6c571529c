package nn

import (
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
	columns, differ := l.differing()
	if float64(differ) <= fewDiffer*float64(t*d.recorded.width) {
		l.elements(columns)
		return
	}
	l.whole(func() func(row, col int, y0, c2 []float32) { return l.setter(o) })
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

// differing lists the rows in which each column differs, and counts them.
func (l *linearNoise) differing() (columns [][]int32, n int) {
	columns = make([][]int32, l.recorded.width)
	for i := range l.t {
		if !l.differs(i) {
			continue
		}
		y, r := l.recorded.bytes(i), l.replayed.bytes(i)
		for j := range columns {
			if y[2*j] != r[2*j] || y[2*j+1] != r[2*j+1] {
				columns[j] = append(columns[j], int32(i))
				n++
			}
		}
	}
	return columns, n
}

// elements computes those of each column that differ.
func (l *linearNoise) elements(columns [][]int32) {
	const block = 16
	l.ops.parallel((len(columns)+block-1)/block, func() func(int) {
		w, terms, set := make([]float32, l.k), make([]float32, l.k), l.setter(l.ops)
		y0, c2 := make([]float32, 1), make([]float32, 1)
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
					var sums [splits]float32
					for n := range sums {
						sums[n] = kernel.Sum(terms[n*l.k/splits : (n+1)*l.k/splits])
					}
					y0[0], c2[0] = together(sums, kernel.SumSquares(terms), bias)
					l.products(c2)
					set(int(i), j, y0, c2)
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

// splits is the most parts of a sum that are looked at.
const splits = 8

// together returns the sum of the parts and the bias, and the largest sum of the
// squares of the terms and of the parts of each split.
func together(sums [splits]float32, squares, bias float32) (sum, most float32) {
	most = squares
	for n := splits; n > 1; n /= 2 {
		square := float32(0)
		for i, s := range sums[:n] {
			square += float32(s * s)
			if i%2 == 1 {
				sums[i/2] = sums[i-1] + s
			}
		}
		most = max(most, square)
	}
	return sums[0] + bias, most + float32(bias*bias)
}

// whole computes all elements: the product in parts, and that of the squares. It tells
// them to what emit makes for each thread, a run of columns of a row at a time.
func (l *linearNoise) whole(emit func() func(row, col int, y0, variance []float32)) {
	const width = 64
	squares := append([]float32(nil), l.x...)
	kernel.Mul(squares, l.x)
	for i, v := range l.variance {
		squares[i] += v / float32(l.u2) // of which products makes v again
	}
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
		w, c2 := make([]float32, width*l.k), make([]float32, l.t*width)
		y0, set := make([]float32, l.t*width), emit()
		var sums [splits][]float32 // (t, n) each
		for i := range sums {
			sums[i] = make([]float32, l.t*width)
		}
		product := func(c, x, w []float32, n, lo, hi int) {
			clear(c)
			if hi > lo {
				l.ops.gemm(blas.Trans, l.t, n, hi-lo, x[lo:], l.k, w[lo:], l.k, c, n)
			}
		}
		return func(i int) {
			c := tasks[i]
			p, n := &l.parts[c.part], c.hi-c.lo
			for j := range n {
				p.Weight.row(l.ops, w[j*l.k:][:l.k], c.lo+j)
			}
			for part := range sums {
				product(sums[part][:l.t*n], l.x, w, n, part*l.k/splits, (part+1)*l.k/splits)
			}
			kernel.Mul(w[:n*l.k], w[:n*l.k])
			product(c2[:l.t*n], squares, w, n, 0, l.k)
			for j := range n {
				bias := l.bias(p, c.lo+j)
				for at := j; at < l.t*n; at += n {
					var s [splits]float32
					for part := range s {
						s[part] = sums[part][at]
					}
					y0[at], c2[at] = together(s, c2[at], bias)
				}
			}
			l.products(c2[:l.t*n])
			for r := range l.t {
				set(r, c.col, y0[r*n:][:n], c2[r*n:][:n])
			}
		}
	})
}
