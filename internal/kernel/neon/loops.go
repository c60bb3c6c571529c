package main

// step is the number of float32 that a loop over a slice takes at once: the 16
// lanes of a sum.
const step = 16

// four are the registers of a step.
func (p *pool) four() []vec { return p.take(step * 4 / 16) }

// next loads the float32 of a step and advances the pointer.
func (g *gen) next(from gp, v []vec) {
	g.load(from, 0, v...)
	g.p("ADD $%d, %v", 4*step, from)
}

// put stores the float32 of a step and advances the pointer.
func (g *gen) put(to gp, v []vec) {
	g.store(to, 0, v...)
	g.p("ADD $%d, %v", 4*step, to)
}

// arithmetic writes y = y op x and y = y op a.
func (g *gen) arithmetic() {
	for _, o := range []struct {
		name, doc string
		f         func(size int, x, y, out vec)
	}{{"add", "adds x to y", g.fadd}, {"mul", "multiplies y by x", g.fmul}} {
		g.function(o.name, o.doc+".", "y, x *float32, n int")
		y, x, n := g.arg("y"), g.arg("x"), g.arg("n")
		free := vectors()
		nan, tmp, u, v := free.get(), free.get(), free.four(), free.four()
		g.quietNaN(4, nan)
		g.times("loop", n, step, func() {
			g.load(y, 0, u...)
			g.next(x, v)
			for i := range u {
				o.f(4, u[i], v[i], u[i])
				g.replaceNaN(4, nan, tmp, u[i])
			}
			g.put(y, u)
		})
		g.p("RET")
	}
	g.function("scale", "multiplies y by a.", "y *float32, n int, a float32")
	y, n := g.arg("y"), g.arg("n")
	free := vectors()
	nan, tmp, a, u := free.get(), free.get(), free.get(), free.four()
	g.broadcastArg("a", a)
	g.quietNaN(4, nan)
	g.times("loop", n, step, func() {
		g.load(y, 0, u...)
		for _, v := range u {
			g.fmul(4, v, a, v)
			g.replaceNaN(4, nan, tmp, v)
		}
		g.put(y, u)
	})
	g.p("RET")
}

// broadcastArg fills v with a parameter of type float32.
func (g *gen) broadcastArg(name string, v vec) {
	g.p("FMOVS %s+%d(FP), F%d", name, g.offsets[name], int(v))
	g.p("VDUP %v.S[0], %[1]v.S4", v)
}

// reductions writes loops that leave 16 partial results.
func (g *gen) reductions() {
	for _, r := range []struct {
		name, doc string
		f         func(acc, v vec)
	}{
		{"sum", "adds element i to lane i%16.", func(acc, v vec) { g.fadd(4, acc, v, acc) }},
		{"sumSquares", "adds the square of element i, rounded, to lane i%16.", func(acc, v vec) {
			g.fmul(4, v, v, v)
			g.fadd(4, acc, v, acc)
		}},
		{"max", "raises lane i%16 to element i; a NaN stays.", func(acc, v vec) { g.fmax(4, acc, v, acc) }},
	} {
		g.function(r.name, r.doc, "x *float32, n int, lanes *[16]float32")
		x, n, lanes := g.arg("x"), g.arg("n"), g.arg("lanes")
		free := vectors()
		acc, v := free.four(), free.four()
		g.load(lanes, 0, acc...)
		g.times("loop", n, step, func() {
			g.next(x, v)
			for i := range v {
				r.f(acc[i], v[i])
			}
		})
		g.store(lanes, 0, acc...)
		g.p("RET")
	}
}

// conversions writes the loops between float32 and the 16-bit types. The
// values are those of package tensor.
func (g *gen) conversions() {
	const bf16, f16 = "bfloat16; a NaN becomes positive and quiet.", "float16; a NaN becomes quiet and keeps its sign."
	quiet := constant{"S4", 0x7fc00000}
	needsBF16 := append([]constant{quiet}, roundingBF16...)
	needsF16 := []constant{quiet, {"S4", 1 << 31}}

	g.convert("widenBF16", "converts n bfloat16.", 2, 4, []constant{{"S4", 0}}, func(constants []vec, p *pool, h []vec) []vec {
		out := p.four()
		for i, v := range h {
			g.zip("H8", 1, constants[0], v, out[2*i])
			g.zip("H8", 2, constants[0], v, out[2*i+1])
		}
		return out
	})
	g.convert("widenF16", "converts n float16; a NaN becomes quiet.", 2, 4, nil, g.fromF16)
	g.convert("roundBF16", "rounds n float32 to "+bf16, 4, 4, needsBF16, g.quietBF16)
	g.convert("narrowBF16", "converts n float32 to "+bf16, 4, 2, needsBF16, func(constants []vec, p *pool, x []vec) []vec {
		out, h := g.quietBF16(constants, p, x), p.pair()
		for i := range h {
			g.unzip("H8", 2, out[2*i], out[2*i+1], h[i])
		}
		return h[:]
	})
	g.convert("roundF16", "rounds n float32 to "+f16, 4, 4, needsF16, func(constants []vec, p *pool, x []vec) []vec {
		return g.fromF16(nil, p, g.toF16(constants, p, x))
	})
	g.convert("narrowF16", "converts n float32 to "+f16, 4, 2, needsF16, g.toF16)
}

// convert writes a loop over elements of from bytes that become ones of to
// bytes; f turns the registers of a step into those of the result.
func (g *gen) convert(name, doc string, from, to int, needs []constant, f func(constants []vec, p *pool, x []vec) []vec) {
	parameters := "dst, src *float32, n int"
	switch {
	case from == 2:
		parameters = "dst *float32, src *byte, n int"
	case to == 2:
		parameters = "dst *byte, src *float32, n int"
	}
	g.function(name, doc, parameters)
	dst, src, n := g.arg("dst"), g.arg("src"), g.arg("n")
	free := vectors()
	constants := g.loadConstants(needs, &free)
	x := free.take(from * step / 16)
	g.times("loop", n, step, func() {
		g.load(src, 0, x...)
		out := f(constants, &free, x)
		g.store(dst, 0, out...)
		g.p("ADD $%d, %v", from*step, src)
		g.p("ADD $%d, %v", to*step, dst)
	})
	g.p("RET")
}

// quietBF16 rounds x to bfloat16 with the NaN of constants[0].
func (g *gen) quietBF16(constants []vec, p *pool, x []vec) []vec {
	out, tmp := p.four(), p.get()
	for i := range x {
		g.roundBF16(x[i], constants[1:], tmp, out[i])
		g.replaceNaN(4, constants[0], tmp, out[i])
	}
	return out
}

// toF16 converts to float16, a NaN to that of constants[0] with its sign.
func (g *gen) toF16(constants []vec, p *pool, x []vec) []vec {
	nan, tmp, h := p.get(), p.get(), p.pair()
	for i, v := range x {
		g.and(constants[1], v, nan)
		g.or(constants[0], nan, nan)
		g.replaceNaN(4, nan, tmp, v)
		if i%2 == 0 {
			g.narrowLow(4, v, h[i/2])
		} else {
			g.narrowHigh(4, v, h[i/2])
		}
	}
	return h[:]
}

func (g *gen) fromF16(_ []vec, p *pool, h []vec) []vec {
	out := p.four()
	for i, v := range h {
		g.widenLow(4, v, out[2*i])
		g.widenHigh(4, v, out[2*i+1])
	}
	return out
}
