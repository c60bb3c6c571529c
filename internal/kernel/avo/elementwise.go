package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// step is the number of float32 that a loop over a slice takes at once: two
// vectors of AVX2, one of AVX-512, on both the 16 lanes of a sum.
const step = 16

// loop writes a loop over n elements, a multiple of step, whose body is called
// with the index of each vector of the step; next advances the pointers.
func (g *gen) loop(n reg.Register, body func(i int), next func()) {
	g.Label("loop")
	for i := range step * 4 / g.bytes {
		body(i)
	}
	next()
	g.SUBQ(operand.U8(step), n)
	g.JNE(operand.LabelRef("loop"))
}

func (g *gen) end() {
	g.VZEROUPPER()
	g.RET()
}

// add advances a pointer.
func (g *gen) add(p reg.Register, bytes int) { g.ADDQ(operand.U8(bytes), p) }

// arithmetic writes y = y op x and y = y op a.
func (g *gen) arithmetic() {
	type op struct {
		name, doc string
		f         func(...operand.Op)
	}
	nan, tmp, v := g.vector[0], g.vector[1], g.vector[2]
	for _, o := range []op{{"add", "adds x to y", g.VADDPS}, {"mul", "multiplies y by x", g.VMULPS}} {
		g.function(o.name, o.doc+".", "func(y, x *float32, n int)")
		y, x, n := g.arg("y"), g.arg("x"), g.arg("n")
		g.quietNaN(4, nan)
		g.loop(n, func(i int) {
			g.VMOVUPS(mem(y, i*g.bytes), v)
			o.f(mem(x, i*g.bytes), v, v)
			g.replaceNaN(4, nan, tmp, v)
			g.VMOVUPS(v, mem(y, i*g.bytes))
		}, func() { g.add(y, 4*step); g.add(x, 4*step) })
		g.end()
	}
	g.function("scale", "multiplies y by a.", "func(y *float32, n int, a float32)")
	y, n, a := g.arg("y"), g.arg("n"), g.vector[3]
	g.VBROADCASTSS(g.argument("a"), a)
	g.quietNaN(4, nan)
	g.loop(n, func(i int) {
		g.VMULPS(mem(y, i*g.bytes), a, v)
		g.replaceNaN(4, nan, tmp, v)
		g.VMOVUPS(v, mem(y, i*g.bytes))
	}, func() { g.add(y, 4*step) })
	g.end()
}

// argument is a parameter in memory.
func (g *gen) argument(name string) operand.Mem {
	c, err := g.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return c.Addr
}

// reductions writes loops that leave 16 partial results.
func (g *gen) reductions() {
	type reduction struct {
		name, doc string
		f         func(acc, v reg.VecPhysical)
	}
	nan, tmp, v := g.vector[0], g.vector[1], g.vector[2]
	for _, r := range []reduction{
		{"sum", "adds element i to lane i%16.", func(acc, v reg.VecPhysical) { g.VADDPS(v, acc, acc) }},
		{"sumSquares", "adds the square of element i, rounded, to lane i%16.", func(acc, v reg.VecPhysical) {
			g.VMULPS(v, v, v)
			g.VADDPS(v, acc, acc)
		}},
		{"max", "raises lane i%16 to element i; a NaN stays.", func(acc, v reg.VecPhysical) {
			if g.is512() {
				g.VCMPPS(unordered, v, acc, reg.K1)
				g.VMAXPS(v, acc, acc)
				g.VMOVAPS(nan, reg.K1, acc)
			} else {
				g.VCMPPS(unordered, v, acc, tmp)
				g.VMAXPS(v, acc, acc)
				g.VORPS(tmp, acc, acc)
			}
		}},
	} {
		g.function(r.name, r.doc, "func(x *float32, n int, lanes *[16]float32)")
		x, n, lanes := g.arg("x"), g.arg("n"), g.arg("lanes")
		g.quietNaN(4, nan)
		acc := g.vector[3:]
		vectors := step * 4 / g.bytes
		for i := range vectors {
			g.VMOVUPS(mem(lanes, i*g.bytes), acc[i])
		}
		g.loop(n, func(i int) {
			g.VMOVUPS(mem(x, i*g.bytes), v)
			r.f(acc[i], v)
		}, func() { g.add(x, 4*step) })
		for i := range vectors {
			g.VMOVUPS(acc[i], mem(lanes, i*g.bytes))
		}
		g.end()
	}
}

