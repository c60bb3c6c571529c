package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// stored is how values lie in memory: load widens four of them to float64, and
// single, of half types alone, eight of them to float32.
type stored struct {
	name, doc    string
	size         int
	load, single func(g *gen, m operand.Mem, v reg.VecPhysical)
}

// widened loads what single does as float64.
func widened(single func(g *gen, m operand.Mem, v reg.VecPhysical)) func(g *gen, m operand.Mem, v reg.VecPhysical) {
	return func(g *gen, m operand.Mem, v reg.VecPhysical) {
		single(g, m, v.AsX().(reg.VecPhysical))
		g.VCVTPS2PD(v.AsX(), v)
	}
}

func loadBF16(g *gen, m operand.Mem, v reg.VecPhysical) {
	g.VPMOVZXWD(m, v)
	g.VPSLLD(operand.U8(16), v, v)
}

func loadF16(g *gen, m operand.Mem, v reg.VecPhysical) { g.VCVTPH2PS(m, v) }

var storedTypes = []stored{
	{"BF16", "bfloat16", 2, widened(loadBF16), loadBF16},
	{"F16", "float16", 2, widened(loadF16), loadF16},
	{"F32", "float32", 4, func(g *gen, m operand.Mem, v reg.VecPhysical) { g.VCVTPS2PD(m, v) }, nil},
	{"F64", "float64", 8, func(g *gen, m operand.Mem, v reg.VecPhysical) { g.VMOVUPD(m, v) }, nil},
}

// pairFields are those of pairVectors of package kernel, 32 bytes each. The
// ring of buckets comes last, before the counters.
var pairFields = []string{
	"absolute64", "absolute", "exponent", "atol", "rtol", "least", "maxRel", "place", "lowest", "unused",
	"dd", "rr", "tt", "rd", "sum", "max", "excess", "units", "equal", "mismatched", "ring",
}

// pairStride is the number of counters of a set, of which there are pairSets.
const (
	pairStride = 520
	pairSets   = 16
)

// pairRing is the size of the buckets after which a bucket is counted: an
// addition to memory at an address that is not known yet would hold up others.
const pairRing = 256

// pairs writes the kernels that measure pairs of values: those of half types
// and float32 in any combination, and of float64.
func (g *gen) pairs() {
	singles := &comparison{
		lanes: 8, sub: g.VSUBPS, mul: g.VMULPS, add: g.VADDPS, max: g.VMAXPS, fmsub: g.VFMSUB132PS,
		greater: g.VPCMPGTD, equal: g.VPCMPEQD, count: g.VPSUBD, shift: 20,
	}
	doubles := &comparison{
		lanes: 4, sub: g.VSUBPD, mul: g.VMULPD, add: g.VADDPD, max: g.VMAXPD, fmsub: g.VFMSUB132PD,
		greater: g.VPCMPGTQ, equal: g.VPCMPEQQ, count: g.VPSUBQ, shift: 17,
	}
	for _, r := range storedTypes {
		for _, t := range storedTypes {
			switch {
			case (r.size == 8) != (t.size == 8):
				continue
			case r.single != nil && t.single != nil:
				g.pairDistances(r, t, r.single, t.single, singles)
			default:
				g.pairDistances(r, t, r.load, t.load, doubles)
			}
			g.pairSums(r, t)
		}
	}
}

// pairWriter writes one kernel.
type pairWriter struct {
	*gen
	field   map[string]operand.Mem
	results map[string]reg.VecPhysical
	names   []string // of the results
}

func (g *gen) pairWriter(s reg.Register, results ...string) *pairWriter {
	w := &pairWriter{g, map[string]operand.Mem{}, map[string]reg.VecPhysical{}, results}
	for i, name := range pairFields {
		w.field[name] = mem(s, i*g.bytes)
	}
	for i, name := range results {
		w.results[name] = g.vector[i]
		g.VXORPD(g.vector[i], g.vector[i], g.vector[i])
	}
	return w
}

