package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// groups is the number of vectors of rows of B that a stream kernel takes at a
// time: while the chains of one wait for their additions, the other is
// transposed.
const groups = 2

// staging is how a stream kernel brings rows into its buffer: as they are, or
// as float32.
type staging struct {
	name, doc string
	steps     int      // elements of a row of a panel; AVX-512 has twice as many
	from      int      // bytes of an element in memory
	to        widening // how the buffer is read
	// load returns registers with 32 bytes each of what the buffer gets, from
	// the operand at(i), i counting bytes of memory. It takes 6 registers.
	load func(g *gen, at func(int) operand.Mem, tmp []reg.VecPhysical) []reg.VecPhysical
}

var streams = []staging{
	{name: "F32", doc: "float32", steps: 32, from: 4, to: widenings[0], load: copied},
	{name: "F64", doc: "float64", steps: 16, from: 8, to: widenings[1], load: copied},
	{name: "BF16", doc: "bfloat16", steps: 64, from: 2, to: widenings[2], load: copied},
	{name: "F16", doc: "float16", steps: 64, from: 2, to: widenings[0], load: fromF16},
	{name: "E5M2", doc: "float8_e5m2", steps: 64, from: 1, to: widenings[0], load: fromE5M2},
	{name: "E4M3", doc: "float8_e4m3fn", steps: 64, from: 1, to: widenings[0], load: fromE4M3},
	{name: "F32ToBF16", doc: "float32, rounded to bfloat16", steps: 32, from: 4, to: widenings[0], load: toBF16},
	{name: "F32ToF16", doc: "float32, rounded to float16", steps: 32, from: 4, to: widenings[0], load: toF16},
}

// stream writes a kernel for a product with few rows of A and rows of B as
// they lie in memory. Rows are often a multiple of 4 KiB apart, and then a
// first-level cache takes their lines one after another: a run of one row is
// read after that of another, into a buffer, and transposed from there a panel
// later.
func (g *gen) stream(st staging, m int) {
	if g.is512() {
		st.steps *= 2
	}
	w := st.to
	float := "float32"
	if w.size == 8 {
		float = "float64"
	}
	rows := groups * g.bytes / w.size
	line := st.steps * w.size / w.elements // bytes of a row in the buffer
	g.function(fmt.Sprintf("stream%sx%d", st.name, m),
		fmt.Sprintf("adds the products of %d rows of x and %d of B, %d %s of each a panel, to\n// s; the first panel is in cur, others are read from byte off on, the last of them for the next call.", m, rows, st.steps, st.doc),
		fmt.Sprintf("func(x *%s, ldx int, cur, next *byte, rows *[32]*byte, off, panels, ahead int, s *%[1]s)", float))
	x, ldx, cur, next, table := g.arg("x"), g.arg("ldx"), g.arg("cur"), g.arg("next"), g.arg("rows")
	off, panels, ahead := g.arg("off"), g.arg("panels"), g.arg("ahead")

	free := g.vector
	constants, free := g.loadConstants(w, free)
	n := len(free) - m*groups
	acc, xk, free := free[n:], free[n-1], free[:n-1]
	sums := func(f func(m operand.Mem, a reg.VecPhysical)) {
		s := g.arg("s")
		for i, a := range acc {
			f(mem(s, i*g.bytes), a)
		}
	}
	sums(func(m operand.Mem, a reg.VecPhysical) { g.VMOVUPS(m, a) })
	ldx3, ptr, count := g.GP64(), g.GP64(), g.GP64()
	if m > 3 {
		g.LEAQ(operand.Mem{Base: ldx, Index: ldx, Scale: 2}, ldx3)
	}
	xAt := func(r, k int) operand.Mem {
		at := mem(x, k*w.size)
		switch r {
		case 1, 2:
			at.Index, at.Scale = ldx, uint8(r)
		case 3:
			at.Index, at.Scale = ldx3, 1
		}
		return at
	}
	buffered := func(row, disp int, use func(operand.Mem)) { use(mem(cur, row*line+disp)) }

	g.ADDQ(off, ahead)
	units := line / g.unit()
	times := min(units, rows)
	g.Label("panel")
	g.MOVQ(operand.U32(times), count)
	g.Label("part")
	k := 0
	for range units / times {
		disp := k / w.elements * w.size
		if !g.is512() && len(free) >= 10 { // room for the words of both groups: the chains take turns
			p := pool(free)
			var words [groups][]reg.VecPhysical
			for i := range groups {
				words[i] = g.words(w.size, i*rows/groups, disp, buffered, &p)
			}
			for word := range words[0] {
				var values [groups][]reg.VecPhysical
				for i := range groups {
					w.widen(g, words[i][word], constants, p[i:], func(_ int, v reg.VecPhysical) { values[i] = append(values[i], v) })
				}
				for e := range values[0] {
					for r := range m {
						g.broadcast(w.size, xAt(r, k+e), xk)
						for i := range groups {
							g.fma(w.size, xk, values[i][e], acc[r*groups+i])
						}
					}
				}
				k += w.elements
			}
			continue
		}
		for i := range groups {
			at := k
			g.transpose(w.size, i*rows/groups, disp, buffered, free, func(v reg.VecPhysical, tmp []reg.VecPhysical) {
				w.widen(g, v, constants, tmp, func(_ int, v reg.VecPhysical) {
					for r := range m {
						g.fmaBroadcast(w.size, xAt(r, at), xk, v, acc[r*groups+i])
					}
					at++
				})
			})
		}
		k += g.unit() / w.size * w.elements
	}
	for r := range rows / times {
		g.MOVQ(mem(table, 8*r), ptr)
		g.stage(st, func(i int) operand.Mem { return index(ptr, off, i) }, mem(next, r*line), line, free)
		for i := 0; i < st.steps*st.from; i += 64 {
			g.PREFETCHT1(index(ptr, ahead, i))
		}
	}
	g.ADDQ(operand.U32(k*w.size), x)
	g.ADDQ(operand.U32(k/w.elements*w.size), cur)
	g.ADDQ(operand.U32(rows/times*line), next)
	g.ADDQ(operand.U32(rows/times*8), table)
	g.DECQ(count)
	g.JNE(operand.LabelRef("part"))
	g.SUBQ(operand.U32(line), cur)
	g.SUBQ(operand.U32(rows*line), next)
	g.SUBQ(operand.U32(rows*8), table)
	g.XCHGQ(cur, next)
	g.ADDQ(operand.U32(st.steps*st.from), off)
	g.ADDQ(operand.U32(st.steps*st.from), ahead)
	g.DECQ(panels)
	g.JNE(operand.LabelRef("panel"))

	nan, tmp := free[0], free[1]
	g.quietNaN(w.size, nan)
	sums(func(m operand.Mem, a reg.VecPhysical) {
		g.replaceNaN(w.size, nan, tmp, a)
		g.VMOVUPS(a, m)
	})
	g.VZEROUPPER()
	g.RET()
}

