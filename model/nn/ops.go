package nn

import (
	"math"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

func (o *ops[F]) Embed(ids, table *tensor.Tensor) *tensor.Tensor {
	idx, _ := ids.Ints() // checked against the vocabulary before the step
	h := table.Shape[1]
	out := tensor.New(o.dtype, len(idx), h)
	row := make([]F, h)
	for i, id := range idx {
		o.weights(row, table, id*h)
		o.store(rowsOf(out).bytes(i), o.dtype, row)
	}
	return out
}

// Linear computes y = r(x Wᵀ + b): exact products, one chain in float32 (or
// float64) over the input dimension, the bias added to it, one rounding.
func (o *ops[F]) Linear(x *tensor.Tensor, parts []Part) *tensor.Tensor {
	xr := rowsOf(x)
	t, k := xr.n, xr.width
	xs := make([]F, t*k)
	for i := range t {
		o.load(xs[i*k:][:k], o.dtype, xr.bytes(i))
	}
	n := 0
	for _, part := range parts {
		n += part.Weight.Shape[0]
	}
	type task struct{ part, lo, hi, col int } // rows lo to hi-1 of the part are columns from col
	var tasks []task
	widest, col := 0, 0
	for p, part := range parts {
		for lo, hi := 0, 0; lo < part.Weight.Shape[0]; lo = hi {
			hi = min(lo+columns(t, n, n-col, k*part.Weight.DType.Size(), o.threads), part.Weight.Shape[0])
			tasks = append(tasks, task{p, lo, hi, col})
			widest = max(widest, hi-lo)
			col += hi - lo
		}
	}
	out := tensor.New(o.dtype, t, n)
	outRows, es := rowsOf(out), o.dtype.Size()
	o.parallel(len(tasks), func() func(int) {
		scratch, bias := make([]F, t*widest), make([]F, widest)
		return func(i int) {
			c := tasks[i]
			part, width := parts[c.part], c.hi-c.lo
			y := scratch[:t*width]
			o.matmul(y, width, xs, k, t, width, k, o.stored(part.Weight, c.lo*k, width*k), false)
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

// columns is how many output columns the next task of Linear computes, of n of
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

// stored is a run of a weight's elements as the kernel takes them.
func (o *ops[F]) stored(w *tensor.Tensor, start, n int) kernel.Weights {
	es := w.DType.Size()
	lo := (w.Offset + start) * es
	as := o.dtype
	if as == tensor.Float64 { // holds every value
		as = tensor.Invalid
	}
	return kernel.Weights{Data: w.Data[lo : lo+n*es], DType: w.DType, As: as}
}

func (o *ops[F]) RMSNorm(x, weight *tensor.Tensor, eps float64) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	src, dst := rowsOf(x), rowsOf(out)
	w := make([]F, src.width)
	o.weights(w, weight, 0)
	o.parallel(src.n, func() func(int) {
		row := make([]F, src.width)
		return func(i int) {
			o.load(row, o.dtype, src.bytes(i))
			o.normalize(row, w, eps)
			o.store(dst.bytes(i), o.dtype, row)
		}
	})
	return out
}

// AddRMSNorm normalises the rounded sum, as fused_add_rms_norm does.
func (o *ops[F]) AddRMSNorm(x, residual, weight *tensor.Tensor, eps float64) {
	xr, rr := rowsOf(x), rowsOf(residual)
	w := make([]F, xr.width)
	o.weights(w, weight, 0)
	o.parallel(xr.n, func() func(int) {
		row, res := make([]F, xr.width), make([]F, xr.width)
		return func(i int) {
			o.load(row, o.dtype, xr.bytes(i))
			o.load(res, o.dtype, rr.bytes(i))
			kernel.Add(row, res)
			o.round(row) // z = r(x + residual)
			o.store(rr.bytes(i), o.dtype, row)
			o.normalize(row, w, eps)
			o.store(xr.bytes(i), o.dtype, row)
		}
	})
}

// Add is PyTorch's sum of two tensors.
func (o *ops[F]) Add(x, y *tensor.Tensor) *tensor.Tensor {
	out := tensor.New(o.dtype, x.Shape...)
	xr, yr, dst := rowsOf(x), rowsOf(y), rowsOf(out)
	o.parallel(xr.n, func() func(int) {
		a, b := make([]F, xr.width), make([]F, xr.width)
		return func(i int) {
			o.load(a, o.dtype, xr.bytes(i))
			o.load(b, o.dtype, yr.bytes(i))
			kernel.Add(a, b)
			o.store(dst.bytes(i), o.dtype, a)
		}
	})
	return out
}

// normalize computes r(x*s) * w with s = 1/sqrt(mean(x^2) + eps)
// (vLLM csrc/layernorm_kernels.cu; the caller's store rounds the product).
func (o *ops[F]) normalize(x, w []F, eps float64) {
	v := kernel.SumSquares(x)
	kernel.Scale(x, rsqrt(v/F(len(x))+F(eps)))
	o.inKernel(x)
	kernel.Mul(x, w)
}

// SiluAndMul computes r(r(silu(gate)) * up) (vLLM csrc/activation_kernels.cu).
func (o *ops[F]) SiluAndMul(x *tensor.Tensor) *tensor.Tensor {
	src := rowsOf(x)
	n := src.width / 2
	out := tensor.New(o.dtype, src.n, n)
	o.parallel(src.n, func() func(int) {
		row := make([]F, 2*n)
		return func(i int) {
			o.load(row, o.dtype, src.bytes(i))
			gate, up := row[:n], row[n:]
			kernel.Silu(gate)
			o.round(gate)
			kernel.Mul(gate, up)
			o.store(rowsOf(out).bytes(i), o.dtype, gate)
		}
	})
	return out
}

// blockN is the number of keys that FlashAttention visits at a time
// (flash-attention ee4d25bd, flash_fwd_launch_template.h, split-KV).
func blockN(headDim int) int {
	switch {
	case headDim <= 64:
		return 256
	case headDim <= 128:
		return 128
	}
	return 64
}

// attended is the rows of one request and the keys and values they look at.
type attended struct {
	Span
	keys *KeysAndValues
}

// Attend is FlashAttention with its rounding points: scores stay in float32,
// blocks are visited from the last to the first, the running sum adds
// unrounded exponentials while the product with v takes rounded ones, and the
// result is rounded at the end. Each query row sees its visible keys only, so
// its bits do not depend on the rows computed with it.
func (o *ops[F]) Attend(q *tensor.Tensor, shape AttentionShape, spans []attended) *tensor.Tensor {
	out := tensor.New(o.dtype, q.Shape...)
	o.parallel(len(spans)*shape.KVHeads, func() func(int) {
		return func(i int) {
			o.attendHead(out, q, shape, spans[i/shape.KVHeads], i%shape.KVHeads)
		}
	})
	return out
}

// attendHead computes the query heads that share one key-value head, for all
// rows of a span.
func (o *ops[F]) attendHead(out, q *tensor.Tensor, shape AttentionShape, span attended, kvHead int) {
	d, es := shape.HeadDim, o.dtype.Size()
	group := shape.Heads / shape.KVHeads
	keys := o.head(span.keys.k, shape, kvHead) // (n, D)
	vals := o.head(span.keys.v, shape, kvHead) // (n, D)
	n := len(keys) / d
	block := blockN(d)
	a := flash[F]{
		ops: o, group: group, d: d, scale: F(shape.Scale * math.Log2E),
		q: make([]F, group*d), acc: make([]F, group*d), s: make([]F, group*block), max: make([]F, group), sum: make([]F, group),
	}
	for row := span.Lo; row < span.Hi; row++ {
		pos := n - (span.Hi - row) // of the query; it sees keys first to pos
		first := 0
		if shape.Window > 0 {
			first = max(0, pos-shape.Window+1)
		}
		head := rowsOf(q).bytes(row)[kvHead*group*d*es:][:group*d*es]
		o.load(a.q, o.dtype, head)
		a.reset()
		for b := pos / block; b >= first/block; b-- {
			lo, hi := max(first, b*block), min(pos+1, (b+1)*block)
			a.visit(keys[lo*d:hi*d], vals[lo*d:hi*d], hi-lo)
		}
		a.finish()
		o.store(rowsOf(out).bytes(row)[kvHead*group*d*es:], o.dtype, a.acc)
	}
}

// head widens the rows of one key-value head of a cache.
func (o *ops[F]) head(cache []byte, shape AttentionShape, kvHead int) []F {
	d, es := shape.HeadDim, o.dtype.Size()
	stride := shape.KVHeads * d * es
	x := make([]F, len(cache)/stride*d)
	for i := 0; i*d < len(x); i++ {
		o.load(x[i*d:][:d], o.dtype, cache[i*stride+kvHead*d*es:][:d*es])
	}
	return x
}
