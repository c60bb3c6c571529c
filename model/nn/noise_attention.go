package nn

import (
	"math"

	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/il"
)

// deviation of P v with P = softmax(scale q·k): a kernel may round the
// probabilities, sums over some of the keys, and the scores.
func (m *Attention) deviation(o *ops[float32], s *Step, in il.Tuple, d *deviation) {
	q := rowsOf(in.Tensor(0))
	o.parallel(len(s.Spans)*m.KVHeads, func() func(int) {
		return func(task int) {
			span, head := s.Spans[task/m.KVHeads], task%m.KVHeads
			a := newAttentionNoise(o, d, m.AttentionShape, attended{span, span.Cache.State(m.owner()).(*KeysAndValues)}, head)
			for row := span.Lo; row < span.Hi; row++ {
				if d.differs(row) {
					a.row(q, row)
				}
			}
		}
	})
}

// attentionNoise holds the query heads that share one key-value head against
// the exact ones.
type attentionNoise struct {
	d          *deviation
	o          *ops[float32]
	shape      AttentionShape
	span       attended
	kvHead     int
	keys, vals []float32 // (n, D)
	squares    []float32 // of vals
	sinks      []float32 // (group,); nil for none
	set        func(row, col int, exact, variance []float32)

	q, y0      []float32 // (group, D)
	variance   []float32 // (group, D)
	byWeight   []float32 // (group, D)
	p, weights []float32 // (group, n)
}

func newAttentionNoise(o *ops[float32], d *deviation, shape AttentionShape, span attended, kvHead int) *attentionNoise {
	group := shape.Heads / shape.KVHeads
	a := &attentionNoise{
		d: d, o: o, shape: shape, span: span, kvHead: kvHead,
		keys: o.head(span.keys.k, shape, kvHead), vals: o.head(span.keys.v, shape, kvHead), set: d.setter(o),
		q: make([]float32, group*shape.HeadDim), sinks: o.sinks(shape, kvHead),
	}
	a.squares = make([]float32, len(a.vals))
	for i, v := range a.vals {
		a.squares[i] = float32(v * v)
	}
	n := len(a.keys) / shape.HeadDim
	a.p, a.weights = make([]float32, group*n), make([]float32, group*n)
	a.y0, a.variance, a.byWeight = make([]float32, len(a.q)), make([]float32, len(a.q)), make([]float32, len(a.q))
	return a
}

// row sets z of one query row. With P_j of scores s_j, of each element
//
//	variance = u²/6 Σ P_j² v_j² + Σ P_j² ulp(s_j)²/6 (v_j - y0)²
//
// the second sum being that of scores which are rounded before and after they
// are scaled.
func (a *attentionNoise) row(q rows, row int) {
	dim := a.shape.HeadDim
	group, es := len(a.q)/dim, a.o.dtype.Size()
	n := len(a.keys) / dim
	pos := n - (a.span.Hi - row)
	first := a.shape.first(pos)
	keys, vals, squares := a.keys[first*dim:(pos+1)*dim], a.vals[first*dim:(pos+1)*dim], a.squares[first*dim:(pos+1)*dim]
	n = pos + 1 - first
	p, w := a.p[:group*n], a.weights[:group*n]
	a.o.load(a.q, a.o.dtype, q.bytes(row)[a.kvHead*len(a.q)*es:][:len(a.q)*es])
	clear(p)
	a.o.gemm(blas.Trans, group, n, dim, a.q, dim, keys, dim, p, n)
	weight := make([]float64, group) // Σ P_j² ulp(s_j)²/6
	for g := range group {
		weight[g] = a.softmax(p[g*n:][:n], w[g*n:][:n], g)
	}
	product := func(to, p, v []float32) {
		clear(to)
		a.o.gemm(blas.NoTrans, group, dim, n, p, n, v, dim, to, dim)
	}
	product(a.y0, p, vals)
	product(a.byWeight, w, vals)
	u2 := float32(a.d.u2)
	for i := range w {
		p[i] = float32(p[i]*p[i]*u2) + w[i] // both sums take squares of v
	}
	product(a.variance, p, squares)
	for i := range a.variance {
		y0, v := float64(a.y0[i]), float64(a.variance[i])
		v += weight[i/dim]*y0*y0 - 2*y0*float64(a.byWeight[i])
		a.variance[i] = float32(max(v, 0))
	}
	a.set(row, a.kvHead*len(a.q), a.y0, a.variance)
}

// score is the score of a product q·k, and the variance of the places where an engine may
// round it: twice, and where it has a cap before and behind each of its operations.
func (a *attentionNoise) score(x float32) (score, variance float64) {
	score = float64(x) * a.shape.Scale
	variance = 2 * a.d.rounding(score, 1)
	if c := a.shape.Softcap; c > 0 {
		t := tanhOf(score / c)
		slope := 1 - t*t
		variance = (variance+a.d.rounding(score/c, c))*slope*slope + a.d.rounding(t, c) + a.d.rounding(c*t, 1)
		score = c * t
	}
	return score, variance
}

// softmax turns q·k of a query head of the group into P, sets w to P² ulp(s)²/6 and
// returns its sum, to which a sink adds its own, having no value.
func (a *attentionNoise) softmax(s, w []float32, g int) float64 {
	most := math.Inf(-1)
	if a.sinks != nil {
		most = float64(a.sinks[g])
	}
	for _, x := range s {
		score, _ := a.score(x)
		most = max(most, score)
	}
	sum := 0.
	for j, x := range s {
		score, v := a.score(x)
		e := math.Exp(score - most)
		sum += e
		s[j], w[j] = float32(e), float32(v)
	}
	weight := 0.
	if a.sinks != nil {
		sink := float64(a.sinks[g])
		e := math.Exp(sink - most)
		sum += e
		weight = e / sum * e / sum * 2 * a.d.rounding(sink, 1)
	}
	for j, e := range s {
		p := float64(e) / sum
		v := p * p * float64(w[j])
		s[j], w[j] = float32(p), float32(v)
		weight += v
	}
	return weight
}
