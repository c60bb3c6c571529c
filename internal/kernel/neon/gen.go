package main

import (
	"fmt"
	"slices"
	"strings"
)

// gen writes the functions of one file and their declarations.
type gen struct {
	text, stubs strings.Builder
	offsets     map[string]int // of the parameters of the function being written
	used        int            // general registers it has
}

// gp is a general register.
type gp int

func (r gp) String() string { return fmt.Sprintf("R%d", int(r)) }

// generals are free in a function without calls: R18 belongs to the platform,
// R27 to the assembler, R28 and above to the runtime.
var generals = []gp{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 25, 26}

// vec is a vector register.
type vec int

func (v vec) String() string { return fmt.Sprintf("V%d", int(v)) }

// pair is a vector of the scheme.
type pair [2]vec

const bytesPair = 32

// pool is vector registers that are free.
type pool []vec

// vectors are all vector registers.
func vectors() pool {
	p := make(pool, 32)
	for i := range p {
		p[i] = vec(i)
	}
	return p
}

func (p *pool) get() vec {
	v := (*p)[0]
	*p = (*p)[1:]
	return v
}

func (p *pool) take(n int) []vec {
	v := (*p)[:n:n]
	*p = (*p)[n:]
	return v
}

func (p *pool) pair() pair { return pair(p.take(2)) }

func (p *pool) put(v ...vec) { *p = append((*p)[:len(*p):len(*p)], v...) }

// function opens a function with parameters such as "y, x *float32, n int".
func (g *gen) function(name, doc, parameters string) {
	name += "_neon"
	g.offsets, g.used = map[string]int{}, 0
	end := 0
	var names []string
	for _, p := range strings.Split(parameters, ", ") {
		name, typ, ok := strings.Cut(p, " ")
		names = append(names, name)
		if !ok {
			continue // its type follows the next name
		}
		size := map[string]int{"float32": 4, "bool": 1}[typ]
		if size == 0 {
			size = 8
		}
		for _, n := range names {
			end = (end + size - 1) / size * size
			g.offsets[n] = end
			end += size
		}
		names = names[:0]
	}
	fmt.Fprintf(&g.stubs, "\n// %s %s\n//\n//go:noescape\nfunc %s(%s)\n", name, doc, name, parameters)
	fmt.Fprintf(&g.text, "\n// func %s(%s)\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", name, parameters, name, end)
}

// p writes an instruction.
func (g *gen) p(format string, args ...any) { fmt.Fprintf(&g.text, "\t"+format+"\n", args...) }

func (g *gen) label(name string) { fmt.Fprintf(&g.text, "\n%s:\n", name) }

// register returns a general register that the function does not have yet.
func (g *gen) register() gp {
	g.used++
	return generals[g.used-1]
}

// arg loads a parameter.
func (g *gen) arg(name string) gp {
	r := g.register()
	g.p("MOVD %s+%d(FP), %v", name, g.offsets[name], r)
	return r
}

// load fills registers from consecutive memory.
func (g *gen) load(base gp, disp int, v ...vec) { g.move("FLDPQ", "FMOVQ", true, base, disp, v) }

func (g *gen) store(base gp, disp int, v ...vec) { g.move("FSTPQ", "FMOVQ", false, base, disp, v) }

func (g *gen) move(two, one string, load bool, base gp, disp int, v []vec) {
	for part := range slices.Chunk(v, 2) {
		op, regs := one, fmt.Sprintf("F%d", int(part[0]))
		if len(part) == 2 {
			op, regs = two, fmt.Sprintf("(F%d, F%d)", int(part[0]), int(part[1]))
		}
		if load {
			g.p("%s %d(%v), %s", op, disp, base, regs)
		} else {
			g.p("%s %s, %d(%v)", op, regs, disp, base)
		}
		disp += 16 * len(part)
	}
}

// each writes an instruction whose operands, the result last, all have one
// arrangement.
func (g *gen) each(op, arr string, v ...vec) {
	operands := make([]string, len(v))
	for i, v := range v {
		operands[i] = v.String() + "." + arr
	}
	g.p("%s %s", op, strings.Join(operands, ", "))
}

func (g *gen) zero(v vec)          { g.each("VEOR", "B16", v, v, v) }
func (g *gen) mov(from, to vec)    { g.each("VMOV", "B16", from, to) }
func (g *gen) and(x, y, out vec)   { g.each("VAND", "B16", x, y, out) }
func (g *gen) or(x, y, out vec)    { g.each("VORR", "B16", x, y, out) }
func (g *gen) xor(x, y, out vec)   { g.each("VEOR", "B16", x, y, out) }
func (g *gen) equal(x, y, out vec) { g.each("VCMEQ", "H8", x, y, out) }

// shl and ushr shift the elements of an arrangement such as S4.
func (g *gen) shl(arr string, by int, x, out vec) { g.each(fmt.Sprintf("VSHL $%d,", by), arr, x, out) }

func (g *gen) ushr(arr string, by int, x, out vec) {
	g.each(fmt.Sprintf("VUSHR $%d,", by), arr, x, out)
}

// add adds integers.
func (g *gen) add(arr string, x, y, out vec) { g.each("VADD", arr, x, y, out) }

// zip interleaves the lower (part 1) or upper (2) halves of x and y; unzip
// takes their even (1) or odd (2) elements.
func (g *gen) zip(arr string, part int, x, y, out vec) {
	g.each(fmt.Sprintf("VZIP%d", part), arr, y, x, out)
}

func (g *gen) unzip(arr string, part int, x, y, out vec) {
	g.each(fmt.Sprintf("VUZP%d", part), arr, y, x, out)
}

// fmla adds x*y to acc, fmls subtracts it; both round once.
func (g *gen) fmla(arr string, x, y, acc vec) { g.each("VFMLA", arr, x, y, acc) }
func (g *gen) fmls(arr string, x, y, acc vec) { g.each("VFMLS", arr, x, y, acc) }

// broadcastBits fills the elements of v with a constant.
func (g *gen) broadcastBits(arr string, bits uint64, v vec) {
	r := g.register()
	g.p("MOVD $%#x, %v", bits, r)
	g.p("VDUP %v, %v.%s", r, v, arr)
	g.used--
}

func (g *gen) quietNaN(size int, v vec) {
	if size == 4 {
		g.broadcastBits("S4", 0x7fc00000, v)
	} else {
		g.broadcastBits("D2", 0x7ff8000000000000, v)
	}
}

// replaceNaN puts the elements of nan in the place of NaNs in v.
func (g *gen) replaceNaN(size int, nan, tmp, v vec) {
	g.fcmeq(size, v, v, tmp)
	g.each("VBIF", "B16", tmp, nan, v)
}

// times repeats what body writes until n, at least one, is 0: each time takes
// step of it.
func (g *gen) times(name string, n gp, step int, body func()) {
	g.label(name)
	body()
	g.p("SUBS $%d, %v, %[2]v", step, n)
	g.p("BNE %s", name)
}
