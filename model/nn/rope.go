package nn

import (
	"sync"

	"github.com/ilref/ilref/internal/kernel"
)

// Rope describes rotary position embeddings. Values are compared: equal Ropes
// share a table.
type Rope struct {
	Theta          float64
	Dim            int     // leading dimensions of a head that turn
	PositionFactor float64 // positions are divided by it (linear scaling); 0 = 1
	MScale         float64 // cosines and sines are multiplied by it; 0 = 1
	OutOfPlace     bool    // the module returns new tensors
	Float          bool    // transformers' class keeps the table, and what it is multiplied with, in float32 (Olmo2RotaryEmbedding)
	Interleaved    bool    // what turns are neighbours, and not the halves of a head (is_neox_style False)
	FloatProducts  bool    // transformers' class multiplies in float32 by a table that it has rounded (CohereRotaryEmbedding)
	InTorch        bool    // vLLM computes it in torch's operations, each of which rounds what it returns
	FloatTable     bool    // vLLM keeps the table in float32
	Scaling        Scaling // of the frequencies; nil = none; comparable
}

// pair is where the two values that frequency j turns are in a head.
func (p *Rope) pair(j int) (x, y int) {
	if p.Interleaved {
		return 2 * j, 2*j + 1
	}
	return j, p.Dim/2 + j
}

// ropePoints are the points of a rope.
func (o *ops[F]) ropePoints(rope Rope) points[F] {
	p := o.pointsOf(rope.Float)
	if rope.FloatProducts {
		p.products = o.floatPoints.products
	}
	if rope.InTorch && p.inTorch != nil {
		p.products = p.inTorch
	}
	if rope.FloatTable {
		p.table = exact[F]
	}
	return p
}

// Scaling adapts the inverse frequencies to longer contexts.
type Scaling interface {
	// Scale maps inv (Dim/2 values) in place. r rounds to the precision of the
	// table; each operation on a rounded value is rounded in turn, as PyTorch's
	// float32 tensors are.
	Scale(rope Rope, inv []float64, r func(float64) float64)
}

// lengthened is a Scaling that depends on the length of the context.
type lengthened interface {
	// at returns the Rope in force for a context of n positions.
	at(rope Rope, n int) Rope
}

// InvFreq returns theta^(-2j/Dim) for j < Dim/2, scaled
// (vLLM v0.10.2 rotary_embedding/base.py _compute_inv_freq).
func (p Rope) InvFreq(r func(float64) float64) []float64 {
	inv := make([]float64, p.Dim/2)
	for j := range inv {
		inv[j] = r(1 / p.power(j, r))
	}
	if p.Scaling != nil {
		p.Scaling.Scale(p, inv, r)
	}
	return inv
}

// power returns theta^(2j/Dim).
func (p Rope) power(j int, r func(float64) float64) float64 {
	return r(kernel.Pow(r(p.Theta), r(float64(2*j)/float64(p.Dim))))
}

// ropeTables holds a growing table for each Rope in use.
type ropeTables[F real] struct {
	mu     sync.Mutex
	tables map[Rope]*ropeTable[F]
}

// maxTables bounds the tables kept: dynamic scaling has one for each length.
const maxTables = 8

// ropeTable is the cosines and sines of positions 0 to n-1, rounded to the
// model's dtype where the profile's table is.
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
		if len(o.ropes.tables) >= maxTables || o.ropes.tables == nil {
			o.ropes.tables = map[Rope]*ropeTable[F]{}
		}
		t = &ropeTable[F]{inv: rope.InvFreq(r)}
		o.ropes.tables[rope] = t
	}
	factor, mscale := max(rope.PositionFactor, 1), F(rope.MScale)
	if mscale == 0 {
		mscale = 1
	}
	from := len(t.cos)
	for pos := from / len(t.inv); pos < n; pos++ {
		at := r(float64(pos) / factor)
		for _, f := range t.inv {
			sin, cos := kernel.Sincos(r(at * f))
			t.cos, t.sin = append(t.cos, F(cos)*mscale), append(t.sin, F(sin)*mscale)
		}
	}
	table := o.ropePoints(rope).table
	table(t.cos[from:])
	table(t.sin[from:])
	return t
}
