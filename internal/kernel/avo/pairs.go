package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// stored is how values lie in memory: load widens four of them to float64.
type stored struct {
	name, doc string
	size      int
	load      func(g *gen, m operand.Mem, v reg.VecPhysical)
}

var storedTypes = []stored{
	{"BF16", "bfloat16", 2, func(g *gen, m operand.Mem, v reg.VecPhysical) {
		g.VPMOVZXWD(m, v.AsX())
		g.VPSLLD(operand.U8(16), v.AsX(), v.AsX())
		g.VCVTPS2PD(v.AsX(), v)
	}},
	{"F16", "float16", 2, func(g *gen, m operand.Mem, v reg.VecPhysical) {
		g.VCVTPH2PS(m, v.AsX())
		g.VCVTPS2PD(v.AsX(), v)
	}},
	{"F32", "float32", 4, func(g *gen, m operand.Mem, v reg.VecPhysical) { g.VCVTPS2PD(m, v) }},
	{"F64", "float64", 8, func(g *gen, m operand.Mem, v reg.VecPhysical) { g.VMOVUPD(m, v) }},
}

// pairFields are those of pairVectors of package kernel, 32 bytes each. The
// buckets of a block come last, before the counters.
var pairFields = []string{
	"absolute", "exponent", "atol", "rtol", "least", "maxRel", "place", "lowest", "largest",
	"dd", "rr", "tt", "rd", "sum", "max", "excess", "units", "equal", "mismatched", "buckets",
}

// pairStep is the number of pairs that a kernel takes at once.
const pairStep = 8

// pairStride is the number of counters of a lane.
const pairStride = 520

// pairs writes the kernels that measure pairs of values: those of half types
// and float32 in any combination, and of float64.
func (g *gen) pairs() {
	for _, r := range storedTypes {
		for _, t := range storedTypes {
			if (r.size == 8) == (t.size == 8) {
				g.pair(r, t)
			}
		}
	}
}

// pairBlock is the number of pairs whose buckets are counted at a time: an
// addition to memory at an address that is not known yet holds up others.
const pairBlock = 512

func (g *gen) pair(r, t stored) {
	g.function("pairs"+r.name+t.name, fmt.Sprintf("measures n pairs of %s and %s, a multiple of 8; s is a pairVectors.", r.doc, t.doc),
		"func(r, t *byte, n int, dd, rr *float64, s *uint64)")
	rp, tp, n, cdd, crr, s := g.arg("r"), g.arg("t"), g.arg("n"), g.arg("dd"), g.arg("rr"), g.arg("s")
	field := map[string]operand.Mem{}
	for i, name := range pairFields {
		field[name] = mem(s, i*g.bytes)
	}
	results, names := map[string]reg.VecPhysical{}, pairFields[9:19]
	for i, name := range names {
		results[name] = g.vector[i]
		g.VXORPD(g.vector[i], g.vector[i], g.vector[i])
	}
	a, b, next := g.vector[10], g.vector[11], g.vector[14:]

	i, end, at, ahead, finite := g.GP64(), g.GP64(), g.GP64(), g.GP64(), g.GP64()
	load := func(i reg.Register, a, b reg.VecPhysical) {
		r.load(g, operand.Mem{Base: rp, Index: i, Scale: uint8(r.size)}, a)
		t.load(g, operand.Mem{Base: tp, Index: i, Scale: uint8(t.size)}, b)
	}
	g.XORQ(i, i)
	load(i, a, b)
	g.Label("block")
	g.LEAQ(mem(i, pairBlock), end)
	g.CMPQ(end, n)
	g.CMOVQGT(n, end)
	g.LEAQ(field["buckets"], at)
	g.Label("pairs")
	// What comes next is loaded meanwhile, and the last four twice.
	g.LEAQ(mem(i, 4), ahead)
	g.CMPQ(ahead, n)
	g.CMOVQEQ(i, ahead)
	load(ahead, next[0], next[1])
	channel := func(p reg.Register) operand.Mem { return operand.Mem{Base: p, Index: i, Scale: 8} }
	g.measure(field, results, g.vector[10:14], channel(cdd), channel(crr), mem(at, 0))
	g.VMOVAPD(next[0], a)
	g.VMOVAPD(next[1], b)
	g.ADDQ(operand.U8(32), at)
	g.ADDQ(operand.U8(4), i)
	g.CMPQ(i, end)
	g.JNE(operand.LabelRef("pairs"))
	// Where a value is not finite, nothing counts, and buckets are out of range.
	g.VCMPPD(operand.U8(0x12), field["largest"], results["sum"], g.vector[12]) // not greater
	g.VMOVMSKPD(g.vector[12], finite.As32())
	g.CMPL(finite.As32(), operand.U8(15))
	g.JNE(operand.LabelRef("done"))
	g.count(field, at)
	g.CMPQ(i, n)
	g.JNE(operand.LabelRef("block"))
	g.Label("done")
	for _, name := range names {
		g.VMOVUPD(results[name], field[name])
	}
	g.end()
}

