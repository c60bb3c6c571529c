package nn

import (
	"math"

	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

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

// attend is FlashAttention with its rounding points: scores stay in float32,
// blocks are visited from the last to the first, the running sum adds
// unrounded exponentials while the product with v takes rounded ones, and the
// result is rounded at the end. Each query row sees its visible keys only, so
// its bits do not depend on the rows computed with it.
func (o *ops[F]) attend(q *tensor.Tensor, shape AttentionShape, spans []attended) *tensor.Tensor {
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

// flash is the online softmax of FlashAttention for the query heads of one row
// that share keys and values (csrc/flash_attn/src/softmax.h).
type flash[F real] struct {
	*ops[F]
	group, d int
	scale    F   // of the scores, times log2(e): exponentials are powers of two
	q, acc   []F // (group, D)
	s        []F // (group, block): scores, then exponentials
	max, sum []F // (group,)
}

func (a *flash[F]) reset() {
	clear(a.acc)
	clear(a.sum)
	for g := range a.max {
		a.max[g] = F(math.Inf(-1))
	}
}

// visit adds a block of n keys and values (n, D).
func (a *flash[F]) visit(keys, vals []F, n int) {
	s := a.s[:a.group*n]
	clear(s)
	a.gemm(blas.Trans, a.group, n, a.d, a.q, a.d, keys, a.d, s, n)
	for g := range a.group {
		row := s[g*n:][:n]
		m := max(a.max[g], kernel.Max(row))
		if math.IsInf(float64(m), -1) {
			m = 0 // as the kernel does: every exponential is then 0, not NaN
		}
		keep := exp2((a.max[g] - m) * a.scale)
		a.max[g] = m
		kernel.Exp2Scaled(row, a.scale, -F(m*a.scale))
		a.sum[g] = F(a.sum[g]*keep) + kernel.Sum(row)
		kernel.Scale(a.acc[g*a.d:][:a.d], keep)
	}
	a.round(s)
	a.gemm(blas.NoTrans, a.group, a.d, n, s, n, vals, a.d, a.acc, a.d)
}

// finish divides by the sums.
func (a *flash[F]) finish() {
	for g, l := range a.sum {
		kernel.Scale(a.acc[g*a.d:][:a.d], 1/l)
	}
}

func exp2[F real](x F) F { return F(kernel.Exp2(float64(x))) }
