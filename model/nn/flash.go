package nn

import (
	"math"

	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/internal/kernel"
)

// flash is the online softmax of FlashAttention for the query heads of one row
// that share keys and values (csrc/flash_attn/src/softmax.h), with its rounding
// points: scores stay in float32, the running sum adds unrounded exponentials
// while the product with v takes rounded ones, and the result is rounded at the
// end. Kernels differ in the blocks of keys that they visit, and so in the
// maximum by which an exponential is scaled where it is rounded.
type flash[F real] struct {
	*ops[F]
	group, d int
	scale    F   // of the scores, times log2(e): exponentials are powers of two
	block    int // keys that are visited at a time
	inBlocks blockOrder
	capped   func(s []F) // the products q·k, where scores have a cap
	s        []F         // (group, block): scores, then exponentials
	max, sum []F         // (group,)
}

// blockOrder calls visit for the blocks first to last.
type blockOrder func(first, last int, visit func(block int))

func ascending(first, last int, visit func(block int)) {
	for b := first; b <= last; b++ {
		visit(b)
	}
}

func descending(first, last int, visit func(block int)) {
	for b := last; b >= first; b-- {
		visit(b)
	}
}

// newFlash is FlashAttention as vLLM calls it, with blocks from the last to the
// first.
func newFlash[F real](o *ops[F], shape AttentionShape) headAttention[F] {
	return newBlocks(o, shape, blockN(shape.HeadDim), descending)
}

// blockN is the number of keys that it visits at a time
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

// newSDPA is torch's scaled_dot_product_attention as its CPU kernel computes it,
// with blocks of 512 keys from the first on (torch 2.14,
// aten/src/ATen/native/cpu/FlashAttentionKernel.cpp, kvSplitSize). Its CUDA
// kernels (FlashAttention 2, cuDNN, memory-efficient) have the same points and
// blocks of their own.
//
// A model with sinks has no sdpa in transformers: its default is eager attention.
func newSDPA[F real](o *ops[F], shape AttentionShape) headAttention[F] {
	if shape.Sinks != nil {
		return newEager(o, shape)
	}
	shape.Softcap = 0 // which transformers does not hand to torch (integrations/sdpa_attention.py)
	return newBlocks(o, shape, 512, ascending)
}

func newBlocks[F real](o *ops[F], shape AttentionShape, block int, inBlocks blockOrder) *flash[F] {
	group := shape.Heads / shape.KVHeads
	a := &flash[F]{
		ops: o, group: group, d: shape.HeadDim, scale: F(shape.Scale * math.Log2E), block: block, inBlocks: inBlocks, capped: exact[F],
		s: make([]F, group*block), max: make([]F, group), sum: make([]F, group),
	}
	if c := shape.Softcap; c > 0 { // flash_api.cpp set_params_fprop: softcap = scale/c, scale_softmax = c
		a.scale, a.capped = F(c*math.Log2E), func(s []F) {
			kernel.Scale(s, F(shape.Scale/c))
			tanh(s)
		}
	}
	return a
}

func (a *flash[F]) row(out, q, keys, vals, sinks []F, first, end int) {
	clear(out)
	clear(a.sum)
	for g := range a.max {
		a.max[g] = F(math.Inf(-1))
	}
	a.inBlocks(first/a.block, (end-1)/a.block, func(b int) {
		lo, hi := max(first, b*a.block), min(end, (b+1)*a.block)
		a.visit(out, q, keys[lo*a.d:hi*a.d], vals[lo*a.d:hi*a.d], hi-lo)
	})
	for g, l := range a.sum {
		if sinks != nil { // vLLM's FlashAttention 3, hopper/softmax.h finalize: after the last block
			l += exp2(F(sinks[g]*math.Log2E) - F(a.max[g]*a.scale))
		}
		kernel.Scale(out[g*a.d:][:a.d], 1/l)
	}
}

// visit adds a block of n keys and values (n, D).
func (a *flash[F]) visit(out, q, keys, vals []F, n int) {
	s := a.s[:a.group*n]
	clear(s)
	a.gemm(blas.Trans, a.group, n, a.d, q, a.d, keys, a.d, s, n)
	a.capped(s)
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
		kernel.Scale(out[g*a.d:][:a.d], keep)
	}
	a.round(s)
	a.gemm(blas.NoTrans, a.group, a.d, n, s, n, vals, a.d, out, a.d)
}

func exp2[F real](x F) F { return F(kernel.Exp2(float64(x))) }
