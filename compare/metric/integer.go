package metric

import (
	"math"
	"math/bits"

	"github.com/ilref/ilref/tensor"
)

// integers compares values exactly: beyond 2^53 a float64 cannot tell
// neighbours apart, and the difference of two int64 may need 65 bits.
func (m *meter) integers(r, t *tensor.Tensor) error {
	var bufs [2][block]int64
	ru, tu := r.DType == tensor.Uint64, t.DType == tensor.Uint64
	for at := 0; at < m.n; at += block {
		k := min(block, m.n-at)
		if at%(1<<22) == 0 && m.ctx.Err() != nil {
			return m.ctx.Err()
		}
		a, b := bufs[0][:k], bufs[1][:k]
		if err := r.Int64s(a, at); err != nil {
			return err
		}
		if err := t.Int64s(b, at); err != nil {
			return err
		}
		var s sums
		for i := range a {
			x, y := wide(a[i], ru), wide(b[i], tu)
			d := y.minus(x).float()
			fx, fy := x.float(), y.float()
			s.dd += float64(d * d)
			s.rr += float64(fx * fx)
			s.tt += float64(fy * fy)
			s.rd += float64(fx * d)
			if d == 0 {
				m.equal++
				continue
			}
			d = math.Abs(d)
			s.abs += d
			m.maxRel = max(m.maxRel, d/max(math.Abs(fx), m.least))
			if d > m.max {
				m.note(d, at+i, fx, fy)
			}
			if d > m.tol.ATol+float64(m.tol.RTol*math.Abs(fx)) {
				m.mismatched++
			}
		}
		m.add(s)
	}
	return nil
}

// int128 holds any int64 or uint64 and their differences, in two's complement.
type int128 struct{ hi, lo uint64 }

func wide(v int64, unsigned bool) int128 {
	x := int128{lo: uint64(v)}
	if v < 0 && !unsigned {
		x.hi = math.MaxUint64
	}
	return x
}

func (x int128) minus(y int128) int128 {
	lo, borrow := bits.Sub64(x.lo, y.lo, 0)
	hi, _ := bits.Sub64(x.hi, y.hi, borrow)
	return int128{hi, lo}
}

// float rounds to float64; only 0 becomes 0.
func (x int128) float() float64 {
	if int64(x.hi) < 0 {
		return -int128{}.minus(x).float()
	}
	return float64(float64(x.hi)*0x1p64) + float64(x.lo)
}