// conversions writes the loops between float32 and the 16-bit types. The
// values are those of package tensor.
func (g *gen) conversions() {
	x, half := g.vector[0], g.half(g.vector[0])
	g.function("widenBF16", "converts n bfloat16.", "func(dst *float32, src *byte, n int)")
	dst, src, n := g.arg("dst"), g.arg("src"), g.arg("n")
	g.loop(n, func(i int) {
		g.VPMOVZXWD(mem(src, i*g.bytes/2), x)
		g.VPSLLD(operand.U8(16), x, x)
		g.VMOVUPS(x, mem(dst, i*g.bytes))
	}, func() { g.add(dst, 4*step); g.add(src, 2*step) })
	g.end()

	g.function("widenF16", "converts n float16; a NaN becomes quiet.", "func(dst *float32, src *byte, n int)")
	dst, src, n = g.arg("dst"), g.arg("src"), g.arg("n")
	g.loop(n, func(i int) {
		g.VCVTPH2PS(mem(src, i*g.bytes/2), x)
		g.VMOVUPS(x, mem(dst, i*g.bytes))
	}, func() { g.add(dst, 4*step); g.add(src, 2*step) })
	g.end()

	for _, narrow := range []bool{false, true} {
		name, doc, signature := "round", "rounds n float32 to ", "func(dst, src *float32, n int)"
		size := 4
		if narrow {
			name, doc, signature = "narrow", "converts n float32 to ", "func(dst *byte, src *float32, n int)"
			size = 2
		}
		advance := func() { g.add(dst, size*step); g.add(src, 4*step) }

		g.function(name+"BF16", doc+"bfloat16; a NaN becomes positive and quiet.", signature)
		dst, src, n = g.arg("dst"), g.arg("src"), g.arg("n")
		c := g.vector[4:8]
		g.broadcastBits(4, 0x7fff, c[0])
		g.broadcastBits(4, 1, c[1])
		g.broadcastBits(4, 0xffff0000, c[2])
		g.quietNaN(4, c[3])
		g.loop(n, func(i int) {
			v, tmp := g.vector[1], g.vector[2]
			g.VMOVUPS(mem(src, i*g.bytes), v)
			roundBF16(g, v, c[:3], []reg.VecPhysical{x, tmp}, func(int, reg.VecPhysical) {})
			g.replaceNaN(4, c[3], tmp, x)
			if !narrow {
				g.VMOVUPS(x, mem(dst, i*g.bytes))
				return
			}
			g.VPSRLD(operand.U8(16), x, x)
			g.storeWords(x, mem(dst, i*g.bytes/2))
		}, advance)
		g.end()

		g.function(name+"F16", doc+"float16; a NaN becomes quiet and keeps its sign.", signature)
		dst, src, n = g.arg("dst"), g.arg("src"), g.arg("n")
		sign, quiet := g.vector[4], g.vector[5]
		g.broadcastBits(4, 1<<31, sign)
		g.quietNaN(4, quiet)
		g.loop(n, func(i int) {
			v, nan, tmp := g.vector[1], g.vector[2], g.vector[3]
			g.VMOVUPS(mem(src, i*g.bytes), v)
			g.and(sign, v, nan)
			if g.is512() {
				g.VPORD(quiet, nan, nan)
			} else {
				g.VPOR(quiet, nan, nan)
			}
			g.replaceNaN(4, nan, tmp, v)
			if narrow {
				g.VCVTPS2PH(operand.U8(0), v, mem(dst, i*g.bytes/2))
				return
			}
			g.VCVTPS2PH(operand.U8(0), v, half)
			g.VCVTPH2PS(half, x)
			g.VMOVUPS(x, mem(dst, i*g.bytes))
		}, advance)
		g.end()
	}
}

