package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// widening is how a pack kernel turns transposed words of 4 (or 8) bytes into
// floats: a word holds 1, 2 or 4 consecutive elements of a row.
type widening struct {
	name, doc string
	size      int // bytes of a word
	elements  int // in a word
	constants []uint64
	// widen stores the elements of word v, in order, by calling out.
	widen func(g *gen, v reg.VecPhysical, constants, tmp []reg.VecPhysical, out func(e int, v reg.VecPhysical))
}

var widenings = []widening{
	{name: "F32", doc: "float32", size: 4, elements: 1, widen: plain},
	{name: "F64", doc: "float64", size: 8, elements: 1, widen: plain},
	{name: "BF16", doc: "bfloat16", size: 4, elements: 2, constants: []uint64{0xffff0000}, widen: widenBF16},
	{name: "F16", doc: "float16", size: 4, elements: 2, constants: []uint64{evenWords}, widen: widenF16},
	{name: "E5M2", doc: "float8_e5m2", size: 4, elements: 4, constants: []uint64{evenWords, 0xff00ff00}, widen: widenE5M2},
	{name: "E4M3", doc: "float8_e4m3fn", size: 4, elements: 4, constants: []uint64{0x80000000, 0x7f000000, 0x7f0 << 16, 0x7b800000}, widen: widenE4M3},
	{name: "F32ToBF16", doc: "float32, rounded to bfloat16", size: 4, elements: 1, constants: []uint64{0x7fff, 1, 0xffff0000}, widen: roundBF16},
	{name: "F32ToF16", doc: "float32, rounded to float16", size: 4, elements: 1, widen: roundF16},
}

// pack writes a kernel that transposes rows of elements into [k][rows], the
// order in which a product reads them. A block is 64 bytes of every row, a cache line where
// rows are aligned.
func (g *gen) pack(w widening) {
	lanes := g.bytes / w.size
	g.function("pack"+w.name,
		fmt.Sprintf("transposes %d rows of blocks of %d %s from byte off on into\n// dst [k][stride bytes], and prefetches what lies ahead bytes further.", lanes, 64/w.size*w.elements, w.doc),
		fmt.Sprintf("func(dst *byte, stride int, rows *[32]*byte, off, blocks, ahead int)"))
	dst, stride, rows, off, blocks, ahead := g.arg("dst"), g.arg("stride"), g.arg("rows"), g.arg("off"), g.arg("blocks"), g.arg("ahead")

	constants, free := g.loadConstants(w, g.vector)
	g.ADDQ(off, ahead)
	g.Label("block")
	ptr := g.GP64()
	load := func(row, disp int, use func(operand.Mem)) {
		g.MOVQ(mem(rows, 8*row), ptr)
		use(index(ptr, off, disp))
		if disp == 0 {
			g.PREFETCHT1(index(ptr, ahead, 0))
		}
	}
	for disp := 0; disp < 64; disp += g.unit() {
		g.transpose(w.size, 0, disp, load, free, func(v reg.VecPhysical, tmp []reg.VecPhysical) {
			w.widen(g, v, constants, tmp, func(e int, v reg.VecPhysical) {
				g.VMOVUPS(v, mem(dst, 0))
				g.ADDQ(stride, dst)
			})
		})
	}
	g.ADDQ(operand.U8(64), off)
	g.ADDQ(operand.U8(64), ahead)
	g.DECQ(blocks)
	g.JNE(operand.LabelRef("block"))
	g.VZEROUPPER()
	g.RET()
}

// loadConstants fills registers with what the widening needs.
func (g *gen) loadConstants(w widening, free []reg.VecPhysical) (constants, rest []reg.VecPhysical) {
	rest = free[:len(free)-len(w.constants)]
	constants = free[len(rest):]
	for i, c := range w.constants {
		if c == evenWords {
			g.loadEvenWords(constants[i])
		} else {
			g.broadcastBits(4, c, constants[i])
		}
	}
	return constants, rest
}

func plain(_ *gen, v reg.VecPhysical, _, _ []reg.VecPhysical, out func(int, reg.VecPhysical)) {
	out(0, v)
}

func widenBF16(g *gen, v reg.VecPhysical, constants, tmp []reg.VecPhysical, out func(int, reg.VecPhysical)) {
	g.VPSLLD(operand.U8(16), v, tmp[0])
	out(0, tmp[0])
	g.and(constants[0], v, v)
	out(1, v)
}

func widenF16(g *gen, v reg.VecPhysical, constants, tmp []reg.VecPhysical, out func(int, reg.VecPhysical)) {
	g.splitWords(v, constants[0], tmp)
	g.VCVTPH2PS(g.half(tmp[0]), tmp[0])
	out(0, tmp[0])
	g.VCVTPH2PS(g.half(tmp[1]), tmp[1])
	out(1, tmp[1])
}

// widenE5M2 uses that e5m2 is the upper byte of a float16.
func widenE5M2(g *gen, v reg.VecPhysical, constants, tmp []reg.VecPhysical, out func(int, reg.VecPhysical)) {
	words, mask := constants[0], constants[1]
	even, odd := tmp[0:2], tmp[2:4]
	g.VPSLLD(operand.U8(8), v, tmp[0])
	g.and(mask, tmp[0], tmp[0]) // elements 0 and 2
	g.splitWords(tmp[0], words, even)
	g.and(mask, v, tmp[2]) // elements 1 and 3
	g.splitWords(tmp[2], words, odd)
	for i, x := range []reg.VecPhysical{even[0], odd[0], even[1], odd[1]} {
		g.VCVTPH2PS(g.half(x), x)
		out(i, x)
	}
}

