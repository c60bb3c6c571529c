package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const unroll = 4

// micro writes the inner kernel of a product: a tile of rows × nv vectors of C
// stays in registers while k runs, so that every element is one chain. A comes
// packed as [k][stride] with the rows padded to a vector (one row is not
// packed), B as [k] rows of nv vectors, ldb bytes apart.
func (g *gen) micro(size, rows, nv int) {
	letter, float := "s", "float32"
	if size == 8 {
		letter, float = "d", "float64"
	}
	lanes := g.bytes / size
	astep := size // bytes from one k to the next in A
	if rows > 1 {
		astep = (rows + lanes - 1) / lanes * g.bytes
	}
	g.function(fmt.Sprintf("%sgemm%dx%d", letter, rows, nv),
		fmt.Sprintf("computes a %d×%d tile of C = A·B, or of C += A·B if load is set;\n// ldb and ldc count bytes.", rows, nv*lanes),
		fmt.Sprintf("func(k int, a, b *%s, ldb int, c *%[1]s, ldc int, load bool)", float))
	k, a, b, ldb, c, ldc := g.arg("k"), g.arg("a"), g.arg("b"), g.arg("ldb"), g.arg("c"), g.arg("ldc")
	load := g.Load(g.Param("load"), g.GP8())

	acc := func(r, v int) reg.VecPhysical { return g.vector[r*nv+v] }
	spare := g.vector[rows*nv:]

	p := g.GP64()
	eachRow := func(f func(r int)) {
		g.MOVQ(c, p)
		for r := range rows {
			f(r)
			if r < rows-1 {
				g.ADDQ(ldc, p)
			}
		}
	}
	g.TESTB(load, load)
	g.JNE(operand.LabelRef("continue"))
	for r := range rows {
		for v := range nv {
			g.zero(acc(r, v))
		}
	}
	eachRow(func(int) {
		for d := 0; d < nv*g.bytes; d += 64 {
			g.PREFETCHT0(mem(p, d))
		}
	})
	g.JMP(operand.LabelRef("start"))
	g.Label("continue")
	eachRow(func(r int) {
		for v := range nv {
			g.VMOVUPS(mem(p, v*g.bytes), acc(r, v))
		}
	})

	g.Label("start")
	ldb3 := g.GP64()
	g.LEAQ(operand.Mem{Base: ldb, Index: ldb, Scale: 2}, ldb3)
	step := func(u int) {
		bAt := func(v int) operand.Mem {
			m := mem(b, v*g.bytes)
			switch u {
			case 1, 2:
				m.Index, m.Scale = ldb, uint8(u)
			case 3:
				m.Index, m.Scale = ldb3, 1
			}
			return m
		}
		aAt := func(r int) operand.Mem { return mem(a, u*astep+r*size) }
		if rows < nv { // few rows: their values stay, B passes by
			bs := spare[rows:]
			for r := range rows {
				g.broadcast(size, aAt(r), spare[r])
			}
			for v := range nv {
				bv := bs[v%min(2, len(bs))]
				g.VMOVUPS(bAt(v), bv)
				for r := range rows {
					g.fma(size, bv, spare[r], acc(r, v))
				}
			}
			return
		}
		as := spare[nv:]
		for v := range nv {
			g.VMOVUPS(bAt(v), spare[v])
		}
		for r := range rows {
			av := as[r%min(2, len(as))]
			g.broadcast(size, aAt(r), av)
			for v := range nv {
				g.fma(size, spare[v], av, acc(r, v))
			}
		}
	}
	g.SUBQ(operand.U8(unroll), k)
	g.JLT(operand.LabelRef("rest"))
	g.Label("loop")
	for u := range unroll {
		step(u)
	}
	g.ADDQ(operand.U32(unroll*astep), a)
	g.LEAQ(operand.Mem{Base: b, Index: ldb, Scale: unroll}, b)
	g.SUBQ(operand.U8(unroll), k)
	g.JGE(operand.LabelRef("loop"))
	g.Label("rest")
	g.ADDQ(operand.U8(unroll), k)
	g.JEQ(operand.LabelRef("store"))
	g.Label("one")
	step(0)
	g.ADDQ(operand.U32(astep), a)
	g.ADDQ(ldb, b)
	g.DECQ(k)
	g.JNE(operand.LabelRef("one"))

	g.Label("store")
	g.Comment("Every NaN becomes the positive quiet one: CPUs differ in signs and payloads.")
	nan, tmp := spare[0], spare[1]
	g.quietNaN(size, nan)
	eachRow(func(r int) {
		for v := range nv {
			g.replaceNaN(size, nan, tmp, acc(r, v))
			g.VMOVUPS(acc(r, v), mem(p, v*g.bytes))
		}
	})
	g.VZEROUPPER()
	g.RET()
}

func (g *gen) zero(v reg.VecPhysical) {
	if g.is512() {
		g.VPXORD(v, v, v)
	} else {
		g.VXORPS(v, v, v)
	}
}

func (g *gen) broadcast(size int, m operand.Mem, v reg.VecPhysical) {
	if size == 4 {
		g.VBROADCASTSS(m, v)
	} else {
		g.VBROADCASTSD(m, v)
	}
}

func (g *gen) fma(size int, x, y, acc reg.VecPhysical) {
	if size == 4 {
		g.VFMADD231PS(x, y, acc)
	} else {
		g.VFMADD231PD(x, y, acc)
	}
}

func (g *gen) quietNaN(size int, v reg.VecPhysical) {
	if size == 4 {
		g.broadcastBits(4, 0x7fc00000, v)
	} else {
		g.broadcastBits(8, 0x7ff8000000000000, v)
	}
}

const unordered = operand.U8(3)

func (g *gen) replaceNaN(size int, nan, tmp, v reg.VecPhysical) {
	switch {
	case g.is512() && size == 4:
		g.VCMPPS(unordered, v, v, reg.K1)
		g.VMOVAPS(nan, reg.K1, v)
	case g.is512():
		g.VCMPPD(unordered, v, v, reg.K1)
		g.VMOVAPD(nan, reg.K1, v)
	case size == 4:
		g.VCMPPS(unordered, v, v, tmp)
		g.VBLENDVPS(tmp, nan, v, v)
	default:
		g.VCMPPD(unordered, v, v, tmp)
		g.VBLENDVPD(tmp, nan, v, v)
	}
}