// storeWords stores the lower 16 bits of the 32-bit words of v.
func (g *gen) storeWords(v reg.VecPhysical, m operand.Mem) {
	if g.is512() {
		g.VPMOVDW(v, m)
		return
	}
	g.VPACKUSDW(v, v, v)
	g.VPERMQ(operand.U8(0xd8), v, v)
	g.VMOVUPS(v.AsX(), m)
}

// exponentials writes the loops around exp. They are the operations of Exp and
// Exp2 of package kernel, one by one. Arguments are cut to where float32 has
// no finite or no positive result anyway, so one scaling by a power of two is
// enough, and exact.
func (g *gen) exponentials() {
	const x, out, nan, tmp = 0, 1, 2, 3
	r := g.vector
	whole := func(i int, ptr reg.Register, base2 bool, argument func(v reg.VecPhysical)) {
		g.VMOVUPS(mem(ptr, i*g.bytes), r[x])
		argument(r[x])
		// Both halves in float64.
		g.upperHalf(r[x], r[4])
		g.VCVTPS2PD(g.half(r[x]), r[5])
		g.VCVTPS2PD(g.half(r[4]), r[6])
		for _, h := range []reg.VecPhysical{r[5], r[6]} {
			if base2 {
				g.exp(h, true, -160, 130, r[7:16])
			} else {
				g.exp(h, false, -110, 90, r[7:16])
			}
		}
		g.narrow64(r[5], r[out])
		g.narrow64(r[6], r[4])
		g.join(r[4], r[out])
	}

	g.function("exp2Scaled", "sets v to 2**(v*scale + shift), the exponent rounded once.", "func(v *float32, n int, scale, shift float32)")
	v, n := g.arg("v"), g.arg("n")
	scale, shift := g.argument("scale"), g.argument("shift")
	g.loop(n, func(i int) {
		whole(i, v, true, func(x reg.VecPhysical) {
			g.VBROADCASTSS(scale, r[4])
			g.VBROADCASTSS(shift, r[5])
			g.VFMADD213PS(r[5], r[4], x)
		})
		g.quietNaN(4, r[nan])
		g.replaceNaN(4, r[nan], r[tmp], r[out])
		g.VMOVUPS(r[out], mem(v, i*g.bytes))
	}, func() { g.add(v, 4*step) })
	g.end()

	g.function("silu", "sets v to v / (1 + e**-v), each operation rounded.", "func(v *float32, n int)")
	v, n = g.arg("v"), g.arg("n")
	g.loop(n, func(i int) {
		whole(i, v, false, func(x reg.VecPhysical) {
			g.broadcastBits(4, 1<<31, r[4])
			g.xor(r[4], x, x)
		})
		g.broadcastBits(4, uint64(math.Float32bits(1)), r[x])
		g.VADDPS(r[x], r[out], r[out])
		g.VMOVUPS(mem(v, i*g.bytes), r[x])
		g.VDIVPS(r[out], r[x], r[out])
		g.quietNaN(4, r[nan])
		g.replaceNaN(4, r[nan], r[tmp], r[out])
		g.VMOVUPS(r[out], mem(v, i*g.bytes))
	}, func() { g.add(v, 4*step) })
	g.end()
}

