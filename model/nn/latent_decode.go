package nn

import (
	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/tensor"
)

// latentDecode takes queries into the space of the latents, r(q_nope W_UK), attends to the
// rows of the cache, whose result is rounded too, and takes that out of there, r(O W_UV):
// W_UK and W_UV being the rows of KVB that make a head's key and its value.
func (o *ops[F]) latentDecode(out, q *tensor.Tensor, m *LatentAttention, spans []*latentSpan) {
	var at []int // row of the step of each row here
	for _, p := range spans {
		for row := p.Lo; row < p.Hi; row++ {
			at = append(at, row)
		}
	}
	width := m.Latent + m.Rope
	x := make([]F, m.Heads*len(at)*width) // (nh, T, Latent+Rope)
	o.absorb(x, q, m, at)
	y := make([]F, m.Heads*len(at)*m.Latent)
	o.attendLatents(y, x, m, spans, len(at))
	o.leaveLatents(out, y, m, at)
}

// absorb sets x to [q_nope W_UK | q_pe] of each head.
func (o *ops[F]) absorb(x []F, q *tensor.Tensor, m *LatentAttention, at []int) {
	es, width, t := o.dtype.Size(), m.Latent+m.Rope, len(at)
	src := rowsOf(q)
	o.parallel(m.Heads, func() func(int) {
		w, nope, ql := make([]F, m.Nope*m.Latent), make([]F, t*m.Nope), make([]F, t*m.Latent)
		return func(head int) {
			o.latentRows(w, m, head*(m.Nope+m.Value))
			for i, row := range at {
				b := src.bytes(row*m.Heads + head)
				o.load(nope[i*m.Nope:][:m.Nope], o.dtype, b[:m.Nope*es])
				o.load(x[(head*t+i)*width+m.Latent:][:m.Rope], o.dtype, b[m.Nope*es:])
			}
			clear(ql)
			o.gemm(blas.NoTrans, t, m.Latent, m.Nope, nope, m.Nope, w, m.Latent, ql, m.Latent)
			o.round(ql)
			for i := range t {
				copy(x[(head*t+i)*width:][:m.Latent], ql[i*m.Latent:][:m.Latent])
			}
		}
	})
}

// latentRows decodes rows of KVB's weight from one on.
func (o *ops[F]) latentRows(dst []F, m *LatentAttention, from int) {
	o.weights(dst, m.KVB.Parts[0].Weight.(Dense).Weight, from*m.Latent) // the builder's
}

// attendLatents sets y (nh, T, Latent) to what queries x take of the rows of the cache. The
// heads of a row are shared out to the threads.
func (o *ops[F]) attendLatents(y, x []F, m *LatentAttention, spans []*latentSpan, t int) {
	width := m.Latent + m.Rope
	groups := min(o.threads, m.Heads)
	first := make([]int, len(spans)) // row of x
	for i := range spans[1:] {
		first[i+1] = first[i] + spans[i].Hi - spans[i].Lo
	}
	o.parallel(len(spans)*groups, func() func(int) {
		return func(task int) {
			span, lo, hi := spans[task/groups], task%groups*m.Heads/groups, (task%groups+1)*m.Heads/groups
			n := hi - lo
			rows := make([]F, span.rows.n*width)
			o.load(rows, o.dtype, span.rows.rows)
			a := o.attention(o, m.decode(n))
			q, out := make([]F, n*width), make([]F, n*width)
			for i := range span.Hi - span.Lo {
				at := first[task/groups] + i
				for h := range n {
					copy(q[h*width:][:width], x[((lo+h)*t+at)*width:])
				}
				a.row(out, q, rows, rows, nil, 0, span.start+i+1)
				o.round(out)
				for h := range n {
					copy(y[((lo+h)*t+at)*m.Latent:][:m.Latent], out[h*width:])
				}
			}
		}
	})
}

// leaveLatents sets out to y W_UV of each head.
func (o *ops[F]) leaveLatents(out *tensor.Tensor, y []F, m *LatentAttention, at []int) {
	es, t := o.dtype.Size(), len(at)
	dst := rowsOf(out)
	o.parallel(m.Heads, func() func(int) {
		v := make([]F, t*m.Value)
		return func(head int) {
			lo := head*(m.Nope+m.Value) + m.Nope
			times(o, m.KVB.Parts[0].Weight, y[head*t*m.Latent:][:t*m.Latent], t)(v, lo, lo+m.Value)
			for i, row := range at {
				o.store(dst.bytes(row)[head*m.Value*es:], o.dtype, v[i*m.Value:][:m.Value])
			}
		}
	})
}
