// Command avo writes the assembly kernels of package kernel.
//
// It is a module of its own, so that the product does not depend on the
// generator. Run it with "go generate ./internal/kernel".
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/buildtags"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	out := flag.String("o", "..", "directory of package kernel")
	flag.Parse()
	for _, s := range []isa{avx2, avx512} {
		write(*out, "gemm_"+s.name, func(g *gen) {
			for _, size := range []int{4, 8} {
				for rows := 1; rows <= s.rows; rows++ {
					g.micro(size, rows, 2)
				}
				for rows := 1; rows <= 3; rows++ {
					g.micro(size, rows, wide[rows])
				}
			}
		}, s)
		write(*out, "pack_"+s.name, func(g *gen) {
			for _, w := range widenings {
				g.pack(w)
			}
			g.widen64()
		}, s)
		write(*out, "stream_"+s.name, func(g *gen) {
			for _, r := range streams {
				for rows := 1; rows <= 4; rows++ {
					g.stream(r, rows)
				}
			}
		}, s)
		write(*out, "loops_"+s.name, func(g *gen) {
			g.arithmetic()
			g.reductions()
			g.conversions()
			g.exponentials()
		}, s)
	}
	write(*out, "pairs_"+avx2.name, func(g *gen) {
		g.pairs()
		g.softmax()
	}, avx2)
}

// wide is the number of vectors of a tile with few rows: enough chains to hide
// the latency of an addition.
var wide = [4]int{0, 8, 4, 4}

// isa is an instruction set.
type isa struct {
	name   string
	bytes  int // of a vector
	rows   int // of the largest tile of a product
	vector []reg.VecPhysical
}

var (
	avx2 = isa{"avx2", 32, 6, []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}}
	avx512 = isa{"avx512", 64, 14, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}}
)

// gen writes the functions of one file.
type gen struct {
	*build.Context
	isa
	constants map[uint64]operand.Mem // by their bits
}

func (g *gen) is512() bool { return g.bytes == 64 }

// function opens a function; name gets the instruction set as suffix.
func (g *gen) function(name, doc, signature string) {
	g.Function(name + "_" + g.name)
	g.Doc(name + "_" + g.name + " " + doc)
	g.Attributes(attr.NOSPLIT)
	g.Pragma("noescape")
	g.SignatureExpr(signature)
}

func (g *gen) arg(name string) reg.GPVirtual {
	return g.Load(g.Param(name), g.GP64()).(reg.GPVirtual)
}

func mem(base reg.Register, disp int) operand.Mem { return operand.Mem{Base: base, Disp: disp} }

func index(base, idx reg.Register, disp int) operand.Mem {
	return operand.Mem{Base: base, Index: idx, Scale: 1, Disp: disp}
}

// broadcastBits fills the 32-bit or 64-bit lanes of v with a constant.
func (g *gen) broadcastBits(size int, bits uint64, v reg.VecPhysical) {
	r := g.GP64()
	g.MOVQ(operand.U64(bits), r)
	switch {
	case g.is512() && size == 4:
		g.VPBROADCASTD(r.As32(), v)
	case g.is512():
		g.VPBROADCASTQ(r, v)
	case size == 4:
		g.VMOVD(r.As32(), v.AsX())
		g.VPBROADCASTD(v.AsX(), v)
	default:
		g.VMOVQ(r, v.AsX())
		g.VPBROADCASTQ(v.AsX(), v)
	}
}

// write makes one assembly file and the Go file with its declarations.
func write(dir, name string, functions func(*gen), s isa) {
	ctx := build.NewContext()
	var tags buildtags.Constraints
	for _, not := range []string{"noasm", "purego", "safe"} {
		tags = append(tags, buildtags.Any(buildtags.Not(not)))
	}
	ctx.Constraints(tags)
	functions(&gen{ctx, s, map[uint64]operand.Mem{}})
	file, err := ctx.Result()
	if err != nil {
		log.Fatal(err)
	}
	cfg := printer.Config{Name: "avo", Argv: []string{"go", "generate"}, Pkg: "kernel"}
	if err := pass.Compile.Execute(file); err != nil {
		log.Fatal(err)
	}
	for ext, p := range map[string]printer.Printer{".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg)} {
		text, err := p.Print(file)
		if err != nil {
			log.Fatal(err)
		}
		path := filepath.Join(dir, name+"_amd64"+ext)
		if err := os.WriteFile(path, append(bytes.TrimSpace(text), '\n'), 0o644); err != nil {
			log.Fatal(err)
		}
		fmt.Fprintln(os.Stderr, path, len(text))
	}
}