// widenE4M3 shifts exponent and fraction to their place in a float32 and
// scales by 2^120, the difference of the biases: exact, subnormals included.
func widenE4M3(g *gen, v reg.VecPhysical, constants, tmp []reg.VecPhysical, out func(int, reg.VecPhysical)) {
	sign, magnitude, nan, scale := constants[0], constants[1], constants[2], constants[3]
	for e := range 4 {
		top, x, t := v, tmp[0], tmp[1]
		if e < 3 {
			top = tmp[2]
			g.VPSLLD(operand.U8(24-8*e), v, top)
		}
		g.and(magnitude, top, x)
		g.VPSRLD(operand.U8(4), x, x)
		g.and(sign, top, t)
		if g.is512() {
			g.VPCMPEQD(nan, x, reg.K1)
			g.VMULPS(scale, x, x)
			g.VPORD(t, x, x)
			g.VPTERNLOGD(operand.U8(0xff), x, x, reg.K1, x)
		} else {
			g.VPCMPEQD(nan, x, tmp[3])
			g.VMULPS(scale, x, x)
			g.VPOR(t, x, x)
			g.VPOR(tmp[3], x, x) // all ones is a NaN
		}
		out(e, x)
	}
}

func roundBF16(g *gen, v reg.VecPhysical, constants, tmp []reg.VecPhysical, out func(int, reg.VecPhysical)) {
	half, one, mask := constants[0], constants[1], constants[2]
	x := tmp[0]
	g.VPSRLD(operand.U8(16), v, x)
	g.and(one, x, x)
	g.VPADDD(half, x, x)
	g.VPADDD(v, x, x)
	g.and(mask, x, x)
	if g.is512() {
		g.VCMPPS(unordered, v, v, reg.K1)
		g.VPTERNLOGD(operand.U8(0xff), x, x, reg.K1, x)
	} else {
		g.VCMPPS(unordered, v, v, tmp[1])
		g.VPOR(tmp[1], x, x)
	}
	out(0, x)
}

func roundF16(g *gen, v reg.VecPhysical, _, tmp []reg.VecPhysical, out func(int, reg.VecPhysical)) {
	g.VCVTPS2PH(operand.U8(0), v, g.half(tmp[0]))
	g.VCVTPH2PS(g.half(tmp[0]), tmp[0])
	out(0, tmp[0])
}

// widen64 writes the loop that turns n float32 into float64, a multiple of 16.
func (g *gen) widen64() {
	g.function("widen64", "converts n float32, a multiple of 16.", "func(dst *float64, src *float32, n int)")
	dst, src, n := g.arg("dst"), g.arg("src"), g.arg("n")
	g.Label("loop")
	for i := range 16 * 8 / g.bytes {
		g.VCVTPS2PD(mem(src, i*g.bytes/2), g.vector[i])
		g.VMOVUPD(g.vector[i], mem(dst, i*g.bytes))
	}
	g.ADDQ(operand.U8(64), src)
	g.ADDQ(operand.U32(128), dst)
	g.SUBQ(operand.U8(16), n)
	g.JNE(operand.LabelRef("loop"))
	g.VZEROUPPER()
	g.RET()
}

func (g *gen) and(x, y, out reg.VecPhysical) {
	if g.is512() {
		g.VPANDD(x, y, out)
	} else {
		g.VPAND(x, y, out)
	}
}

// half is the lower half of a vector.
func (g *gen) half(v reg.VecPhysical) reg.VecPhysical {
	if g.is512() {
		return v.AsY().(reg.VecPhysical)
	}
	return v.AsX().(reg.VecPhysical)
}

// evenWords stands for the shuffle that moves the lower 16 bits of the 32-bit
// words of a lane to its front and the upper ones behind them.
const evenWords = 1 << 63

var evenWordsBytes = [16]byte{0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15}

func (g *gen) loadEvenWords(v reg.VecPhysical) {
	if g.is512() {
		return // splitWords needs no table
	}
	word := func(b []byte) (w uint64) {
		for i, x := range b {
			w |= uint64(x) << (8 * i)
		}
		return w
	}
	r := g.GP64()
	g.MOVQ(operand.U64(word(evenWordsBytes[:8])), r)
	g.VMOVQ(r, v.AsX())
	g.MOVQ(operand.U64(word(evenWordsBytes[8:])), r)
	g.VPINSRQ(operand.U8(1), r, v.AsX(), v.AsX())
	g.VINSERTI128(operand.U8(1), v.AsX(), v, v)
}

// splitWords moves the lower 16 bits of the 32-bit words of v to the lower
// half of tmp[0], the upper 16 bits to the lower half of tmp[1].
func (g *gen) splitWords(v, words reg.VecPhysical, tmp []reg.VecPhysical) {
	if g.is512() {
		g.VPSRLD(operand.U8(16), v, tmp[1])
		g.VPMOVDW(v, g.half(tmp[0]))
		g.VPMOVDW(tmp[1], g.half(tmp[1]))
		return
	}
	g.VPSHUFB(words, v, tmp[0])
	g.VPERMQ(operand.U8(0xd8), tmp[0], tmp[0])
	g.VEXTRACTI128(operand.U8(1), tmp[0], tmp[1].AsX())
}
