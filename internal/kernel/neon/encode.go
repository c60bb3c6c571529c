package main

import "fmt"

// Instructions that Go's assembler does not have, encoded after the Arm
// Architecture Reference Manual (DDI 0487), section C7.2, "Alphabetical list of
// A64 Advanced SIMD and floating-point instructions". Sizes are those of an
// element in bytes.

// word writes an encoded instruction with its name in Arm's syntax.
func (g *gen) word(code uint32, format string, args ...any) {
	g.p("WORD $0x%08x // %s", code, fmt.Sprintf(format, args...))
}

// three writes out = x op y; code is that for 4 bytes, and bit 22 set for 8.
func (g *gen) three(name string, code uint32, size int, x, y, out vec) {
	arr := "4s"
	if size == 8 {
		code, arr = code|1<<22, "2d"
	}
	g.word(code|uint32(y)<<16|uint32(x)<<5|uint32(out), "%s v%d.%s, v%d.%[3]s, v%[5]d.%[3]s", name, int(out), arr, int(x), int(y))
}

func (g *gen) fadd(size int, x, y, out vec)  { g.three("fadd", 0x4e20d400, size, x, y, out) }
func (g *gen) fsub(size int, x, y, out vec)  { g.three("fsub", 0x4ea0d400, size, x, y, out) }
func (g *gen) fmul(size int, x, y, out vec)  { g.three("fmul", 0x6e20dc00, size, x, y, out) }
func (g *gen) fdiv(size int, x, y, out vec)  { g.three("fdiv", 0x6e20fc00, size, x, y, out) }
func (g *gen) fmax(size int, x, y, out vec)  { g.three("fmax", 0x4e20f400, size, x, y, out) } // a NaN if either is
func (g *gen) fmin(size int, x, y, out vec)  { g.three("fmin", 0x4ea0f400, size, x, y, out) } // a NaN if either is
func (g *gen) fcmeq(size int, x, y, out vec) { g.three("fcmeq", 0x4e20e400, size, x, y, out) }

// orn writes out = x | ^y.
func (g *gen) orn(x, y, out vec) {
	g.word(0x4ee01c00|uint32(y)<<16|uint32(x)<<5|uint32(out), "orn v%d.16b, v%d.16b, v%d.16b", int(out), int(x), int(y))
}

// fmlaElement adds x * y[lane] to acc.
func (g *gen) fmlaElement(size int, x, y vec, lane int, acc vec) {
	code, arr, l := uint32(0x4f801000|lane&1<<21|lane>>1<<11), "4s", "s"
	if size == 8 {
		code, arr, l = uint32(0x4fc01000|lane<<11), "2d", "d"
	}
	g.word(code|uint32(y)<<16|uint32(x)<<5|uint32(acc), "fmla v%d.%s, v%d.%[2]s, v%[4]d.%s[%d]", int(acc), arr, int(x), int(y), l, lane)
}

// two writes an instruction of one operand.
func (g *gen) two(name string, code uint32, from, to string, x, out vec) {
	g.word(code|uint32(x)<<5|uint32(out), "%s v%d.%s, v%d.%s", name, int(out), to, int(x), from)
}

// floor rounds float64 down, whole converts them to integers.
func (g *gen) floor(x, out vec) { g.two("frintm", 0x4e619800, "2d", "2d", x, out) }
func (g *gen) whole(x, out vec) { g.two("fcvtzs", 0x4ee1b800, "2d", "2d", x, out) }

// widenLow and widenHigh convert half a register of floats to twice their
// size: float16 to 4 bytes, float32 to 8. A NaN becomes quiet.
func (g *gen) widenLow(size int, x, out vec) {
	if size == 8 {
		g.two("fcvtl", 0x0e617800, "2s", "2d", x, out)
	} else {
		g.two("fcvtl", 0x0e217800, "4h", "4s", x, out)
	}
}

func (g *gen) widenHigh(size int, x, out vec) {
	if size == 8 {
		g.two("fcvtl2", 0x4e617800, "4s", "2d", x, out)
	} else {
		g.two("fcvtl2", 0x4e217800, "8h", "4s", x, out)
	}
}

// narrowLow rounds floats of a size to half of it, into the lower half of out
// with the upper one zero; narrowHigh fills the upper half.
func (g *gen) narrowLow(size int, x, out vec) {
	if size == 8 {
		g.two("fcvtn", 0x0e616800, "2d", "2s", x, out)
	} else {
		g.two("fcvtn", 0x0e216800, "4s", "4h", x, out)
	}
}

func (g *gen) narrowHigh(size int, x, out vec) {
	if size == 8 {
		g.two("fcvtn2", 0x4e616800, "2d", "4s", x, out)
	} else {
		g.two("fcvtn2", 0x4e216800, "4s", "8h", x, out)
	}
}

// sshr4 shifts signed halfwords right by 4.
func (g *gen) sshr4(x, out vec) {
	g.word(0x4f1c0400|uint32(x)<<5|uint32(out), "sshr v%d.8h, v%d.8h, #4", int(out), int(x))
}
