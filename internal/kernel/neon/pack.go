package main

import "fmt"

// widening is how a pack kernel turns transposed words of 4 (or 8) bytes into
// floats: a word holds 1, 2 or 4 consecutive elements of a row.
type widening struct {
	name, doc string
	size      int // bytes of a word
	elements  int // in a word
	constants []constant
	// widen calls out with the elements of the words of v, in order.
	widen func(g *gen, v pair, constants []vec, p *pool, out func(v pair))
}

type constant struct {
	arr  string
	bits uint64
}

var widenings = []widening{
	{name: "F32", doc: "float32", size: 4, elements: 1, widen: plain},
	{name: "F64", doc: "float64", size: 8, elements: 1, widen: plain},
	{name: "BF16", doc: "bfloat16", size: 4, elements: 2, constants: []constant{{"S4", 0xffff0000}}, widen: widenBF16},
	{name: "F16", doc: "float16", size: 4, elements: 2, widen: widenF16},
	{name: "E5M2", doc: "float8_e5m2", size: 4, elements: 4, constants: []constant{{"H8", 0xff00}}, widen: widenE5M2},
	{name: "E4M3", doc: "float8_e4m3fn", size: 4, elements: 4, constants: []constant{{"H8", 0xff00}, {"H8", 0x87f0}, {"H8", 0x07f0}, {"H8", 0}, {"S4", 0x7b800000}}, widen: widenE4M3},
	{name: "F32ToBF16", doc: "float32, rounded to bfloat16", size: 4, elements: 1, constants: roundingBF16, widen: roundBF16},
	{name: "F32ToF16", doc: "float32, rounded to float16", size: 4, elements: 1, widen: roundF16},
}

// pack writes a kernel that transposes rows of elements into [k][rows], the
// order in which a product reads them. A block is 64 bytes of every row.
func (g *gen) pack(w widening) {
	rows := bytesPair / w.size
	g.function("pack"+w.name,
		fmt.Sprintf("transposes %d rows of blocks of %d %s from byte off on into\n// dst [k][stride bytes], and prefetches what lies ahead bytes further.", rows, 64/w.size*w.elements, w.doc),
		"dst *byte, stride int, rows *[32]*byte, off, blocks, ahead int")
	dst, stride := g.arg("dst"), g.arg("stride")
	ptrs := g.rowPointers(rows)
	blocks, ahead := g.arg("blocks"), g.arg("ahead")
	free := vectors()
	constants := g.loadConstants(w.constants, &free)
	g.times("block", blocks, 1, func() {
		for c := range 64 / 16 {
			if c == 0 {
				g.prefetch(ptrs, ahead)
			}
			words := g.transpose(w.size, ptrs, &free)
			for _, v := range words {
				w.widen(g, v, constants, &free, func(v pair) {
					g.store(dst, 0, v[:]...)
					g.p("ADD %v, %v, %[2]v", stride, dst)
				})
				free.put(v[:]...)
			}
		}
	})
	g.p("RET")
}

// rowPointers loads the addresses of byte off of rows.
func (g *gen) rowPointers(n int) []gp {
	rows, off := g.arg("rows"), g.arg("off")
	ptrs := make([]gp, n)
	for i := range ptrs {
		ptrs[i] = g.register()
		g.p("MOVD %d(%v), %v", 8*i, rows, ptrs[i])
		g.p("ADD %v, %v, %[2]v", off, ptrs[i])
	}
	return ptrs
}

func (g *gen) prefetch(ptrs []gp, ahead gp) {
	p := g.register()
	for _, ptr := range ptrs {
		g.p("ADD %v, %v, %v", ahead, ptr, p)
		g.p("PRFM (%v), PLDL2KEEP", p)
	}
	g.used--
}

// loadConstants fills registers.
func (g *gen) loadConstants(constants []constant, free *pool) []vec {
	v := free.take(len(constants))
	for i, c := range constants {
		g.broadcastBits(c.arr, c.bits, v[i])
	}
	return v
}

// transpose loads 16 bytes of rows, advances them and returns the words of all
// rows, in order.
func (g *gen) transpose(size int, ptrs []gp, p *pool) []pair {
	q := 16 / size // words of a register; rows whose words it then has
	words := make([]pair, q)
	for half := range 2 {
		x := p.take(q)
		for i, v := range x {
			g.p("FMOVQ.P 16(%v), F%d", ptrs[half*q+i], int(v))
		}
		if size == 8 {
			x[0], x[1] = g.zips("D2", p, x[0], x[1])
		} else {
			a0, a1 := g.zips("S4", p, x[0], x[2])
			b0, b1 := g.zips("S4", p, x[1], x[3])
			x[0], x[1] = g.zips("S4", p, a0, b0)
			x[2], x[3] = g.zips("S4", p, a1, b1)
		}
		for i, v := range x {
			words[i][half] = v
		}
	}
	return words
}

