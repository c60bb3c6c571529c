package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rowLoad emits what loads a row: it calls use with the operand of byte disp.
type rowLoad func(row, disp int, use func(operand.Mem))

// unit is the number of bytes of a row that are transposed together.
func (g *gen) unit() int {
	if g.is512() {
		return 64
	}
	return 16
}

// transpose loads a unit of rows first, first+1, …, as many as a vector has
// words, and calls out with the words of all rows, in order, and with
// registers that are free meanwhile.
func (g *gen) transpose(size, first, disp int, load rowLoad, free []reg.VecPhysical, out func(v reg.VecPhysical, tmp []reg.VecPhysical)) {
	if g.is512() {
		g.transpose512(size, first, disp, load, free, out)
		return
	}
	p := pool(free)
	for _, v := range g.words(size, first, disp, load, &p) {
		out(v, p)
	}
}

// words is the transposed words of a unit of 16 bytes. The vector that holds
// words c, c+1, … of rows j and j+q in its lanes, q words each, is loaded lane
// by lane; a transposition within the lanes then gives word after word of all
// rows.
func (g *gen) words(size, first, disp int, load rowLoad, p *pool) []reg.VecPhysical {
	q := 16 / size
	x := make([]reg.VecPhysical, q)
	for j := range x {
		x[j] = p.get()
		load(first+j, disp, func(m operand.Mem) { g.VMOVUPS(m, x[j].AsX()) })
		load(first+j+q, disp, func(m operand.Mem) { g.VINSERTF128(operand.U8(1), m, x[j], x[j]) })
	}
	return g.transposeLanes(size, p, x)
}

// transpose512 loads whole cache lines, each once.
func (g *gen) transpose512(size, first, disp int, load rowLoad, free []reg.VecPhysical, out func(v reg.VecPhysical, tmp []reg.VecPhysical)) {
	q := 16 / size // words of a lane; a group of rows
	n := 64 / size
	p := pool(free)
	groups := make([][]reg.VecPhysical, 4) // by rows/q, then by word%q; a lane for each word/q
	for i := range groups {
		x := make([]reg.VecPhysical, q)
		for j := range x {
			x[j] = p.get()
			load(first+q*i+j, disp, func(m operand.Mem) { g.VMOVUPS(m, x[j]) })
		}
		groups[i] = g.transposeLanes(size, &p, x)
	}
	// Now the lanes: the first shuffle pairs even lanes of two groups, or odd
	// ones, the second picks one of the two.
	const even, odd = operand.U8(0x88), operand.U8(0xdd)
	type pair struct{ low, high reg.VecPhysical }
	pairs := make([][2]pair, q)
	for c := range pairs {
		low, high := [2]reg.VecPhysical{groups[0][c], groups[1][c]}, [2]reg.VecPhysical{groups[2][c], groups[3][c]}
		for i, lanes := range []operand.U8{even, odd} {
			pairs[c][i] = pair{p.get(), p.get()}
			g.VSHUFF32X4(lanes, low[1], low[0], pairs[c][i].low)
			g.VSHUFF32X4(lanes, high[1], high[0], pairs[c][i].high)
		}
		p.put(low[0], low[1], high[0], high[1])
	}
	for k := range n {
		from, lanes := pairs[k%q][k/q%2], []operand.U8{even, odd}[k/q/2]
		v := p.get()
		g.VSHUFF32X4(lanes, from.high, from.low, v)
		if lanes == odd {
			p.put(from.low, from.high)
		}
		out(v, p)
		p.put(v)
	}
}

// transposeLanes transposes the words of q vectors within their 128-bit lanes
// of q words.
func (g *gen) transposeLanes(size int, p *pool, x []reg.VecPhysical) []reg.VecPhysical {
	pairs := func(low, high func(...operand.Op), a, b reg.VecPhysical) (lo, hi reg.VecPhysical) {
		lo, hi = p.get(), p.get()
		low(b, a, lo)
		high(b, a, hi)
		p.put(a, b)
		return lo, hi
	}
	if size == 8 {
		a, b := pairs(g.VUNPCKLPD, g.VUNPCKHPD, x[0], x[1])
		return []reg.VecPhysical{a, b}
	}
	a0, a1 := pairs(g.VUNPCKLPS, g.VUNPCKHPS, x[0], x[1])
	b0, b1 := pairs(g.VUNPCKLPS, g.VUNPCKHPS, x[2], x[3])
	y0, y1 := pairs(g.VUNPCKLPD, g.VUNPCKHPD, a0, b0)
	y2, y3 := pairs(g.VUNPCKLPD, g.VUNPCKHPD, a1, b1)
	return []reg.VecPhysical{y0, y1, y2, y3}
}

// pool is registers that are free.
type pool []reg.VecPhysical

func (p *pool) get() reg.VecPhysical {
	v := (*p)[0]
	*p = (*p)[1:]
	return v
}

func (p *pool) put(v ...reg.VecPhysical) { *p = append((*p)[:len(*p):len(*p)], v...) }
