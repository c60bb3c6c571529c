package main

import "math"

// exponentials writes the loops around exp. They are the operations of Exp and
// Exp2 of package kernel, one by one. Arguments are cut to where float32 has
// no finite or no positive result anyway, so one scaling by a power of two is
// enough, and exact.
func (g *gen) exponentials() {
	g.function("exp2Scaled", "sets v to 2**(v*scale + shift), the exponent rounded once.", "v *float32, n int, scale, shift float32")
	v, n := g.arg("v"), g.arg("n")
	free := vectors()
	scale, shift, nan, x, out := free.get(), free.get(), free.get(), free.get(), free.get()
	g.broadcastArg("scale", scale)
	g.broadcastArg("shift", shift)
	g.quietNaN(4, nan)
	c := g.expConstants(true, &free)
	g.times("loop", n, step, func() {
		for range step * 4 / 16 {
			g.load(v, 0, x)
			g.mov(shift, out)
			g.fmla("S4", x, scale, out)
			g.exp(c, free, out, out)
			g.replaceNaN(4, nan, x, out)
			g.store(v, 0, out)
			g.p("ADD $16, %v", v)
		}
	})
	g.p("RET")

	g.function("silu", "sets v to v / (1 + e**-v), each operation rounded.", "v *float32, n int")
	v, n = g.arg("v"), g.arg("n")
	free = vectors()
	sign, one, nan, x, out := free.get(), free.get(), free.get(), free.get(), free.get()
	g.broadcastBits("S4", 1<<31, sign)
	g.broadcastBits("S4", uint64(math.Float32bits(1)), one)
	g.quietNaN(4, nan)
	c = g.expConstants(false, &free)
	g.times("loop", n, step, func() {
		for range step * 4 / 16 {
			g.load(v, 0, x)
			g.xor(sign, x, out)
			g.exp(c, free, out, out)
			g.fadd(4, out, one, out)
			g.fdiv(4, x, out, out)
			g.replaceNaN(4, nan, x, out)
			g.store(v, 0, out)
			g.p("ADD $16, %v", v)
		}
	})
	g.p("RET")
}

// exponential is the constants of exp in registers.
type exponential struct {
	base2                                            bool
	least, most, log2e, half, ln2Hi, ln2Lo, one, two vec
	polynomial                                       []vec // the highest degree first
	bias                                             vec   // of float64
}

func (g *gen) expConstants(base2 bool, free *pool) exponential {
	f := func(x float64) vec {
		v := free.get()
		g.broadcastBits("D2", math.Float64bits(x), v)
		return v
	}
	c := exponential{base2: base2}
	if base2 {
		c.least, c.most = f(-160), f(130)
	} else {
		c.least, c.most, c.log2e = f(-110), f(90), f(1.44269504088896338700e+00)
	}
	c.half, c.one, c.two = f(0.5), f(1), f(2)
	c.ln2Hi, c.ln2Lo = f(6.93147180369123816490e-01), f(1.90821492927058770002e-10)
	for _, p := range []float64{
		4.13813679705723846039e-08, -1.65339022054652515390e-06, 6.61375632143793436117e-05,
		-2.77777777770155933842e-03, 1.66666666666666657415e-01,
	} {
		c.polynomial = append(c.polynomial, f(p))
	}
	c.bias = free.get()
	g.broadcastBits("D2", 1023, c.bias)
	return c
}

// exp sets out to the exponentials of the float32 in x, computed in float64.
func (g *gen) exp(c exponential, free pool, x, out vec) {
	low, high := free.get(), free.get()
	g.widenLow(8, x, low)
	g.widenHigh(8, x, high)
	g.exp64(c, free, low)
	g.exp64(c, free, high)
	g.narrowLow(8, low, out)
	g.narrowHigh(8, high, out)
}

// exp64 replaces x by its exponential, with an error of less than a unit in the
// last place: kernel.Exp, or kernel.Exp2 if base2 is set.
func (g *gen) exp64(c exponential, free pool, x vec) {
	k, hi, lo, r, t, p, w := free.get(), free.get(), free.get(), free.get(), free.get(), free.get(), free.get()
	g.fmax(8, x, c.least, x)
	g.fmin(8, x, c.most, x)
	if c.base2 {
		g.fadd(8, x, c.half, k)
		g.floor(k, k)
		g.fsub(8, x, k, t)
		g.fmul(8, t, c.ln2Hi, hi)
		g.mov(hi, w)
		g.fmls("D2", t, c.ln2Hi, w) // hi - t*ln2Hi, what rounding hi lost
		g.fmul(8, t, c.ln2Lo, lo)
		g.fsub(8, w, lo, lo)
	} else {
		g.fmul(8, x, c.log2e, k)
		g.fadd(8, k, c.half, k)
		g.floor(k, k)
		g.mov(x, hi)
		g.fmls("D2", k, c.ln2Hi, hi)
		g.fmul(8, k, c.ln2Lo, lo)
	}
	g.fsub(8, hi, lo, r)
	g.fmul(8, r, r, t)
	sum := c.polynomial[0]
	for _, next := range c.polynomial[1:] {
		g.mov(next, p)
		g.fmla("D2", sum, t, p)
		sum = p
		p, w = w, p
	}
	g.fmul(8, t, sum, p)
	g.fsub(8, r, p, p)
	g.fmul(8, r, p, w)
	g.fsub(8, c.two, p, p)
	g.fdiv(8, w, p, w)
	g.fsub(8, lo, w, lo)
	g.fsub(8, lo, hi, lo)
	g.fsub(8, c.one, lo, x)
	g.whole(k, k)
	g.add("D2", c.bias, k, k)
	g.shl("D2", 52, k, k)
	g.fmul(8, x, k, x)
}