// zips interleaves the lower and the upper halves of a and b, whose registers
// become free.
func (g *gen) zips(arr string, p *pool, a, b vec) (low, high vec) {
	low, high = p.get(), p.get()
	g.zip(arr, 1, a, b, low)
	g.zip(arr, 2, a, b, high)
	p.put(a, b)
	return low, high
}

func plain(_ *gen, v pair, _ []vec, _ *pool, out func(pair)) { out(v) }

func widenBF16(g *gen, v pair, constants []vec, p *pool, out func(pair)) {
	x := p.pair()
	for i := range x {
		g.shl("S4", 16, v[i], x[i])
	}
	out(x)
	for i := range x {
		g.and(constants[0], v[i], x[i])
	}
	out(x)
	p.put(x[:]...)
}

func widenF16(g *gen, v pair, _ []vec, p *pool, out func(pair)) {
	h := p.get()
	for part := 1; part <= 2; part++ {
		g.unzip("H8", part, v[0], v[1], h)
		g.widenHalves(h, p, out)
	}
	p.put(h)
}

// widenHalves calls out with the float16 of h converted.
func (g *gen) widenHalves(h vec, p *pool, out func(pair)) {
	x := p.pair()
	g.widenLow(4, h, x[0])
	g.widenHigh(4, h, x[1])
	out(x)
	p.put(x[:]...)
}

// quarters calls f, for each byte of the words in order, with the bytes of all
// rows as the upper bytes of halfwords.
func (g *gen) quarters(v pair, upper vec, p *pool, f func(h vec)) {
	even, odd, h := p.get(), p.get(), p.get() // bytes 0 and 2; bytes 1 and 3
	g.unzip("B16", 1, v[0], v[1], even)
	g.unzip("B16", 2, v[0], v[1], odd)
	for e := range 4 {
		from := [...]vec{even, odd}[e%2]
		if e < 2 {
			g.shl("H8", 8, from, h)
		} else {
			g.and(upper, from, h)
		}
		f(h)
	}
	p.put(even, odd, h)
}

// widenE5M2 uses that e5m2 is the upper byte of a float16.
func widenE5M2(g *gen, v pair, constants []vec, p *pool, out func(pair)) {
	g.quarters(v, constants[0], p, func(h vec) { g.widenHalves(h, p, out) })
}

// widenE4M3 shifts exponent and fraction to their place in a float32 and
// scales by 2^120, the difference of the biases: exact, subnormals included.
func widenE4M3(g *gen, v pair, constants []vec, p *pool, out func(pair)) {
	upper, places, nan, zero, scale := constants[0], constants[1], constants[2], constants[3], constants[4]
	g.quarters(v, upper, p, func(h vec) {
		t, x := p.get(), p.pair()
		g.sshr4(h, h)
		g.and(places, h, h)
		g.and(nan, h, t)
		g.equal(nan, t, t)
		g.or(t, h, h) // all ones is a NaN
		for i := range x {
			g.zip("H8", 1+i, zero, h, x[i])
			g.fmul(4, x[i], scale, x[i])
		}
		out(x)
		p.put(t, x[0], x[1])
	})
}

var roundingBF16 = []constant{{"S4", 0x7fff}, {"S4", 1}, {"S4", 0xffff0000}}

func roundBF16(g *gen, v pair, constants []vec, p *pool, out func(pair)) {
	x := p.pair()
	for i := range x {
		t := p.get()
		g.roundBF16(v[i], constants, t, x[i])
		p.put(t)
	}
	out(x)
	p.put(x[:]...)
}

// roundBF16 rounds x to bfloat16 into out; a NaN becomes all ones.
func (g *gen) roundBF16(x vec, constants []vec, tmp, out vec) {
	half, one, mask := constants[0], constants[1], constants[2]
	g.ushr("S4", 16, x, out)
	g.and(one, out, out)
	g.add("S4", half, out, out)
	g.add("S4", x, out, out)
	g.and(mask, out, out)
	g.fcmeq(4, x, x, tmp)
	g.orn(out, tmp, out)
}

func roundF16(g *gen, v pair, _ []vec, p *pool, out func(pair)) {
	h := p.get()
	g.narrowLow(4, v[0], h)
	g.narrowHigh(4, v[1], h)
	g.widenHalves(h, p, out)
	p.put(h)
}

// widen64 writes the loop that turns n float32 into float64, a multiple of 16.
func (g *gen) widen64() {
	g.function("widen64", "converts n float32, a multiple of 16.", "dst *float64, src *float32, n int")
	dst, src, n := g.arg("dst"), g.arg("src"), g.arg("n")
	g.times("loop", n, 16, func() {
		x, out := vectors()[:4], vectors()[4:12]
		g.load(src, 0, x...)
		for i, v := range x {
			g.widenLow(8, v, out[2*i])
			g.widenHigh(8, v, out[2*i+1])
		}
		g.store(dst, 0, out...)
		g.p("ADD $64, %v", src)
		g.p("ADD $128, %v", dst)
	})
	g.p("RET")
}