// pairSums writes the kernel of the sums, which are in float64.
func (g *gen) pairSums(r, t stored) {
	g.function("pairSums"+r.name+t.name, fmt.Sprintf("adds up n pairs of %s and %s, a multiple of 16; s is a pairVectors.", r.doc, t.doc),
		"func(r, t *byte, n int, dd, rr *float64, s *uint64)")
	rp, tp, n, cdd, crr := g.arg("r"), g.arg("t"), g.arg("n"), g.arg("dd"), g.arg("rr")
	w := g.pairWriter(g.arg("s"), "dd", "rr", "tt", "rd", "sum")
	absolute, zero := g.vector[5], g.vector[6].AsX()
	g.VPXOR(zero, zero, zero)
	g.VMOVUPD(w.field["absolute64"], absolute)
	i := g.GP64()
	g.XORQ(i, i)
	g.Label("pairs")
	at := func(p reg.Register, size, half int) operand.Mem {
		return operand.Mem{Base: p, Index: i, Scale: uint8(size), Disp: 4 * size * half}
	}
	g.PREFETCHT0(operand.Mem{Base: rp, Index: i, Scale: uint8(r.size), Disp: 1024})
	g.PREFETCHT0(operand.Mem{Base: tp, Index: i, Scale: uint8(t.size), Disp: 1024})
	for half := range 2 {
		v := g.vector[7+4*half:]
		a, b, d, x := v[0], v[1], v[2], v[3]
		for _, side := range []struct {
			stored
			p reg.Register
			v reg.VecPhysical
		}{{r, rp, a}, {t, tp, b}} {
			switch {
			case side.name != "BF16":
				side.load(g, at(side.p, side.size, half), side.v)
			case half == 0:
				g.VPUNPCKLWD(at(side.p, 2, 0), zero, side.v.AsX())
				g.VCVTPS2PD(side.v.AsX(), side.v)
			default:
				g.VPUNPCKHWD(at(side.p, 2, 0), zero, side.v.AsX())
				g.VCVTPS2PD(side.v.AsX(), side.v)
			}
		}
		g.VMOVUPD(at(crr, 8, half), x)
		g.VSUBPD(a, b, d)
		g.VFMADD231PD(a, a, x)
		g.VFMADD231PD(a, a, w.results["rr"])
		g.VFMADD231PD(b, b, w.results["tt"])
		g.VMOVUPD(x, at(crr, 8, half))
		g.VFMADD231PD(a, d, w.results["rd"])
		g.VMOVUPD(at(cdd, 8, half), a)
		g.VFMADD231PD(d, d, a)
		g.VFMADD231PD(d, d, w.results["dd"])
		g.VMOVUPD(a, at(cdd, 8, half))
		g.VANDPD(absolute, d, d)
		g.VADDPD(d, w.results["sum"], w.results["sum"])
	}
	g.ADDQ(operand.U8(8), i)
	g.CMPQ(i, n)
	g.JNE(operand.LabelRef("pairs"))
	for _, name := range w.names {
		g.VMOVUPD(w.results[name], w.field[name])
	}
	g.end()
}

// comparison has the instructions for what is not a sum, in float32 or float64.
type comparison struct {
	lanes                     int
	sub, mul, add, max, fmsub func(...operand.Op)
	greater, equal, count     func(...operand.Op) // of integers
	shift                     int                 // from the bits of a number, or their upper half, to a bucket
}

