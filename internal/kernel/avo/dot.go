package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// groups is the number of vectors of rows that a product with one row of A
// takes at a time: while the chains of one wait for their additions, the other
// is transposed.
const groups = 2

// dot writes a kernel for a product with one row of A: rows of B are
// transposed and multiplied in registers, so that memory is read without a
// pause.
func (g *gen) dot(w widening) {
	lanes := g.bytes / w.size
	float := "float32"
	if w.size == 8 {
		float = "float64"
	}
	g.function("dot"+w.name,
		fmt.Sprintf("adds the products of x and %d rows of blocks of %d %s from byte off on\n// to s, and prefetches what lies ahead bytes further.", groups*lanes, 64/w.size*w.elements, w.doc),
		fmt.Sprintf("func(x *%s, rows *[32]*byte, off, blocks, ahead int, s *%[1]s)", float))
	x, rows, off, blocks, ahead, s := g.arg("x"), g.arg("rows"), g.arg("off"), g.arg("blocks"), g.arg("ahead"), g.arg("s")

	acc, free := g.vector[:groups], g.vector[groups:]
	constants, free := g.loadConstants(w, free)
	xk, free := free[0], free[1:]
	for i, a := range acc {
		g.VMOVUPS(mem(s, i*g.bytes), a)
	}
	g.ADDQ(off, ahead)
	g.Label("block")
	for i, a := range acc {
		k := 0
		g.transpose(w.size, rows, i*lanes, off, ahead, free, func(v reg.VecPhysical, tmp []reg.VecPhysical) {
			w.widen(g, v, constants, tmp, func(_ int, v reg.VecPhysical) {
				g.fmaBroadcast(w.size, mem(x, k*w.size), xk, v, a)
				k++
			})
		})
	}
	g.ADDQ(operand.U32(64*w.elements), x)
	g.ADDQ(operand.U8(64), off)
	g.ADDQ(operand.U8(64), ahead)
	g.DECQ(blocks)
	g.JNE(operand.LabelRef("block"))
	nan, tmp := free[0], free[1]
	g.quietNaN(w.size, nan)
	for i, a := range acc {
		g.replaceNaN(w.size, nan, tmp, a)
		g.VMOVUPS(a, mem(s, i*g.bytes))
	}
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
