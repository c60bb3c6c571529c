package nn

import (
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// experts computes what the chosen experts return, and adds it up. The rows of the
// tokens that chose an expert go through one product with its weights, so that a step
// reads the weights of the experts chosen alone, and each once. The products of all
// of them are shared out to the threads together. An element is one chain over its
// inputs whatever rows stand beside it.
func (o *ops[F]) experts(hidden, logits *tensor.Tensor, m *Experts) *tensor.Tensor {
	c := o.chosen(logits, m)
	x := o.gathered(hidden, c)
	h1 := o.grouped(c, x, func(e int) []PackedWeight { return m.Experts[e].W13 }, func(y []F, w F) {
		if m.ScaleInput { // the sums, in float32, before they are rounded
			kernel.Scale(y, w)
		}
		o.round(y)
	})
	h2 := o.grouped(c, o.activated(m, c, h1), func(e int) []PackedWeight { return []PackedWeight{m.Experts[e].W2} }, func(y []F, w F) {
		if m.ScaleInput {
			w = 1
		}
		o.mix.weigh(o, m, y, w)
	})
	return o.added(m, c, h2)
}

// choice is the experts of a step's tokens.
type choice[F real] struct {
	k       int
	ids     []int   // (T, k)
	weights []F     // (T, k)
	slots   []int   // the pairs of a token and one of its k, t*k+j, by expert and then by token
	groups  []group // of the slots
}

// group is the slots lo to hi-1, of one expert.
type group struct{ expert, lo, hi int }

// chosen asks the router for the experts of each token.
func (o *ops[F]) chosen(logits *tensor.Tensor, m *Experts) *choice[F] {
	src, routing := rowsOf(logits), o.mix.routing(m)
	k := routing.TopK()
	c := &choice[F]{k: k, ids: make([]int, src.n*k), weights: make([]F, src.n*k)}
	o.parallel(src.n, func() func(int) {
		a, row, w := newScores(o), make([]float64, src.width), make([]float64, k)
		return func(i int) {
			tensor.LoadFloat64(row, logits.DType, src.bytes(i))
			routing.choose(a, row, c.ids[i*k:][:k], w)
			o.mix.kept(m, a, w)
			for j, x := range w {
				c.weights[i*k+j] = F(x)
			}
		}
	})
	c.group(len(m.Experts))
	return c
}

// group sorts the pairs of token and expert by expert.
func (c *choice[F]) group(experts int) {
	at := make([]int, experts+1)
	for _, e := range c.ids {
		at[e+1]++
	}
	for e := range experts {
		at[e+1] += at[e]
		if at[e+1] > at[e] {
			c.groups = append(c.groups, group{e, at[e], at[e+1]})
		}
	}
	c.slots = make([]int, len(c.ids))
	for slot, e := range c.ids {
		c.slots[at[e]] = slot
		at[e]++
	}
}

// gathered are the rows of the slots.
func (o *ops[F]) gathered(hidden *tensor.Tensor, c *choice[F]) []F {
	src := rowsOf(hidden)
	x := make([]F, len(c.slots)*src.width)
	o.parallel(len(c.slots), func() func(int) {
		return func(i int) { o.load(x[i*src.width:][:src.width], hidden.DType, src.bytes(c.slots[i]/c.k)) }
	})
	return x
}

// groupTask is a range of columns of one group's product.
type groupTask struct {
	group int
	task
}

// grouped multiplies the rows of each group by its expert's weights, adds the biases, and
// finishes each row, which has the router's weight w.
func (o *ops[F]) grouped(c *choice[F], x []F, weights func(expert int) []PackedWeight, finish func(y []F, w F)) []F {
	var tasks []groupTask
	var by [][]product[F]
	scratch, widest, width := 0, 0, 0
	left := len(c.groups)
	for g, r := range c.groups {
		parts, t := weights(r.expert), r.hi-r.lo
		list, most, n := tasksOf(parts, t, o.threads, left)
		left--
		width, scratch, widest = n, max(scratch, most*t), max(widest, most)
		for _, k := range list {
			tasks = append(tasks, groupTask{g, k})
		}
		in := len(x) / len(c.slots)
		products := make([]product[F], len(parts))
		for i, p := range parts {
			products[i] = times(o, p.Weight, x[r.lo*in:r.hi*in], t)
		}
		by = append(by, products)
	}
	out := make([]F, len(c.slots)*width)
	o.parallel(len(tasks), func() func(int) {
		sums, bias := make([]F, scratch), make([]F, widest)
		return func(i int) {
			k := tasks[i]
			r, n := c.groups[k.group], k.hi-k.lo
			part := weights(r.expert)[k.part]
			y := sums[:(r.hi-r.lo)*n]
			by[k.group][k.part](y, k.lo, k.hi)
			if part.Bias != nil {
				o.weights(bias[:n], part.Bias, k.lo)
			}
			for s := r.lo; s < r.hi; s++ {
				row := y[(s-r.lo)*n:][:n]
				if part.Bias != nil {
					kernel.Add(row, bias[:n])
				}
				finish(row, c.weights[c.slots[s]])
				copy(out[s*width+k.col:], row)
			}
		}
	})
	return out
}

// activated applies the activation to the rows of h1 (slots, 2I).
func (o *ops[F]) activated(m *Experts, c *choice[F], h1 []F) []F {
	_, width := m.Experts[0].W2.Weight.Shape()
	n := len(h1) / len(c.slots)
	out := make([]F, len(c.slots)*width)
	o.parallel(len(c.slots), func() func(int) {
		return func(i int) {
			a := out[i*width:][:width]
			activate(o, m.Act, a, h1[i*n:][:n])
			o.round(a)
		}
	})
	return out
}

// added is the sum of what each token's experts return.
func (o *ops[F]) added(m *Experts, c *choice[F], h2 []F) *tensor.Tensor {
	place := make([]int, len(c.slots))
	for i, slot := range c.slots {
		place[slot] = i
	}
	width := len(h2) / len(c.slots)
	out := tensor.New(o.dtype, len(c.slots)/c.k, width)
	o.parallel(out.Shape[0], func() func(int) {
		sum, h := make([]F, width), make([][]F, c.k)
		return func(t int) {
			for j := range h {
				h[j] = h2[place[t*c.k+j]*width:][:width]
			}
			o.mix.sum(o, m, sum, c.ids[t*c.k:][:c.k], h)
			o.store(rowsOf(out).bytes(t), o.dtype, sum)
		}
	})
	return out
}
