package nn

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/internal/kernel"
)

// eager is attention in operations of torch that each round what they return
// (transformers 5.12, models/llama/modeling_llama.py eager_attention_forward):
// q·k, the scores, the softmax, which is float32 within, and the product with v.
// Adding the mask rounds nothing of keys that are seen.
type eager[F real] struct {
	*ops[F]
	group, d int
	scale    F
	cap      F   // of the scores; 0 for none
	s        []F // (group, n): scores, then probabilities
}

func newEager[F real](o *ops[F], shape AttentionShape) headAttention[F] {
	return &eager[F]{ops: o, group: shape.Heads / shape.KVHeads, d: shape.HeadDim, scale: F(shape.Scale), cap: F(shape.Softcap)}
}

func (a *eager[F]) row(out, q, keys, vals, sinks []F, first, end int) {
	keys, vals = keys[first*a.d:end*a.d], vals[first*a.d:end*a.d]
	n := end - first
	if cap(a.s) < a.group*n {
		a.s = make([]F, a.group*n*2)
	}
	s := a.s[:a.group*n]
	clear(s)
	a.gemm(blas.Trans, a.group, n, a.d, q, a.d, keys, a.d, s, n)
	a.round(s)
	kernel.Scale(s, a.scale)
	a.round(s)
	if a.cap > 0 {
		softcap(s, a.cap, a.round)
	}
	for g := range a.group {
		p := s[g*n:][:n]
		if sinks != nil {
			a.withSink(p, sinks[g])
			continue
		}
		kernel.Exp2Scaled(p, math.Log2E, -F(kernel.Max(p)*math.Log2E))
		kernel.Scale(p, 1/kernel.Sum(p))
	}
	a.round(s)
	clear(out)
	a.gemm(blas.NoTrans, a.group, a.d, n, s, n, vals, a.d, out, a.d)
}

// withSink is the softmax over scores p and a sink, of which the largest is taken from
// each before (modeling_gpt_oss.py eager_attention_forward).
func (a *eager[F]) withSink(p []F, sink F) {
	all := append(slices.Clone(p), sink)
	most := kernel.Max(all)
	for j := range all {
		all[j] -= most
	}
	a.round(all)
	kernel.Exp2Scaled(all, math.Log2E, 0)
	kernel.Scale(all, 1/kernel.Sum(all))
	copy(p, all)
}
