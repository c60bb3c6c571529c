package nn

import (
	"slices"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// LinearMethod is a weight (out, in) that knows how to multiply: vLLM's term for
// what a format of weights brings along. A format is a file of its own with its
// rounding points; [Dense] is the one without any.
type LinearMethod interface {
	// Shape is the number of output and of input values.
	Shape() (out, in int)
	// Rows is the weight of outputs lo to hi-1 alone.
	Rows(lo, hi int) LinearMethod
	// Params are the tensors that it is made of, under the names of vLLM's
	// parameters: "weight", "weight_scale".
	Params() []Param

	// row is the weight of output i (in,) as it is multiplied.
	row(o *ops[float32], dst []float32, i int)
	// rowBytes is the size of a row, from which the size of tasks follows.
	rowBytes() int
	// times32 and times64 prepare x (t, in), which they may quantise, to be
	// multiplied.
	times32(o *ops[float32], x []float32, t int) product[float32]
	times64(o *ops[float64], x []float64, t int) product[float64]
}

// product sets y (t, hi-lo) to x times the rows lo to hi-1 of a weight. It is
// called from several threads at once.
type product[F real] func(y []F, lo, hi int)

func times[F real](o *ops[F], w LinearMethod, x []F, t int) product[F] {
	switch o := any(o).(type) {
	case *ops[float32]:
		return any(w.times32(o, any(x).([]float32), t)).(product[F])
	case *ops[float64]:
		return any(w.times64(o, any(x).([]float64), t)).(product[F])
	}
	panic("unreachable: real has two types")
}

// Linear maps x (T, in) to a new (T, sum of out).
func (n Numerics) Linear(x *tensor.Tensor, parts []PackedWeight) *tensor.Tensor {
	return n.ops.(products).linear(x, parts)
}

// products are the kernels of matrix products.
type products interface {
	linear(x *tensor.Tensor, parts []PackedWeight) *tensor.Tensor
}

var _, _ products = (*ops[float32])(nil), (*ops[float64])(nil)

// linear computes y = r(x Wᵀ + b): the product as the weight computes it, the
// bias added to it, one rounding.
func (o *ops[F]) linear(x *tensor.Tensor, parts []PackedWeight) *tensor.Tensor {
	xr := rowsOf(x)
	t, k := xr.n, xr.width
	xs := make([]F, t*k)
	for i := range t {
		o.load(xs[i*k:][:k], o.dtype, xr.bytes(i))
	}
	tasks, widest, n := tasksOf(parts, t, o.threads, 1)
	by := make([]product[F], len(parts))
	for i, p := range parts {
		by[i] = times(o, p.Weight, xs, t)
	}
	out := tensor.New(o.dtype, append(slices.Clone(x.Shape[:len(x.Shape)-1]), n)...)
	outRows, es := rowsOf(out), o.dtype.Size()
	o.parallel(len(tasks), func() func(int) {
		scratch, bias := make([]F, t*widest), make([]F, widest)
		return func(i int) {
			c := tasks[i]
			part, width := parts[c.part], c.hi-c.lo
			y := scratch[:t*width]
			by[c.part](y, c.lo, c.hi)
			if part.Bias != nil {
				o.weights(bias[:width], part.Bias, c.lo)
				for r := range t {
					kernel.Add(y[r*width:][:width], bias[:width])
				}
			}
			for r := range t {
				o.store(outRows.bytes(r)[c.col*es:], o.dtype, y[r*width:][:width])
			}
		}
	})
	return out
}

// task is rows lo to hi-1 of a part, which are columns of the output from col.
type task struct{ part, lo, hi, col int }

// tasksOf divides the n columns of the parts' outputs for t rows of x, of which so many
// like products are to be done, this one first.
func tasksOf(parts []PackedWeight, t, threads, products int) (tasks []task, widest, n int) {
	for _, p := range parts {
		out, _ := p.Weight.Shape()
		n += out
	}
	col := 0
	for i, p := range parts {
		out, _ := p.Weight.Shape()
		for lo, hi := 0, 0; lo < out; lo = hi {
			hi = min(lo+columns(t, n*products, n*products-col, p.Weight.rowBytes(), threads), out)
			tasks = append(tasks, task{i, lo, hi, col})
			widest = max(widest, hi-lo)
			col += hi - lo
		}
	}
	return tasks, widest, n
}

// columns is how many output columns the next task computes, of n of
// which some are left, from rows of so many bytes of weights: enough tasks for
// the threads to end together, and enough columns to repay packing x. Few rows
// of x are not packed, and a task is long to begin with, for its first weights
// come from memory unasked.
func columns(t, n, left, bytes, threads int) int {
	if t <= kernel.FewRows {
		const least, most = 256 << 10, 8 << 20
		return max(min(max(left/(2*threads), least/bytes), most/bytes)/32*32, 32)
	}
	per := (n/(4*threads) + 127) / 128 * 128
	return min(max(per, 128), 1024)
}
