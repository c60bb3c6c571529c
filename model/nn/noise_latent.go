package nn

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/blas"

	"github.com/ilref/ilref/il"
	"github.com/ilref/ilref/internal/kernel"
)

// deviation of latent attention: a kernel may round the probabilities and the scores, and
// either the keys and values that it makes of the latents, with the results for each chunk of
// a prompt, or the queries and the results in the space of the latents.
func (m *LatentAttention) deviation(o *ops[float32], s *Step, in il.Tuple, d *deviation) {
	q := rowsOf(in.Tensor(0))
	o.parallel(len(s.Spans)*m.Heads, func() func(int) {
		return func(task int) {
			span, head := s.Spans[task/m.Heads], task%m.Heads
			var l *latentNoise
			for row := span.Lo; row < span.Hi; row++ {
				if !d.differs(row) {
					continue
				}
				if l == nil {
					l = newLatentNoise(o, d, m, span, head)
				}
				l.row(q, row)
			}
		}
	})
}

// latentNoise holds one head of a request's rows against the exact results.
type latentNoise struct {
	d    *deviation
	o    *ops[float32]
	m    *LatentAttention
	span Span
	head int
	z    func(row, col int, exact, variance []float32) []float32

	shared             sharedNoise
	n                  int       // positions
	latents, latents2  []float32 // (n, Latent), and squares
	keys, keys2        []float32 // (n, Nope+Rope), and squares, which are 0 of what is rotated
	vals, vals2        []float32 // (n, Value), and squares
	intoKeys, fromVals []float32 // W_UK (Nope, Latent); squares of W_UV (Value, Latent)
}

func newLatentNoise(o *ops[float32], d *deviation, m *LatentAttention, span Span, head int) *latentNoise {
	rows := span.Cache.State(m).(*Latents)
	l := &latentNoise{d: d, o: o, m: m, span: span, head: head, z: d.taker(o), shared: sharedNoise{ops: o, format: d.format}, n: rows.n}
	l.latents = make([]float32, l.n*m.Latent)
	width := m.Nope + m.Value
	l.keys, l.vals = make([]float32, l.n*(m.Nope+m.Rope)), make([]float32, l.n*m.Value)
	size := m.Latent * o.dtype.Size()
	for i := range l.n {
		o.load(l.latents[i*m.Latent:][:m.Latent], o.dtype, rows.row(i)[:size])
		o.load(l.keys[i*(m.Nope+m.Rope)+m.Nope:][:m.Rope], o.dtype, rows.row(i)[size:])
	}
	kv := make([]float32, l.n*width)
	times(o, m.KVB.Parts[0].Weight, l.latents, l.n)(kv, head*width, (head+1)*width)
	l.keys2 = make([]float32, len(l.keys))
	for i := range l.n {
		copy(l.keys[i*(m.Nope+m.Rope):][:m.Nope], kv[i*width:])
		copy(l.keys2[i*(m.Nope+m.Rope):][:m.Nope], squared(kv[i*width:][:m.Nope]))
		copy(l.vals[i*m.Value:][:m.Value], kv[i*width+m.Nope:])
	}
	l.latents2, l.vals2 = squared(l.latents), squared(l.vals)
	l.intoKeys, l.fromVals = make([]float32, m.Nope*m.Latent), make([]float32, m.Value*m.Latent)
	o.latentRows(l.intoKeys, m, head*width)
	o.latentRows(l.fromVals, m, head*width+m.Nope)
	l.fromVals = squared(l.fromVals)
	return l
}

func squared(v []float32) []float32 {
	s := make([]float32, len(v))
	for i, x := range v {
		s[i] = float32(x * x)
	}
	return s
}

// times sets y (n,) to rows of a matrix (n, k) times x (k,).
func (l *latentNoise) times(rows, x []float32, n int) []float32 {
	y := make([]float32, n)
	l.o.gemm(blas.Trans, 1, n, len(x), x, len(x), rows, len(x), y, n)
	return y
}

// mixed is the sum of the rows of a matrix (n, k), each times its weight.
func (l *latentNoise) mixed(weights, rows []float32, k int) []float32 {
	y := make([]float32, k)
	l.o.gemm(blas.NoTrans, 1, k, len(weights), weights, len(weights), rows, k, y, k)
	return y
}

