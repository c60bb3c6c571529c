package nn

import (
	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// deviation of y = x Wᵀ + b: a kernel may split the sum and round its parts,
// whose squares are as large as those of the terms together, on average.
func (m *Linear) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	d.linear(o, in.Tensor(0), m.Parts)
}

// deviation is that of the head.
func (m *LogitsProcessor) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	d.linear(o, in.Tensor(1), []PackedWeight{{Weight: m.Head}})
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
	l.whole()
}

// linearNoise is a product whose elements are held against the exact ones.
type linearNoise struct {
	*deviation
	ops   *ops[float32]
	parts []PackedWeight
	x     []float32 // (t, k)
	t, k  int
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
					y0[0] = kernel.Sum(terms) + bias
					c2[0] = kernel.SumSquares(terms) + float32(bias*bias)
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

// whole computes all elements: the product, and that of the squares.
func (l *linearNoise) whole() {
	const width = 256
	squares := append([]float32(nil), l.x...)
	kernel.Mul(squares, l.x)
	by := make([]product[float32], len(l.parts))
	var tasks []task
	col := 0
	for i, p := range l.parts {
		by[i] = times(l.ops, p.Weight, l.x, l.t)
		out, _ := p.Weight.Shape()
		for lo := 0; lo < out; lo += width {
			tasks = append(tasks, task{i, lo, min(lo+width, out), col + lo})
		}
		col += out
	}
	l.ops.parallel(len(tasks), func() func(int) {
		w, y0, c2, set := make([]float32, width*l.k), make([]float32, l.t*width), make([]float32, l.t*width), l.setter(l.ops)
		return func(i int) {
			c := tasks[i]
			p, n := &l.parts[c.part], c.hi-c.lo
			by[c.part](y0[:l.t*n], c.lo, c.hi)
			for j := range n {
				p.Weight.row(l.ops, w[j*l.k:][:l.k], c.lo+j)
			}
			kernel.Mul(w[:n*l.k], w[:n*l.k])
			c2 := c2[:l.t*n]
			clear(c2)
			l.ops.gemm(blas.Trans, l.t, n, l.k, squares, l.k, w, l.k, c2, n)
			for j := range n {
				if bias := l.bias(p, c.lo+j); bias != 0 {
					for r := range l.t {
						y0[r*n+j] += bias
						c2[r*n+j] += float32(bias * bias)
					}
				}
			}
			l.products(c2)
			for r := range l.t {
				set(r, c.col, y0[r*n:][:n], c2[r*n:][:n])
			}
		}
	})
}