// fmaBroadcast adds m * v to acc.
func (g *gen) fmaBroadcast(size int, m operand.Mem, tmp, v, acc reg.VecPhysical) {
	switch {
	case g.is512() && size == 4:
		g.VFMADD231PS_BCST(m, v, acc)
	case g.is512():
		g.VFMADD231PD_BCST(m, v, acc)
	default:
		g.broadcast(size, m, tmp)
		g.fma(size, tmp, v, acc)
	}
}

// stage moves a row of a panel into the buffer, with vectors of 32 bytes on
// either instruction set.
func (g *gen) stage(st staging, at func(int) operand.Mem, to operand.Mem, line int, free []reg.VecPhysical) {
	half := &gen{g.Context, avx2, g.constants}
	tmp := make([]reg.VecPhysical, 6)
	for i := range tmp {
		tmp[i] = free[i].AsY().(reg.VecPhysical)
	}
	width := 32 * st.to.elements / st.to.size // elements of a register
	for done := 0; done < st.steps; {
		for _, v := range st.load(half, func(i int) operand.Mem { return at(done*st.from + i) }, tmp) {
			g.VMOVUPS(v, to.Offset(done*st.to.size/st.to.elements))
			done += width
		}
	}
}

func copied(g *gen, at func(int) operand.Mem, tmp []reg.VecPhysical) []reg.VecPhysical {
	g.VMOVUPS(at(0), tmp[0])
	return tmp[:1]
}

func fromF16(g *gen, at func(int) operand.Mem, tmp []reg.VecPhysical) []reg.VecPhysical {
	g.VCVTPH2PS(at(0), tmp[0])
	return tmp[:1]
}

// fromE5M2 uses that e5m2 is the upper byte of a float16.
func fromE5M2(g *gen, at func(int) operand.Mem, tmp []reg.VecPhysical) []reg.VecPhysical {
	g.VPMOVZXBW(at(0), tmp[0])
	g.VPSLLW(operand.U8(8), tmp[0], tmp[0])
	return g.halves(tmp[0], tmp[1:])
}

// fromE4M3 moves sign, exponent and fraction to their places in a float16 and
// scales by 2^8, the difference of the biases: exact, subnormals included.
func fromE4M3(g *gen, at func(int) operand.Mem, tmp []reg.VecPhysical) []reg.VecPhysical {
	h, nan := tmp[0], tmp[1]
	g.VPMOVZXBW(at(0), h)
	g.VPSLLW(operand.U8(8), h, h)
	g.VPSRAW(operand.U8(1), h, h)
	g.VPAND(g.filled(0xbf80bf80), h, h)
	g.VPADDW(h, h, nan) // without the sign
	g.VPCMPEQW(g.filled(0x7f007f00), nan, nan)
	g.VPOR(nan, h, h) // all ones is a NaN
	out := g.halves(h, tmp[2:])
	for _, v := range out {
		g.VMULPS(g.filled(0x43800000), v, v)
	}
	return out
}

func toBF16(g *gen, at func(int) operand.Mem, tmp []reg.VecPhysical) []reg.VecPhysical {
	v, constants := tmp[0], tmp[1:4]
	g.VMOVUPS(at(0), v)
	for i, c := range widenings[6].constants {
		g.VMOVUPS(g.filled(uint32(c)), constants[i])
	}
	roundBF16(g, v, constants, tmp[4:], func(int, reg.VecPhysical) {})
	return tmp[4:5]
}

func toF16(g *gen, at func(int) operand.Mem, tmp []reg.VecPhysical) []reg.VecPhysical {
	g.VMOVUPS(at(0), tmp[0])
	roundF16(g, tmp[0], nil, tmp[1:], func(int, reg.VecPhysical) {})
	return tmp[1:2]
}

// halves widens 16 float16.
func (g *gen) halves(v reg.VecPhysical, tmp []reg.VecPhysical) []reg.VecPhysical {
	g.VCVTPH2PS(v.AsX(), tmp[0])
	g.VEXTRACTI128(operand.U8(1), v, tmp[1].AsX())
	g.VCVTPH2PS(tmp[1].AsX(), tmp[1])
	return tmp[:2]
}

// filled is 32 bytes of a constant in memory.
func (g *gen) filled(bits uint32) operand.Mem {
	key := 1<<32 | uint64(bits)
	m, ok := g.constants[key]
	if !ok {
		m = g.StaticGlobal(fmt.Sprintf("w%08x", bits))
		g.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range 8 {
			g.AddDatum(4*i, operand.U32(bits))
		}
		g.constants[key] = m
	}
	return m
}
