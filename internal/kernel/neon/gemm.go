package main

import "fmt"

const (
	maxRows = 6 // of a tile: 24 registers
	unroll  = 4
)

// wide is the number of vectors of a tile with few rows: enough chains to hide
// the latency of an addition.
var wide = [4]int{0, 8, 4, 4}

// tile is an inner kernel of a product: rows × nv vectors of C stay in
// registers while k runs, so that every element is one chain. A comes packed as
// [k][stride] with the rows padded to a vector (one row is not packed), B as
// [k] rows of nv vectors, ldb bytes apart.
type tile struct {
	*gen
	size, rows, nv int
	a, b, ldb      gp
	acc            [][]vec // by row, then along it
	as             []vec   // the rows' values of a step, or one row's of several
	bs             []pair
}

// astep is the bytes from one k to the next in A.
func (t *tile) astep() int {
	if t.rows == 1 {
		return t.size
	}
	return (t.rows*t.size + bytesPair - 1) / bytesPair * bytesPair
}

func (g *gen) micro(size, rows, nv int) {
	letter, float := "s", "float32"
	if size == 8 {
		letter, float = "d", "float64"
	}
	g.function(fmt.Sprintf("%sgemm%dx%d", letter, rows, nv),
		fmt.Sprintf("computes a %d×%d tile of C = A·B, or of C += A·B if load is set;\n// ldb and ldc count bytes.", rows, nv*bytesPair/size),
		fmt.Sprintf("k int, a, b *%s, ldb int, c *%[1]s, ldc int, load bool", float))
	k := g.arg("k")
	t := tile{gen: g, size: size, rows: rows, nv: nv, a: g.arg("a"), b: g.arg("b"), ldb: g.arg("ldb")}
	c, ldc := g.arg("c"), g.arg("ldc")
	free := vectors()
	for range rows {
		t.acc = append(t.acc, free.take(2*nv))
	}
	lanes := 16 / size
	held := rows // elements of A
	if rows == 1 {
		held = unroll
	}
	t.as = free.take((held + lanes - 1) / lanes)
	for len(t.bs) < nv && len(free) >= 2 {
		t.bs = append(t.bs, free.pair())
	}

	t.begin(c, ldc)
	t.steps(k)
	g.label("store")
	g.p("// Every NaN becomes the positive quiet one: CPUs differ in signs and payloads.")
	nan, tmp := t.bs[0][0], t.bs[0][1]
	g.quietNaN(size, nan)
	t.eachRow(c, ldc, func(r int, p gp) {
		for _, v := range t.acc[r] {
			g.replaceNaN(size, nan, tmp, v)
		}
		g.store(p, 0, t.acc[r]...)
	})
	g.p("RET")
}

// begin starts the chains from 0, or from C if load is set.
func (t *tile) begin(c, ldc gp) {
	load := t.register()
	t.p("MOVBU load+%d(FP), %v", t.offsets["load"], load)
	t.p("CBNZ %v, continue", load)
	for _, row := range t.acc {
		for _, v := range row {
			t.zero(v)
		}
	}
	t.eachRow(c, ldc, func(_ int, p gp) {
		for d := 0; d < t.nv*bytesPair; d += 64 {
			t.p("PRFM %d(%v), PSTL1KEEP", d, p)
		}
	})
	t.p("B start")
	t.label("continue")
	t.eachRow(c, ldc, func(r int, p gp) { t.load(p, 0, t.acc[r]...) })
	t.label("start")
}

// eachRow calls f with the address of each row of the tile.
func (t *tile) eachRow(c, ldc gp, f func(r int, p gp)) {
	if t.rows == 1 {
		f(0, c)
		return
	}
	p := t.register()
	t.p("MOVD %v, %v", c, p)
	for r := range t.rows {
		f(r, p)
		if r < t.rows-1 {
			t.p("ADD %v, %v, %[2]v", ldc, p)
		}
	}
	t.used--
}

// steps runs over k.
func (t *tile) steps(k gp) {
	t.p("SUBS $%d, %v, %[2]v", unroll, k)
	t.p("BLT rest")
	t.label("loop")
	for u := range unroll {
		t.step(u, true)
	}
	t.p("ADD $%d, %v, %[2]v", unroll*t.astep(), t.a)
	t.p("SUBS $%d, %v, %[2]v", unroll, k)
	t.p("BGE loop")
	t.label("rest")
	t.p("ADDS $%d, %v, %[2]v", unroll, k)
	t.p("BEQ store")
	t.times("one", k, 1, func() {
		t.step(0, false)
		t.p("ADD $%d, %v, %[2]v", t.astep(), t.a)
	})
}

// step adds the products of step u, one of several in a row or a single one.
func (t *tile) step(u int, several bool) {
	lanes := 16 / t.size
	switch {
	case t.rows > 1:
		t.load(t.a, u*t.astep(), t.as...)
	case !several && t.size == 4:
		t.p("FMOVS (%v), F%d", t.a, int(t.as[0]))
	case !several:
		t.p("FMOVD (%v), F%d", t.a, int(t.as[0]))
	case u == 0:
		t.load(t.a, 0, t.as...)
	}
	at := func(v int) pair { return t.bs[v%len(t.bs)] }
	for v := range t.bs {
		b := at(v)
		t.load(t.b, v*bytesPair, b[:]...)
	}
	for v := range t.nv {
		b := at(v)
		for i, x := range b {
			for r := range t.rows {
				e := r
				if t.rows == 1 {
					e = u
				}
				t.fmlaElement(t.size, x, t.as[e/lanes], e%lanes, t.acc[r][2*v+i])
			}
		}
		if next := v + len(t.bs); next < t.nv {
			t.load(t.b, next*bytesPair, b[:]...)
		}
	}
	t.p("ADD %v, %v, %[2]v", t.ldb, t.b)
}
