package kernel

import "math"

// The sizes of the blocks of a plain product: they fit the second-level cache.
const (
	plainSteps = 512
	plainRows  = 128
)

// plainProduct is the product without assembly: rows of b, four at a time, are
// read once for a block of a's rows. scan may be nil.
func plainProduct[F real](scan func([]F) spread, chains func(s *[4]F, a, b []F, sa, sb spread), m, n, k int, a, b *matrix[F], c []F, ldc int, load bool) {
	kb, mb := min(k, plainSteps), min(m, plainRows)
	as, bs, spreads := make([]F, mb*kb), make([]F, 4*kb), make([]spread, mb)
	if scan == nil {
		scan = func([]F) (s spread) { return }
	}
	for i0 := 0; i0 < m; i0 += mb {
		rows := min(mb, m-i0)
		for k0 := 0; k0 < k; k0 += kb {
			steps := min(kb, k-k0)
			for i := range rows {
				row := as[i*kb:][:steps]
				a.load(row, i0+i, k0)
				spreads[i] = scan(row)
			}
			for j := 0; j < n; j += 4 {
				cols, bs := min(4, n-j), bs[:4*steps]
				for l := range 4 {
					b.load(bs[l*steps:][:steps], j+min(l, cols-1), k0)
				}
				sb := scan(bs)
				for i := range rows {
					var s [4]F
					out := c[(i0+i)*ldc+j:][:cols]
					if load || k0 > 0 {
						copy(s[:], out)
					}
					chains(&s, as[i*kb:][:steps], bs, spreads[i], sb)
					for l := range out {
						out[l] = quiet(s[l])
					}
				}
			}
		}
	}
}

// quiet makes every NaN the positive quiet one: CPUs differ in the signs and
// payloads of NaNs.
func quiet[F real](x F) F {
	if x != x {
		return F(math.Float32frombits(0x7fc00000))
	}
	return x
}
