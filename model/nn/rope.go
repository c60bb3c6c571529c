package nn

import (
	"math"
	"sync"

	"github.com/ilref/ilref/internal/kernel"
	"github.com/ilref/ilref/tensor"
)

// Rope describes rotary position embeddings. Values are compared: equal Ropes
// share a table.
type Rope struct {
	Theta   float64
	Dim     int     // leading dimensions of a head that turn
	Scaling Scaling // nil = none; comparable
}

// Scaling adapts the inverse frequencies to longer contexts. r rounds to the
// precision of the table; each operation on a rounded value is rounded in
// turn, as PyTorch's float32 tensors are.
type Scaling interface {
	// Scale maps inv (Dim/2 values) in place.
	Scale(rope Rope, inv []float64, r func(float64) float64)
}

// InvFreq returns theta^(-2j/Dim) for j < Dim/2, scaled
// (vLLM v0.10.2 rotary_embedding/base.py _compute_inv_freq).
func (p Rope) InvFreq(r func(float64) float64) []float64 {
	inv := make([]float64, p.Dim/2)
	for j := range inv {
		e := r(float64(2*j) / float64(p.Dim))
		inv[j] = r(1 / r(kernel.Pow(r(p.Theta), e)))
	}
	if p.Scaling != nil {
		p.Scaling.Scale(p, inv, r)
	}
	return inv
}

// Llama3Scaling is the rope scaling of Llama 3.1 and later
// (vLLM v0.10.2 rotary_embedding/llama3_rope.py).
type Llama3Scaling struct {
	Factor, LowFreqFactor, HighFreqFactor float64
	OriginalMaxPosition                   float64
}

// Scale implements Scaling: low frequencies are divided by the factor, high
// ones kept, those between blended.
func (s Llama3Scaling) Scale(_ Rope, inv []float64, r func(float64) float64) {
	for j, f := range inv {
		wavelen := r(2 * math.Pi / f)
		switch {
		case wavelen < s.OriginalMaxPosition/s.HighFreqFactor:
		case wavelen > s.OriginalMaxPosition/s.LowFreqFactor:
			inv[j] = r(f / s.Factor)
		default:
			smooth := 0.0
			if s.LowFreqFactor != s.HighFreqFactor {
				smooth = r(r(r(s.OriginalMaxPosition/wavelen)-s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor))
			}
			inv[j] = r(r(r(r(1-smooth)*f)/s.Factor) + r(smooth*f))
		}
	}
}

// ropeTables holds a growing table for each Rope in use.
type ropeTables[F real] struct {
	mu     sync.Mutex
	tables map[Rope]*ropeTable[F]
}

// ropeTable is the cosines and sines of positions 0 to n-1, rounded to the
// model's dtype.
type ropeTable[F real] struct {
	inv      []float64
	cos, sin []F // (n, Dim/2)
}

// table returns the table of a Rope for at least n positions.
func (o *ops[F]) table(rope Rope, n int) *ropeTable[F] {
	o.ropes.mu.Lock()
	defer o.ropes.mu.Unlock()
	r := func(x float64) float64 { return float64(F(x)) }
	t := o.ropes.tables[rope]
	if t == nil {
		t = &ropeTable[F]{inv: rope.InvFreq(r)}
		if o.ropes.tables == nil {
			o.ropes.tables = map[Rope]*ropeTable[F]{}
		}
		o.ropes.tables[rope] = t
	}
	from := len(t.cos)
	for pos := from / max(len(t.inv), 1); pos < n; pos++ {
		for _, f := range t.inv {
			sin, cos := kernel.Sincos(r(float64(pos) * f))
			t.cos, t.sin = append(t.cos, F(cos)), append(t.sin, F(sin))
		}
	}
	o.round(t.cos[from:])
	o.round(t.sin[from:])
	return t
}

// Rotate turns each pair (x, y) = (x[j], x[j+Dim/2]) of each head to
// (x*cos - y*sin, y*cos + x*sin), in the order of operations and with the
// rounding of csrc/pos_encoding_kernels.cu.
func (o *ops[F]) Rotate(rope Rope, headDim int, positions, q, k *tensor.Tensor) {
	pos, _ := positions.Ints() // checked against the model before the step
	n := 0
	for _, p := range pos {
		n = max(n, p+1)
	}
	table := o.table(rope, n)
	half, es := rope.Dim/2, o.dtype.Size()
	o.parallel(len(pos), func() func(int) {
		x := make([]F, rope.Dim)
		t := make([]F, 4*half)
		return func(i int) {
			cos, sin := table.cos[pos[i]*half:][:half], table.sin[pos[i]*half:][:half]
			for _, m := range []*tensor.Tensor{q, k} {
				row := rowsOf(m).bytes(i)
				for h := 0; h < m.Shape[1]; h += headDim {
					head := row[h*es:][:rope.Dim*es]
					o.load(x, o.dtype, head)
					o.rotateHead(x[:half], x[half:], cos, sin, t)
					o.store(head, o.dtype, x)
				}
			}
		}
	})
}

// rotateHead turns one head; t is scratch for its four products.
func (o *ops[F]) rotateHead(x, y, cos, sin, t []F) {
	n := len(x)
	xc, ys, yc, xs := t[:n], t[n:2*n], t[2*n:3*n], t[3*n:]
	for j := range n {
		xc[j], ys[j], yc[j], xs[j] = F(x[j]*cos[j]), F(y[j]*sin[j]), F(y[j]*cos[j]), F(x[j]*sin[j])
	}
	o.inKernel(t)
	for j := range n {
		x[j], y[j] = xc[j]-ys[j], yc[j]+xs[j]
	}
}