// pairDistances writes the kernel of what is not a sum. Where only the larger
// of two positive numbers or its exponent is wanted, integer instructions find
// it: those of numbers share their units with multiplications.
func (g *gen) pairDistances(r, t stored, loadR, loadT func(g *gen, m operand.Mem, v reg.VecPhysical), c *comparison) {
	g.function("pairDistances"+r.name+t.name, fmt.Sprintf("compares n pairs of %s and %s, a multiple of 16; s is a pairVectors.", r.doc, t.doc),
		"func(r, t *byte, n int, s *uint64)")
	rp, tp, n, s := g.arg("r"), g.arg("t"), g.arg("n"), g.arg("s")
	w := g.pairWriter(s, "max", "excess", "units", "equal", "mismatched")
	a, b, d, x := g.vector[5], g.vector[6], g.vector[7], g.vector[8]
	held := map[string]reg.VecPhysical{}
	for i, name := range []string{"absolute", "exponent", "atol", "rtol", "least", "place", "lowest"} {
		held[name] = g.vector[9+i]
		g.VMOVUPD(w.field[name], held[name])
	}

	ring, at, counters, i := w.field["ring"], g.GP64(), g.GP64(), g.GP64()
	w.emptyRing(a)
	// The lowest bucket is the first counter, which lies after the ring.
	g.MOVL(w.field["lowest"], counters.As32())
	g.NEGQ(counters)
	g.LEAQ(operand.Mem{Base: s, Index: counters, Scale: 8, Disp: ring.Disp + pairRing}, counters)
	ring.Index, ring.Scale = at, 1
	g.XORQ(at, at)
	g.XORQ(i, i)

	g.Label("pairs")
	for half := range 2 {
		set := half * c.lanes
		loadR(g, operand.Mem{Base: rp, Index: i, Scale: uint8(r.size), Disp: set * r.size}, a)
		loadT(g, operand.Mem{Base: tp, Index: i, Scale: uint8(t.size), Disp: set * t.size}, b)
		g.countBuckets(c, set, ring.Offset(half*g.bytes), counters)
		most := func(name string, v reg.VecPhysical) { c.max(v, w.results[name], w.results[name]) }
		count := func(name string, mask reg.VecPhysical) { c.count(mask, w.results[name], w.results[name]) }
		c.sub(a, b, d)
		g.VANDPS(held["absolute"], a, a)
		g.VANDPS(held["absolute"], b, b)
		g.VANDPS(held["absolute"], d, d)
		// The last place is that of the larger value; its exponent is inverted.
		g.VPMAXSD(b, a, x)
		c.mul(held["rtol"], a, b)
		g.VPMAXSD(held["place"], x, x)
		g.VPANDN(held["exponent"], x, x)
		c.max(held["least"], a, a)
		c.mul(d, x, x)
		c.add(held["atol"], b, b)
		most("max", d)
		c.fmsub(w.field["maxRel"], d, a)
		c.greater(b, d, b)
		most("units", x)
		g.VPSRLD(operand.U8(c.shift), x, x)
		count("mismatched", b)
		g.VORPS(a, w.results["excess"], w.results["excess"]) // its sign
		g.VPMAXSD(held["lowest"], x, x)
		g.VPMINUD(w.field["unused"], x, x) // where a value is not finite
		g.VPXOR(b, b, b)
		c.equal(b, d, b)
		g.VMOVDQU(x, ring.Offset(half*g.bytes))
		count("equal", b)
	}
	g.ADDQ(operand.U8(2*g.bytes), at)
	g.ANDQ(operand.I32(pairRing-1), at)
	g.ADDQ(operand.U8(2*c.lanes), i)
	g.CMPQ(i, n)
	g.JNE(operand.LabelRef("pairs"))

	if c.lanes == 8 {
		w.toFloat64(a)
	}
	for _, name := range w.names {
		g.VMOVUPD(w.results[name], w.field[name])
	}
	g.XORQ(at, at)
	g.Label("rest")
	g.countBuckets(c, 0, ring, counters)
	g.ADDQ(operand.U8(g.bytes), at)
	g.CMPQ(at, operand.I32(pairRing))
	g.JNE(operand.LabelRef("rest"))
	g.end()
}

// emptyRing fills the ring with a bucket whose counter is not used.
func (w *pairWriter) emptyRing(v reg.VecPhysical) {
	w.VMOVDQU(w.field["unused"], v)
	for at := 0; at < pairRing; at += w.bytes {
		w.VMOVDQU(v, w.field["ring"].Offset(at))
	}
}

// countBuckets adds the buckets at a place of the ring to a set of counters each.
func (g *gen) countBuckets(c *comparison, set int, ring operand.Mem, counters reg.Register) {
	inc := func(i reg.Register, lane int) {
		g.INCQ(operand.Mem{Base: counters, Index: i, Scale: 8, Disp: 8 * pairStride * ((set + lane) % pairSets)})
	}
	if c.lanes == 8 {
		for lane := 0; lane < 8; lane += 2 {
			two, one := g.GP64(), g.GP64()
			g.MOVQ(ring.Offset(4*lane), two)
			g.MOVL(two.As32(), one.As32())
			g.SHRQ(operand.U8(32), two)
			inc(one, lane)
			inc(two, lane+1)
		}
		return
	}
	for lane := range c.lanes {
		i := g.GP64()
		g.MOVL(ring.Offset(8*lane+4), i.As32())
		inc(i, lane)
	}
}

// toFloat64 makes results of eight lanes such of four.
func (w *pairWriter) toFloat64(x reg.VecPhysical) {
	for _, name := range w.names {
		v := w.results[name]
		low, half := v.AsX(), x.AsX()
		w.VEXTRACTF128(operand.U8(1), v, half)
		switch name {
		case "max", "units":
			w.VMAXPS(half, low, low)
			w.VCVTPS2PD(low, v)
		case "excess":
			w.VORPS(half, low, low)
			w.VPMOVSXDQ(low, v)
		default:
			w.VPADDD(half, low, low)
			w.VPMOVSXDQ(low, v)
		}
	}
}
