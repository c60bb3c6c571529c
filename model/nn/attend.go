package nn

import "github.com/ilref/ilref/tensor"

// attend computes each query row over the keys that it sees, so that its bits do
// not depend on the rows computed with it. How is the profile's.
func (o *ops[F]) attend(q *tensor.Tensor, shape AttentionShape, spans []attended) *tensor.Tensor {
	out := tensor.New(o.dtype, q.Shape...)
	o.parallel(len(spans)*shape.KVHeads, func() func(int) {
		return func(i int) {
			o.attendHead(out, q, shape, spans[i/shape.KVHeads], i%shape.KVHeads)
		}
	})
	return out
}

// headAttention computes the query heads of a row that share one key-value head.
type headAttention[F real] interface {
	// row sets out (group, D), before its last rounding, to what queries q
	// (group, D) take of keys and values (n, D), of which they see those from
	// first to end-1. sinks (group,) are further logits of the softmax; nil for none.
	row(out, q, keys, vals, sinks []F, first, end int)
}

// attendHead computes the query heads that share one key-value head, for all
// rows of a span.
func (o *ops[F]) attendHead(out, q *tensor.Tensor, shape AttentionShape, span attended, kvHead int) {
	d, es := shape.HeadDim, o.dtype.Size()
	width := shape.Heads / shape.KVHeads * d
	keys := o.head(span.keys.k, shape, kvHead) // (n, D)
	vals := o.head(span.keys.v, shape, kvHead) // (n, D)
	n := len(keys) / d
	a, x, y := o.attention(o, shape), make([]F, width), make([]F, width)
	sinks := o.sinks(shape, kvHead)
	for row := span.Lo; row < span.Hi; row++ {
		pos := n - (span.Hi - row) // of the query; it sees keys first to pos
		o.load(x, o.dtype, rowsOf(q).bytes(row)[kvHead*width*es:][:width*es])
		a.row(y, x, keys, vals, sinks, shape.first(pos), pos+1)
		o.store(rowsOf(out).bytes(row)[kvHead*width*es:], o.dtype, y)
	}
}

// sinks are those of the query heads that share one key-value head.
func (o *ops[F]) sinks(shape AttentionShape, kvHead int) []F {
	if shape.Sinks == nil {
		return nil
	}
	v := make([]F, shape.Heads/shape.KVHeads)
	o.weights(v, shape.Sinks, kvHead*len(v))
	return v
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