// measure writes what is done with four pairs in v[0] and v[1]. Results that
// only need the larger or the sign of two positive numbers, or whether a number
// is 0, are found by integer instructions: maxima and comparisons of float64
// share their units with multiplications. Independent chains are interleaved,
// for few instructions can wait.
func (g *gen) measure(field map[string]operand.Mem, results map[string]reg.VecPhysical, v []reg.VecPhysical, dd, rr, bucket operand.Mem) {
	a, b, d, x := v[0], v[1], v[2], v[3]
	sum := func(name string, v reg.VecPhysical) { g.VADDPD(v, results[name], results[name]) }
	count := func(name string, mask reg.VecPhysical) { g.VPSUBQ(mask, results[name], results[name]) }
	g.VSUBPD(a, b, d)
	g.VMULPD(a, a, x)
	sum("rr", x)
	g.VADDPD(rr, x, x)
	g.VMOVUPD(x, rr)
	g.VFMADD231PD(b, b, results["tt"])
	g.VFMADD231PD(a, d, results["rd"])
	g.VMULPD(d, d, x)
	sum("dd", x)
	g.VADDPD(dd, x, x)
	g.VMOVUPD(x, dd)
	for _, v := range []reg.VecPhysical{a, b, d} {
		g.VANDPD(field["absolute"], v, v)
	}
	// The last place is that of the larger value; its exponent is inverted.
	g.VPMAXSD(b, a, x)
	g.VMULPD(field["rtol"], a, b)
	g.VPMAXSD(field["place"], x, x)
	g.VPANDN(field["exponent"], x, x)
	sum("sum", d)
	g.VMAXPD(field["least"], a, a)
	g.VMULPD(d, x, x)
	g.VADDPD(field["atol"], b, b)
	g.VMAXPD(d, results["max"], results["max"])
	g.VFMSUB132PD(field["maxRel"], d, a)
	g.VPCMPGTQ(b, d, b)
	g.VMAXPD(x, results["units"], results["units"])
	g.VPSRAD(operand.U8(17), x, x)
	count("mismatched", b)
	g.VPOR(a, results["excess"], results["excess"]) // its sign
	g.VPMAXSD(field["lowest"], x, x)
	g.VXORPD(b, b, b)
	g.VPCMPEQQ(b, d, b)
	g.VMOVDQU(x, bucket)
	count("equal", b)
}

// count adds the buckets up to end to eight sets of counters in turn.
func (g *gen) count(field map[string]operand.Mem, end reg.Register) {
	// The lowest bucket is the first counter.
	counters, at, i := g.GP64(), g.GP64(), g.GP64()
	g.MOVL(field["lowest"], counters.As32())
	g.NEGQ(counters)
	c := field["buckets"].Offset(8 * pairBlock)
	c.Index, c.Scale = counters, 8
	g.LEAQ(c, counters)
	g.LEAQ(field["buckets"], at)
	g.Label("count")
	for lane := range pairStep {
		g.MOVWLZX(mem(at, 8*lane+4), i.As32())
		g.INCQ(operand.Mem{Base: counters, Index: i, Scale: 8, Disp: 8 * pairStride * lane})
	}
	g.ADDQ(operand.U8(8*pairStep), at)
	g.CMPQ(at, end)
	g.JNE(operand.LabelRef("count"))
}
