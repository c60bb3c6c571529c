package nn

import (
	"math"

	"github.com/ilref/ilref/tensor"
)

// promptHead is one head of a prompt's attention.
type promptHead[F real] struct {
	LatentShape
	start      int              // keys of earlier chunks
	q, out     []F              // of the row at hand (Nope+Rope)
	keys, vals []F              // (n, Nope+Rope), values padded with zeros
	whole      headAttention[F] // to all keys
	part, back *flash[F]        // to those of a chunk: the rows' own, and the earlier ones
	other      []F              // what back returned
}

// latentPrefill attends with heads of Nope+Rope dimensions: a head's key is what KVB made
// of the latent and the one rotated key (v1/attention/backends/mla/common.py
// _forward_prefill).
func (o *ops[F]) latentPrefill(out, q *tensor.Tensor, m *LatentAttention, spans []*latentSpan) {
	es := o.dtype.Size()
	d, width := m.Nope+m.Rope, m.Nope+m.Value
	src, dst := rowsOf(q), rowsOf(out) // a row of q is a head's
	o.parallel(len(spans)*m.Heads, func() func(int) {
		p := &promptHead[F]{LatentShape: m.LatentShape, q: make([]F, d), out: make([]F, d), other: make([]F, d)}
		p.whole = o.promptAttention(m)
		p.part, p.back = newVarlen(o, m.prefill()), newVarlen(o, m.prefill())
		return func(task int) {
			span, head := spans[task/m.Heads], task%m.Heads
			n := len(span.expanded)
			p.start, p.keys, p.vals = span.start, make([]F, n*d), make([]F, n*d)
			for i, kv := range span.expanded {
				kv = kv[head*width*es:]
				o.load(p.keys[i*d:][:m.Nope], o.dtype, kv[:m.Nope*es])
				o.load(p.keys[i*d+m.Nope:][:m.Rope], o.dtype, span.rows.row(i)[m.Latent*es:])
				o.load(p.vals[i*d:][:m.Value], o.dtype, kv[m.Nope*es:][:m.Value*es])
			}
			for row := span.Lo; row < span.Hi; row++ {
				o.load(p.q, o.dtype, src.bytes(row*m.Heads+head))
				if at := row - span.Lo; p.start == 0 {
					p.whole.row(p.out, p.q, p.keys, p.vals, nil, 0, at+1)
				} else {
					o.latent.chunked(o, p, at)
				}
				o.store(dst.bytes(row)[head*m.Value*es:], o.dtype, p.out[:m.Value])
			}
		}
	})
}

// attendTogether looks at earlier keys and at those of the chunk as one.
func attendTogether[F real](_ *ops[F], p *promptHead[F], row int) {
	p.whole.row(p.out, p.q, p.keys, p.vals, nil, 0, p.start+row+1)
}

// attendApart looks at the keys of the chunk and at earlier ones apart, rounds both results,
// and joins them by their sums of exponentials (csrc/attention/merge_attn_states.cu).
func attendApart[F real](o *ops[F], p *promptHead[F], row int) {
	at := p.start * len(p.q)
	p.part.row(p.out, p.q, p.keys[at:], p.vals[at:], nil, 0, row+1)
	p.back.row(p.other, p.q, p.keys, p.vals, nil, 0, p.start)
	o.round(p.out)
	o.round(p.other)
	s, b := p.part.logSum(p.Scale), p.back.logSum(p.Scale)
	most := max(s, b)
	ws, wb := F(math.Exp(float64(s-most))), F(math.Exp(float64(b-most)))
	sum := ws + wb
	ws, wb = ws/sum, wb/sum
	for i, x := range p.out {
		p.out[i] = F(p.other[i]*wb) + F(x*ws)
	}
}

// newVarlen is FlashAttention of keys and values that are not paged, with the blocks of the
// paged kernel.
func newVarlen[F real](o *ops[F], shape AttentionShape) *flash[F] {
	return newBlocks(o, shape, blockN(shape.HeadDim), descending)
}

// logSum is the logarithm of the sum of the exponentials of the first row's scores.
func (a *flash[F]) logSum(scale float64) F {
	return F(float64(a.max[0])*scale) + F(math.Log(float64(a.sum[0])))
}
