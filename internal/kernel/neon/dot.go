package main

import "fmt"

// groups is the number of vectors of rows that a product with one row of A
// takes at a time: while the chains of one wait for their additions, the other
// is transposed.
const groups = 2

// dot writes a kernel for a product with one row of A: rows of B are
// transposed and multiplied in registers, so that memory is read without a
// pause.
func (g *gen) dot(w widening) {
	rows := bytesPair / w.size // of a group
	float, size := "float32", 4
	if w.size == 8 {
		float, size = "float64", 8
	}
	g.function("dot"+w.name,
		fmt.Sprintf("adds the products of x and %d rows of blocks of %d %s from byte off on\n// to s, and prefetches what lies ahead bytes further.", groups*rows, 64/w.size*w.elements, w.doc),
		fmt.Sprintf("x *%s, rows *[32]*byte, off, blocks, ahead int, s *%[1]s", float))
	x := g.arg("x")
	ptrs := g.rowPointers(groups * rows)
	blocks, ahead, s := g.arg("blocks"), g.arg("ahead"), g.arg("s")

	free := vectors()
	constants := g.loadConstants(w.constants, &free)
	acc := free.take(2 * groups)
	xs := free.take(w.elements) // what meets 16 bytes of a row
	g.load(s, 0, acc...)
	g.times("block", blocks, 1, func() {
		for c := range 64 / 16 {
			if c == 0 {
				g.prefetch(ptrs, ahead)
			}
			g.load(x, 16*len(xs)*c, xs...)
			for i := range groups {
				k := 0
				for _, v := range g.transpose(w.size, ptrs[i*rows:][:rows], &free) {
					w.widen(g, v, constants, &free, func(y pair) {
						for h, y := range y {
							g.fmlaElement(size, y, xs[k*size/16], k%(16/size), acc[2*i+h])
						}
						k++
					})
					free.put(v[:]...)
				}
			}
		}
		g.p("ADD $%d, %v", 64*len(xs), x)
	})
	nan, tmp := free[0], free[1]
	g.quietNaN(size, nan)
	for _, a := range acc {
		g.replaceNaN(size, nan, tmp, a)
	}
	g.store(s, 0, acc...)
	g.p("RET")
}
