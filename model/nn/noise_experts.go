package nn

import (
	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
)

// deviation of the sum of the chosen experts. Which are chosen, and their weights, follows
// from the router logits that the call is given: another choice is no noise. A kernel
// may round what an expert's products return, split their sums, and round the
// activation; and the noise of each goes through what comes after it: a product turns
// variances v of its inputs into the sum of W² v. It may round the weight of an expert and
// what it multiplies, and every sum but the last.
func (m *Experts) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	n := expertNoise{deviation: d, ops: o, m: m}
	n.choose(in)
	h, v := n.products(n.x, nil, func(e int) []PackedWeight { return m.Experts[e].W13 })
	n.rounded(h, v, m.ScaleInput)
	a, v := n.activated(h, v)
	h, v = n.products(a, v, func(e int) []PackedWeight { return []PackedWeight{m.Experts[e].W2} })
	if !m.ScaleInput {
		n.rounded(h, v, true)
	}
	n.sums(in, h, v)
}

// expertNoise is the rows of a result that are held against the exact ones.
type expertNoise struct {
	*deviation
	ops *ops[float32]
	m   *Experts

	rows []int            // that differ
	c    *choice[float32] // of these
	x    []float32        // of the slots
}

// choose finds the experts of the rows that differ.
func (n *expertNoise) choose(in il.Tuple) {
	all := n.ops.chosen(in.Tensor(1), n.m)
	n.c = &choice[float32]{k: all.k}
	for i := range n.recorded.n {
		if n.differs(i) {
			n.rows = append(n.rows, i)
			n.c.ids = append(n.c.ids, all.ids[i*all.k:][:all.k]...)
			n.c.weights = append(n.c.weights, all.weights[i*all.k:][:all.k]...)
		}
	}
	n.c.group(len(n.m.Experts))
	src := rowsOf(in.Tensor(0))
	n.x = make([]float32, len(n.c.slots)*src.width)
	for i, slot := range n.c.slots {
		n.ops.load(n.x[i*src.width:][:src.width], src.t.DType, src.bytes(n.rows[slot/n.c.k]))
	}
}

// products are the exact products of the slots' rows and their variances, v being that
// of x, nil for none.
func (n *expertNoise) products(x, v []float32, weights func(expert int) []PackedWeight) (y, variance []float32) {
	slots := len(n.c.slots)
	in, out := len(x)/slots, 0
	for _, p := range weights(0) {
		rows, _ := p.Weight.Shape()
		out += rows
	}
	y, variance = make([]float32, slots*out), make([]float32, slots*out)
	for _, g := range n.c.groups {
		l := linearNoise{deviation: n.deviation, ops: n.ops, parts: weights(g.expert), x: x[g.lo*in : g.hi*in], t: g.hi - g.lo, k: in}
		if v != nil {
			l.variance = v[g.lo*in : g.hi*in]
		}
		l.whole(func() func(row, col int, y0, c2 []float32) {
			return func(row, col int, y0, c2 []float32) {
				at := (g.lo+row)*out + col
				copy(y[at:], y0)
				copy(variance[at:], c2)
			}
		})
	}
	return y, variance
}

// rounded adds the rounding of the products of each slot, which, where they are weighed,
// are multiplied by its weight before or after.
func (n *expertNoise) rounded(y, v []float32, weighed bool) {
	width := len(y) / len(n.c.slots)
	for i, slot := range n.c.slots {
		w := float64(1)
		if weighed {
			w = float64(n.c.weights[slot])
		}
		for j := i * width; j < (i+1)*width; j++ {
			exact := float64(y[j]) * w
			variance := float64(float64(v[j])*w)*w + n.rounding(exact, 1)
			if weighed {
				variance += n.rounding(w, float64(y[j])) + n.rounding(float64(y[j]), w)
			}
			y[j], v[j] = float32(exact), float32(variance)
		}
	}
}

// activated are the activations of the first products and their variances.
func (n *expertNoise) activated(h, v []float32) (a, variance []float32) {
	slots := len(n.c.slots)
	_, out := n.m.Experts[0].W2.Weight.Shape()
	in := len(h) / slots
	a, variance = make([]float32, slots*out), make([]float32, slots*out)
	for i := range slots {
		n.m.Act.noise(n.deviation, a[i*out:][:out], variance[i*out:][:out], h[i*in:][:in], v[i*in:][:in])
	}
	for i, x := range a {
		variance[i] += float32(n.rounding(float64(x), 1))
	}
	return a, variance
}

// halfSums is up to how many experts' results are added in the model's dtype.
const halfSums = 4

// sums sets z: of the sum of each row's slots, and of what the shared experts add.
func (n *expertNoise) sums(in il.Tuple, h, v []float32) {
	place := make([]int, len(n.c.slots))
	for i, slot := range n.c.slots {
		place[slot] = i
	}
	width := n.recorded.width
	y0, variance, shared := make([]float32, width), make([]float32, width), make([]float32, width)
	set := n.setter(n.ops)
	for r, row := range n.rows {
		clear(y0)
		clear(variance)
		for j := range n.c.k {
			at := place[r*n.c.k+j] * width
			kernel.Add(y0, h[at:][:width])
			kernel.Add(variance, v[at:][:width])
			last := j == n.c.k-1
			if last && n.m.Shared != nil || !last && j > 0 && (n.c.k <= halfSums || n.m.Like.ByExpert) {
				n.roundings(variance, y0)
			}
		}
		if n.m.Shared != nil {
			x := rowsOf(in.Tensor(2))
			n.ops.load(shared, x.t.DType, x.bytes(row))
			kernel.Add(y0, shared)
		}
		set(row, 0, y0, variance)
	}
}

// roundings adds the variance of rounding each of the values.
func (d *deviation) roundings(v, y []float32) {
	for i, x := range y {
		v[i] += float32(d.rounding(float64(x), 1))
	}
}
