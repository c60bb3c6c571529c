package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// softmax writes the loop of SoftmaxSums.
func (g *gen) softmax() {
	const normal = -708.3964185322641 // kernel.Exp is 0 below
	g.function("softmaxSums", "adds e**x, e**y and e**x (x-y) for x = a-most[0], y = b-most[1] to lanes\n// i%4 of s; n is a multiple of 4.",
		"func(a, b *float64, n int, most *[2]float64, s *[12]float64)")
	a, b, n, most, s := g.arg("a"), g.arg("b"), g.arg("n"), g.arg("most"), g.arg("s")
	sums, limits, x, y, e, tmp := g.vector[:3], g.vector[3:5], g.vector[5], g.vector[6], g.vector[7], g.vector[8:]
	for i, v := range sums {
		g.VMOVUPD(mem(s, i*g.bytes), v)
	}
	for i, v := range limits {
		g.VBROADCASTSD(mem(most, 8*i), v)
	}
	exp := func(of, out reg.VecPhysical) {
		g.VMOVAPD(of, out)
		g.exp(out, false, normal, 0, tmp)
		g.constant(normal, tmp[0])
		g.VCMPPD(operand.U8(0x1d), tmp[0], of, tmp[0]) // not less
		g.VANDPD(tmp[0], out, out)
	}
	i := g.GP64()
	g.XORQ(i, i)
	g.Label("loop")
	g.VMOVUPD(operand.Mem{Base: a, Index: i, Scale: 8}, x)
	g.VMOVUPD(operand.Mem{Base: b, Index: i, Scale: 8}, y)
	g.VSUBPD(limits[0], x, x)
	g.VSUBPD(limits[1], y, y)
	exp(x, e)
	g.VADDPD(e, sums[0], sums[0])
	g.VSUBPD(y, x, x)
	g.VFMADD231PD(e, x, sums[2])
	exp(y, e)
	g.VADDPD(e, sums[1], sums[1])
	g.ADDQ(operand.U8(4), i)
	g.CMPQ(i, n)
	g.JNE(operand.LabelRef("loop"))
	for i, v := range sums {
		g.VMOVUPD(v, mem(s, i*g.bytes))
	}
	g.end()
}
