package nn

import (
	"cmp"
	"math"
	"slices"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// deviation of the sum of the chosen experts. Which are chosen, and their weights, follows
// from the router logits that the call is given: another choice is no noise. A kernel
// may round what an expert's products return, split their sums, and round the
// activation; and the noise of each goes through what comes after it: a product turns
// variances v of its inputs into the sum of W² v. It may round the weight of an expert and
// what it multiplies, and every sum but the last.
func (m *Experts) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	if m.Beside != nil && d.result == 0 { // what the shared experts return, as it is
		x := rowsOf(in.Tensor(2))
		d.byRows(o, func() noiseRow {
			return func(i int, y0, _ []float32) { o.load(y0, o.dtype, x.bytes(i)) }
		})
		return
	}
	n := expertNoise{deviation: d, ops: o, m: m}
	n.choose(in)
	h, v := n.products(n.x, n.taken(), func(e int) []PackedWeight { return m.Experts[e].W13 })
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

	rows []int            // that differ, one for each choice that is right
	c    *choice[float32] // of these
	x    []float32        // of the slots
}

// manyChoices is how many choices of a row with equal logits are looked at.
const manyChoices = 16

// choices are the lists of experts that are as right as ids, which come first: of equal
// logits torch's topk takes any (on a CPU what std::nth_element leaves in front), vLLM's
// kernels the first.
func choices(logits []float64, ids []int) [][]int {
	least := slices.MinFunc(ids, func(a, b int) int { return cmp.Compare(logits[a], logits[b]) })
	list := [][]int{ids}
	for i := 0; i < len(list) && len(list) < manyChoices; i++ { // swapping one at a time reaches all
		for e, x := range logits {
			if x != logits[least] || slices.Contains(list[i], e) {
				continue
			}
			for j, chosen := range list[i] {
				swapped := slices.Clone(list[i])
				swapped[j] = e
				if logits[chosen] == x && !slices.ContainsFunc(list, func(l []int) bool { return sameSet(l, swapped) }) {
					list = append(list, swapped)
				}
			}
		}
	}
	return list
}

func sameSet(a, b []int) bool {
	return !slices.ContainsFunc(a, func(x int) bool { return !slices.Contains(b, x) })
}

// choose finds the experts of the rows that differ.
func (n *expertNoise) choose(in il.Tuple) {
	logits := rowsOf(in.Tensor(1))
	all, row := n.ops.chosen(in.Tensor(1), n.m), make([]float64, logits.width)
	n.c = &choice[float32]{k: all.k}
	for i := range n.recorded.n {
		if !n.differs(i) {
			continue
		}
		tensor.LoadFloat64(row, logits.t.DType, logits.bytes(i))
		for _, ids := range choices(row, all.ids[i*all.k:][:all.k]) {
			n.rows = append(n.rows, i)
			n.c.ids = append(n.c.ids, ids...)
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

// taken is the variance of the slots' rows: a kernel may round them where it weighs them.
func (n *expertNoise) taken() []float32 {
	if !n.m.ScaleInput {
		return nil
	}
	v := make([]float32, len(n.x))
	n.roundings(v, n.x)
	return v
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

// sums sets z: of the sum of each row's slots, and of what the shared experts add. Of
// the choices of a row the one counts that the recorded values are nearest to.
func (n *expertNoise) sums(in il.Tuple, h, v []float32) {
	place := make([]int, len(n.c.slots))
	for i, slot := range n.c.slots {
		place[slot] = i
	}
	width := n.recorded.width
	y0, variance := make([]float32, width), make([]float32, width)
	best, bestVariance := make([]float32, width), make([]float32, width)
	set := n.setter(n.ops)
	nearest := math.Inf(1)
	for r, row := range n.rows {
		n.sum(in, row, place[r*n.c.k:][:n.c.k], h, v, y0, variance)
		if far := n.distance(row, y0); far < nearest || math.IsInf(nearest, 1) {
			nearest = far
			copy(best, y0)
			copy(bestVariance, variance)
		}
		if r+1 == len(n.rows) || n.rows[r+1] != row {
			set(row, 0, best, bestVariance)
			nearest = math.Inf(1)
		}
	}
}

// sum is that of the slots at places.
func (n *expertNoise) sum(in il.Tuple, row int, places []int, h, v, y0, variance []float32) {
	width := len(y0)
	clear(y0)
	clear(variance)
	for j, p := range places {
		kernel.Add(y0, h[p*width:][:width])
		kernel.Add(variance, v[p*width:][:width])
		last := j == len(places)-1
		if last && (n.m.Shared != nil || n.m.Scale != 0) || !last && j > 0 && (len(places) <= halfSums || n.m.Like.ByExpert) {
			n.roundings(variance, y0)
		}
	}
	n.scaled(y0, variance)
	if n.m.Shared != nil {
		x, shared := rowsOf(in.Tensor(2)), make([]float32, width)
		n.ops.load(shared, x.t.DType, x.bytes(row))
		kernel.Add(y0, shared)
	}
}

// distance of a row of the result from exact values.
func (n *expertNoise) distance(row int, exact []float32) float64 {
	y := make([]float32, len(exact))
	n.ops.load(y, n.ops.dtype, n.recorded.bytes(row))
	sum := 0.
	for i, x := range y {
		d := float64(x) - float64(exact[i])
		sum += float64(d * d)
	}
	return sum
}

// roundings adds the variance of rounding each of the values.
func (d *deviation) roundings(v, y []float32) {
	for i, x := range y {
		v[i] += float32(d.rounding(float64(x), 1))
	}
}

// scaled multiplies the sums by the factor of the experts, and rounds them.
func (n *expertNoise) scaled(y0, variance []float32) {
	if n.m.Scale == 0 {
		return
	}
	kernel.Scale(y0, float32(n.m.Scale))
	kernel.Scale(variance, float32(n.m.Scale*n.m.Scale))
	n.roundings(variance, y0)
}