// exp replaces x, cut to the range from least to most, by its exponential, with
// an error of less than a unit in the last place: kernel.Exp, or kernel.Exp2 if
// base2 is set.
func (g *gen) exp(x reg.VecPhysical, base2 bool, least, most float64, tmp []reg.VecPhysical) {
	const (
		ln2Hi = 6.93147180369123816490e-01
		ln2Lo = 1.90821492927058770002e-10
		log2e = 1.44269504088896338700e+00
		p1    = 1.66666666666666657415e-01
		p2    = -2.77777777770155933842e-03
		p3    = 6.61375632143793436117e-05
		p4    = -1.65339022054652515390e-06
		p5    = 4.13813679705723846039e-08
	)
	k, hi, lo, rr, t, c, u, w := tmp[0], tmp[1], tmp[2], tmp[3], tmp[4], tmp[5], tmp[6], tmp[7]
	// The second operand survives if either is NaN.
	g.constant(least, u)
	g.VMAXPD(x, u, x)
	g.constant(most, u)
	g.VMINPD(x, u, x)
	g.constant(0.5, u)
	if base2 {
		g.VADDPD(u, x, k)
		g.floor(k)
		g.VSUBPD(k, x, t)
		g.constant(ln2Hi, u)
		g.VMULPD(u, t, hi)
		g.VMOVAPD(hi, w)
		g.VFNMADD231PD(u, t, w) // hi - t*ln2Hi, what rounding hi lost
		g.constant(ln2Lo, u)
		g.VMULPD(u, t, lo)
		g.VSUBPD(lo, w, lo)
	} else {
		g.constant(log2e, w)
		g.VMULPD(w, x, k)
		g.VADDPD(u, k, k)
		g.floor(k)
		g.VMOVAPD(x, hi)
		g.constant(ln2Hi, u)
		g.VFNMADD231PD(u, k, hi)
		g.constant(ln2Lo, u)
		g.VMULPD(u, k, lo)
	}
	g.VSUBPD(lo, hi, rr)
	g.VMULPD(rr, rr, t)
	g.constant(p5, c)
	for _, p := range []float64{p4, p3, p2, p1} {
		g.constant(p, u)
		g.VFMADD213PD(u, t, c)
	}
	g.VMULPD(t, c, c)
	g.VSUBPD(c, rr, c)
	g.VMULPD(rr, c, w)
	g.constant(2, u)
	g.VSUBPD(c, u, u)
	g.VDIVPD(u, w, w)
	g.VSUBPD(w, lo, lo)
	g.VSUBPD(hi, lo, lo)
	g.constant(1, u)
	g.VSUBPD(lo, u, x)
	if g.is512() {
		g.VSCALEFPD(k, x, x)
		return
	}
	g.VCVTPD2DQY(k, w.AsX())
	g.VPMOVSXDQ(w.AsX(), w)
	g.broadcastBits(8, 1023, u)
	g.VPADDQ(u, w, w)
	g.VPSLLQ(operand.U8(52), w, w)
	g.VMULPD(w, x, x)
}

// constant fills v with a float64 from memory.
func (g *gen) constant(f float64, v reg.VecPhysical) {
	bits := math.Float64bits(f)
	m, ok := g.constants[bits]
	if !ok {
		m = g.ConstData(fmt.Sprintf("f%016x", bits), operand.U64(bits))
		g.constants[bits] = m
	}
	g.VBROADCASTSD(m, v)
}

func (g *gen) floor(v reg.VecPhysical) {
	const down = operand.U8(9)
	if g.is512() {
		g.VRNDSCALEPD(down, v, v)
	} else {
		g.VROUNDPD(down, v, v)
	}
}

func (g *gen) xor(x, y, out reg.VecPhysical) {
	if g.is512() {
		g.VPXORD(x, y, out)
	} else {
		g.VPXOR(x, y, out)
	}
}

// upperHalf moves the upper half of v to the lower half of out.
func (g *gen) upperHalf(v, out reg.VecPhysical) {
	if g.is512() {
		g.VEXTRACTF64X4(operand.U8(1), v, g.half(out))
	} else {
		g.VEXTRACTF128(operand.U8(1), v, g.half(out))
	}
}

// join makes the lower half of v the upper half of out.
func (g *gen) join(v, out reg.VecPhysical) {
	if g.is512() {
		g.VINSERTF64X4(operand.U8(1), g.half(v), out, out)
	} else {
		g.VINSERTF128(operand.U8(1), g.half(v), out, out)
	}
}

func (g *gen) narrow64(v, out reg.VecPhysical) {
	if g.is512() {
		g.VCVTPD2PS(v, g.half(out))
	} else {
		g.VCVTPD2PSY(v, g.half(out))
	}
}