// row sets z of the head's part of a row. With P_j of scores s_j,
//
//	variance = u²/6 (Σ 2 P_j² v_j² + Σ W_UV² O²) + Σ P_j² var(s_j) (v_j - y0)² + that of r(ql)
//
// and that of the chunks' results, O being what is taken in the space of the latents.
func (l *latentNoise) row(q rows, row int) {
	m := l.m
	x := make([]float32, m.Nope+m.Rope)
	l.o.load(x, l.o.dtype, q.bytes(row*m.Heads+l.head))
	seen := l.n - (l.span.Hi - row) + 1
	p := l.times(l.keys, x, seen)
	scores := l.times(l.keys2, squared(x), seen) // variance of each, by the keys' rounding
	l.softmax(p, scores)
	y0 := l.mixed(p, l.vals, m.Value)
	second := l.mixed(p, l.vals2, m.Value)
	weights, together, by := make([]float32, seen), make([]float32, seen), float32(0)
	for j, p := range p {
		weights[j] = float32(p*p) * scores[j]
		together[j] = weights[j] + float32(2*l.d.u2)*float32(p*p)
		by += weights[j]
	}
	first := l.mixed(weights, l.vals, m.Value)
	variance := l.mixed(weights, l.vals2, m.Value)
	u2 := float32(l.d.u2)
	rounded := l.mixed(squared(p), l.vals2, m.Value)
	taken := l.times(l.fromVals, squared(l.mixed(p, l.latents, m.Latent)), m.Value)
	shaken := l.shaken(p, x, y0, second, row)
	for i, y := range y0 {
		variance[i] += by*y*y - 2*y*first[i] + u2*(2*rounded[i]+taken[i]) + shaken[i]
		variance[i] = max(variance[i], 0)
	}
	l.chunks(p, variance)
	z := l.z(row, l.head*m.Value, y0, variance)
	l.shared.take(z, y0, variance, sharedBy{vals: l.vals[:seen*m.Value], by: together, mean: first, weight: float64(by)})
	l.d.put(row, l.head*m.Value, z)
}

// softmax turns q·k into probabilities, and what squares of queries and keys make into the
// variances of the scores: of the keys' rounding, and of the scores' own before and after they
// are scaled.
func (l *latentNoise) softmax(p, variance []float32) {
	most := math.Inf(-1)
	for _, x := range p {
		most = max(most, float64(x)*l.m.Scale)
	}
	sum := 0.
	for j, x := range p {
		score := float64(x) * l.m.Scale
		variance[j] = float32(float64(variance[j])*l.d.u2*l.m.Scale*l.m.Scale + 2*l.d.rounding(score, 1))
		e := math.Exp(score - most)
		p[j] = float32(e)
		sum += e
	}
	kernel.Scale(p, float32(1/sum))
}

// probes is how many roundings of a query are tried.
const probes = 2

// shaken is the variance by the rounding of the query in the space of the latents, which moves
// all scores together: as roundings of random signs move the result, on average over its
// elements, in proportion to how values vary. second is the mean square of the values.
func (l *latentNoise) shaken(p, x, y0, second []float32, row int) []float32 {
	m := l.m
	query := l.mixed(x[:m.Nope], l.intoKeys, m.Latent)
	rng := rand.New(rand.NewPCG(uint64(row), uint64(l.head)))
	moved, spread := 0., 0.
	v := make([]float32, m.Value)
	for i, y := range y0 {
		v[i] = max(second[i]-y*y, 0)
		spread += float64(v[i])
	}
	amplitude := float32(math.Sqrt(l.d.u2) * m.Scale)
	for range probes {
		off := make([]float32, m.Latent)
		for i, x := range query {
			off[i] = x * amplitude
			if rng.Uint64()&1 == 0 {
				off[i] = -off[i]
			}
		}
		scores := l.times(l.latents, off, len(p))
		mean := float32(0)
		for j, p := range p {
			scores[j] *= p
			mean += scores[j]
		}
		for i, y := range l.mixed(scores, l.vals, m.Value) {
			e := float64(y - mean*y0[i])
			moved += e * e / probes
		}
	}
	kernel.Scale(v, float32(moved/max(spread, math.SmallestNonzeroFloat32)))
	return v
}

// chunks adds the rounding of what a prompt's chunk and the earlier ones give.
func (l *latentNoise) chunks(p, variance []float32) {
	start := l.n - (l.span.Hi - l.span.Lo)
	if start == 0 || l.span.Hi-l.span.Lo <= 1 {
		return
	}
	for _, part := range [][]float32{l.mixed(p[:start], l.vals, l.m.Value), l.mixed(p[start:], l.vals[start*l.m.Value:], l.m.Value)} {
		for i, x := range part {
			variance[i] += float32(l.d.rounding(float64(x), 1))
		}
	}
}

// deviation of a turn of pairs, as that of a rope.
func (m *LatentRotary) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	pos, _ := in.Tensor(0).Ints()
	x := rowsOf(in.Tensor(1 + d.result))
	heads := x.t.Shape[1]
	tables, half := o.tablesFor(m.Rope, pos), m.Rope.Dim/2
	d.byRows(o, func() noiseRow {
		off, pairs := make([]float64, half), Rope{Dim: 2 * half, Interleaved: true}
		return func(i int, y0, v []float32) {
			token := i / heads
			o.load(y0, o.dtype, x.bytes(i))
			at := pos[token] * half
			for j := range off {
				off[j] = angleError * float64(pos[token]) * tables[token].inv[j]
			}
			d.turn(&pairs, y0, v, tables[token].cos[at:][:half], tables[token].sin[at:][:half], off)
		}
	})
}

// deviation is that of the product, where its result has the model's dtype.
func (m *Router) deviation(o *ops[float32], _ *Step, in il.Tuple, d *deviation) {
	d.linear(o, in.Tensor(0), []PackedWeight{{Weight: m.Weight}})
}
